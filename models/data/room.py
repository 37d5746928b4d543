"""A lit room of boxes, ray-cast once: what the fixed camera sees behind and around the person.

World: x right, y away from the camera's wall, z up, metres. Everything here is procedural.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.raster import Camera

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Triple = tuple[float, float, float]

ROOM_LOW, ROOM_HIGH = (-3.4, -1.2, 0.0), (3.4, 6.7, 2.9)
ZONE_LOW, ZONE_HIGH = (-2.05, 4.1), (0.1, 5.3)  # the machine's restricted floor, metres
LIGHTS: tuple[tuple[Triple, tuple[float, float], Triple], ...] = (
    ((1.3, 1.9, 2.88), (0.35, 0.9), (17.0, 16.4, 15.2)),  # centre, half sizes, radiant intensity
    ((-1.6, 4.4, 2.88), (0.35, 0.9), (11.0, 10.8, 10.5)),
)
AMBIENT: Triple = (0.27, 0.285, 0.31)
LINE, HATCH, SKIRTING = (0.80, 0.58, 0.04), (0.62, 0.45, 0.05), (0.70, 0.69, 0.66)


@dataclass(frozen=True)
class Box:
    """An axis-aligned box; colour is linear reflectance, stripe repaints the part between two heights."""

    low: Triple
    high: Triple
    colour: Triple
    stripe: tuple[float, float, Triple] | None = None


def furniture() -> list[Box]:
    """The machine, a door, shelves, a desk with a chair, crates."""
    steel, dark, wood = (0.33, 0.39, 0.38), (0.05, 0.055, 0.06), (0.36, 0.22, 0.12)
    boxes = [
        Box((-1.75, 5.35, 0.0), (-0.25, 6.15, 1.05), steel, (0.12, 0.22, LINE)),
        Box((-1.70, 5.50, 1.05), (-0.75, 6.10, 1.75), (0.42, 0.47, 0.46)),
        Box((-1.58, 5.49, 1.18), (-0.88, 5.51, 1.58), dark),
        Box((-0.65, 5.45, 1.05), (-0.35, 5.60, 1.42), (0.20, 0.22, 0.23)),
        Box((-0.62, 5.44, 1.16), (-0.38, 5.46, 1.36), (0.10, 0.28, 0.34)),
        Box((0.95, 6.63, 0.0), (1.95, 6.70, 2.12), (0.66, 0.65, 0.62)),
        Box((1.03, 6.61, 0.0), (1.87, 6.64, 2.04), (0.30, 0.36, 0.42)),
        Box((1.11, 6.56, 0.98), (1.22, 6.61, 1.02), (0.5, 0.5, 0.5)),
        Box((0.45, 6.66, 1.25), (0.72, 6.70, 1.62), (0.72, 0.72, 0.70), (1.50, 1.57, (0.6, 0.08, 0.06))),
        Box((-3.0, 6.62, 0.9), (-2.05, 6.70, 1.9), (0.62, 0.62, 0.60)),
        Box((-2.94, 6.60, 0.96), (-2.11, 6.63, 1.84), (0.16, 0.22, 0.20)),
        Box((-3.3, 5.85, 0.0), (-2.6, 6.5, 0.5), wood, (0.22, 0.27, (0.25, 0.15, 0.08))),
        Box((-3.2, 5.95, 0.5), (-2.75, 6.4, 0.88), (0.42, 0.28, 0.16)),
        Box((2.05, 5.95, 0.70), (3.35, 6.6, 0.75), (0.45, 0.31, 0.19)),
        Box((2.35, 6.3, 0.75), (2.95, 6.34, 1.15), dark),
        Box((2.45, 6.05, 0.75), (2.85, 6.2, 0.77), (0.6, 0.6, 0.58)),
        Box((2.25, 5.55, 0.42), (2.7, 5.95, 0.47), (0.10, 0.18, 0.28)),
        Box((2.25, 5.50, 0.42), (2.7, 5.55, 0.92), (0.10, 0.18, 0.28)),
        Box((2.92, 3.6, 0.0), (3.4, 5.0, 0.06), (0.5, 0.5, 0.5)),
        Box((2.92, 3.6, 0.62), (3.4, 5.0, 0.66), (0.5, 0.5, 0.5)),
        Box((2.92, 3.6, 1.24), (3.4, 5.0, 1.28), (0.5, 0.5, 0.5)),
    ]
    boxes += [Box((x, y, 0.0), (x + 0.05, y + 0.05, 0.7), dark) for x in (2.1, 3.25) for y in (6.0, 6.5)]
    boxes += [Box((x, y, 0.0), (x + 0.03, y + 0.03, 0.42), dark) for x in (2.27, 2.65) for y in (5.53, 5.9)]
    boxes += [Box((3.35, y, 0.0), (3.4, y + 0.05, 1.28), (0.4, 0.4, 0.4)) for y in (3.6, 4.95)]
    bins = (
        (3.68, 0.06, (0.12, 0.22, 0.40)),
        (4.30, 0.06, (0.45, 0.34, 0.12)),
        (3.75, 0.66, (0.16, 0.34, 0.22)),
        (4.42, 0.66, (0.12, 0.22, 0.40)),
        (4.05, 1.28, (0.40, 0.40, 0.38)),
    )
    boxes += [Box((2.97, y, z), (3.36, y + 0.5, z + 0.32), colour) for y, z, colour in bins]
    return boxes


@dataclass(frozen=True)
class Backdrop:
    """The empty room at `scale` times the picture's size.

    albedo: (H, W, 3); depth: (H, W) metres along the optical axis; direct: (lights, H, W, 3) and ambient: (H, W, 3)
    irradiance; floor_xy: (H, W, 2) metres, nan off the floor.
    """

    albedo: Singles
    depth: Singles
    direct: Singles
    ambient: Singles
    floor_xy: Singles


def render_room(camera: Camera, scale: int, rng: np.random.Generator) -> Backdrop:
    """Ray-casts the room; about a minute on one core at scale 2."""
    boxes = furniture()
    lows = np.array([b.low for b in boxes], dtype=np.float32)
    highs = np.array([b.high for b in boxes], dtype=np.float32)
    origin = np.array(camera.position_m, dtype=np.float32)
    rays = camera.rays(scale).astype(np.float32)
    shape = rays.shape[:2]
    flat = rays.reshape(-1, 3)
    depth, owner, normal = _first_hit(origin, flat, lows, highs)
    points = origin + flat * depth[:, None]
    albedo = _paint(points, normal, owner, boxes, rng)
    lifted = points + normal * 2e-3
    direct = np.stack([_lit(lifted, normal, light, lows, highs, rng) for light in LIGHTS])
    ambient = _open_sky(lifted, normal, lows, highs, rng)[:, None] * np.array(AMBIENT, dtype=np.float32)
    group = ((owner + 1) * 6 + np.abs(normal).argmax(axis=1) * 2 + (normal.sum(axis=1) > 0)).reshape(shape)
    direct = np.stack([_smooth(d.reshape(*shape, 3), group, 2.0) for d in direct])
    ambient = _smooth(ambient.reshape(*shape, 3), group, 3.5)
    floor = points[:, :2].copy()
    floor[(owner >= 0) | (normal[:, 2] < 0.5)] = np.nan
    return Backdrop(albedo.reshape(*shape, 3), depth.reshape(shape), direct, ambient, floor.reshape(*shape, 2))


def zone_corners() -> Floats:
    """The restricted floor's corners, (4, 3) metres, as painted (outer edge of the line)."""
    (x0, y0), (x1, y1) = ZONE_LOW, ZONE_HIGH
    return np.array([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])


def light_samples(light: int, per_side: int) -> Floats:
    """Points spread over one ceiling light, (per_side**2, 3) metres."""
    centre, half, _ = LIGHTS[light]
    grid = (np.arange(per_side) + 0.5) / per_side * 2 - 1
    x, y = np.meshgrid(grid * half[0], grid * half[1])
    return np.stack([centre[0] + x.ravel(), centre[1] + y.ravel(), np.full(x.size, centre[2])], axis=1)


def _slabs(origin: Singles, rays: Singles, low: Singles, high: Singles) -> tuple[Singles, Singles]:
    inverse = 1.0 / np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
    a, b = (low - origin) * inverse, (high - origin) * inverse
    return np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)


def _first_hit(origin: Singles, rays: Singles, lows: Singles, highs: Singles) -> tuple[Singles, Ints, Singles]:
    _, best = _slabs(origin, rays, np.array(ROOM_LOW, np.float32), np.array(ROOM_HIGH, np.float32))
    owner = np.full(len(rays), -1, dtype=np.int64)
    for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
        near, far = _slabs(origin, rays, low, high)
        hit = (near > 1e-3) & (near < far) & (near < best)
        best, owner = np.where(hit, near, best), np.where(hit, i, owner)
    points = origin + rays * best[:, None]
    room = owner < 0
    low = np.where(room[:, None], np.array(ROOM_LOW, np.float32), lows[owner])
    high = np.where(room[:, None], np.array(ROOM_HIGH, np.float32), highs[owner])
    gaps = np.concatenate([np.abs(points - low), np.abs(points - high)], axis=1)
    face = gaps.argmin(axis=1)
    sign = np.where(face < 3, -1.0, 1.0) * np.where(room, -1.0, 1.0)
    normal = np.zeros_like(points)
    normal[np.arange(len(points)), face % 3] = sign
    return best, owner, normal


def _blocked(
    points: Singles, rays: Singles, reach: Singles | float, lows: Singles, highs: Singles
) -> NDArray[np.bool_]:
    blocked = np.zeros(len(points), dtype=bool)
    for low, high in zip(lows, highs, strict=True):
        near, far = _slabs(points, rays, low, high)
        blocked |= (far > np.maximum(near, 0.0)) & (near < reach) & (far > 1e-3)
    return blocked


def _lit(
    points: Singles,
    normal: Singles,
    light: tuple[Triple, tuple[float, float], Triple],
    lows: Singles,
    highs: Singles,
    rng: np.random.Generator,
    samples: int = 4,
) -> Singles:
    centre, half, intensity = light
    total = np.zeros(len(points), dtype=np.float32)
    for _ in range(samples):
        spot = np.tile(np.array(centre, np.float32), (len(points), 1))
        spot[:, :2] += (rng.uniform(-1, 1, (len(points), 2)) * half).astype(np.float32)
        to_light = spot - points
        distance = np.linalg.norm(to_light, axis=1)
        rays = to_light / distance[:, None]
        cosine = np.maximum((rays * normal).sum(axis=1), 0.0) * np.maximum(rays[:, 2], 0.0)
        facing = np.flatnonzero(cosine > 0)
        free = ~_blocked(points[facing], rays[facing], distance[facing], lows, highs)
        total[facing] += cosine[facing] / distance[facing] ** 2 * free
    return np.asarray(total[:, None] * np.array(intensity) / (samples * np.pi), dtype=np.float32)


def _open_sky(
    points: Singles, normal: Singles, lows: Singles, highs: Singles, rng: np.random.Generator, samples: int = 6
) -> Singles:
    """The share of the hemisphere not closed off within 0.9 m, room walls included."""
    room_low, room_high = np.array(ROOM_LOW, np.float32), np.array(ROOM_HIGH, np.float32)
    total = np.zeros(len(points), dtype=np.float32)
    for _ in range(samples):
        rays = rng.normal(size=points.shape).astype(np.float32)
        rays = rays / np.linalg.norm(rays, axis=1, keepdims=True) + normal * 1.001
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        _, wall = _slabs(points, rays, room_low, room_high)
        free = np.clip(wall / 0.9, 0.25, 1.0)
        total += np.where(_blocked(points, rays, 0.9, lows, highs), 0.25, free)
    return np.asarray(total / samples, dtype=np.float32)


def _smooth(values: Singles, group: Ints, sigma: float) -> Singles:
    """Blurs sampling noise away without crossing from one surface to another."""
    out = values.copy()
    for g in np.unique(group):
        mask = (group == g).astype(np.float32)
        weight = cv2.GaussianBlur(mask, (0, 0), sigma)
        blurred = cv2.GaussianBlur(values * mask[..., None], (0, 0), sigma)
        inside = mask > 0
        out[inside] = (blurred / np.maximum(weight, 1e-6)[..., None])[inside]
    return out


def _paint(points: Singles, normal: Singles, owner: Ints, boxes: list[Box], rng: np.random.Generator) -> Singles:
    colours = np.array([b.colour for b in boxes] + [(0.0, 0.0, 0.0)], dtype=np.float32)
    albedo = colours[owner]
    for i, box in enumerate(boxes):
        if box.stripe:
            low, high, colour = box.stripe
            albedo[(owner == i) & (points[:, 2] > low) & (points[:, 2] < high)] = colour
    wall = (owner < 0) & (np.abs(normal[:, 2]) < 0.5)
    height = points[:, 2]
    albedo[wall] = np.array((0.60, 0.59, 0.55), np.float32)
    albedo[wall & (height < 1.1)] = np.array((0.46, 0.51, 0.50), np.float32)
    albedo[wall & (np.abs(height - 1.1) < 0.02)] = np.array((0.36, 0.40, 0.40), np.float32)
    albedo[wall & (height < 0.1)] = np.array(SKIRTING, np.float32)
    albedo[wall & (np.abs(height - 0.1) < 0.008)] *= 0.6
    albedo[(owner < 0) & (normal[:, 2] < -0.5)] = np.array((0.7, 0.7, 0.68), np.float32)
    floor = (owner < 0) & (normal[:, 2] > 0.5)
    albedo[floor] = _floor_colour(points[floor, 0], points[floor, 1], rng)
    return albedo


def _floor_colour(x: Singles, y: Singles, rng: np.random.Generator) -> Singles:
    tiles = rng.normal(1.0, 0.028, (40, 40))
    tile = tiles[np.floor(x / 0.5).astype(int) % 40, np.floor(y / 0.5).astype(int) % 40]
    speckle = cv2.GaussianBlur(rng.normal(0.0, 1.0, (1024, 1024)).astype(np.float32), (0, 0), 1.2) * 0.09
    stain = cv2.resize(rng.normal(0.0, 0.035, (24, 24)).astype(np.float32), (1024, 1024), interpolation=cv2.INTER_CUBIC)
    ix, iy = (x * 100).astype(int) % 1024, (y * 100).astype(int) % 1024
    shade = tile + speckle[iy, ix] + stain[iy, ix]
    joint = np.minimum(np.abs(x / 0.5 - np.round(x / 0.5)), np.abs(y / 0.5 - np.round(y / 0.5))) * 0.5 < 0.006
    colour = np.array((0.40, 0.385, 0.36))[None] * np.where(joint, 0.72, 1.0)[:, None] * shade[:, None]
    inset = np.minimum.reduce([x - ZONE_LOW[0], ZONE_HIGH[0] - x, y - ZONE_LOW[1], ZONE_HIGH[1] - y])
    hatched = (inset > 0.09) & (((x + y) / 0.34) % 1.0 < 0.28)
    wear = np.clip(0.92 + (stain + speckle)[iy, ix] * 1.5, 0.6, 1.05)[:, None]
    colour = np.where(hatched[:, None], np.array(HATCH) * wear, colour)
    colour = np.where(((inset > 0) & (inset <= 0.09))[:, None], np.array(LINE) * wear, colour)
    return np.asarray(colour, dtype=np.float32)
