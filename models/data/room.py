"""A lit room of boxes, ray-cast once: what the fixed camera sees behind and around the person.

World: x right, y away from the camera's wall, z up, metres. Everything here is procedural.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.layout import DEMO, Layout, Light, Surfaces, Zone
from models.data.raster import Camera

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Backdrop:
    """The empty room at `scale` times the picture's size.

    albedo: (H, W, 3); depth: (H, W) metres along the optical axis; direct: (lights, H, W, 3) and ambient: (H, W, 3)
    irradiance; floor_xy: (H, W, 2) metres, nan off the floor; layout: what was rendered.
    """

    albedo: Singles
    depth: Singles
    direct: Singles
    ambient: Singles
    floor_xy: Singles
    layout: Layout


def render_room(
    camera: Camera, scale: int, rng: np.random.Generator, layout: Layout = DEMO, light_step: int = 1
) -> Backdrop:
    """Ray-casts the room; about a minute on one core at scale 2.

    light_step: light is gathered at every so many pixels of each row and column and spread over the surface in between, which
    takes the square of it less time and softens the shadows of the furniture.
    """
    lows = np.array([b.low for b in layout.boxes], dtype=np.float32).reshape(-1, 3)
    highs = np.array([b.high for b in layout.boxes], dtype=np.float32).reshape(-1, 3)
    shell = np.array(layout.low, np.float32), np.array(layout.high, np.float32)
    origin = np.array(camera.position_m, dtype=np.float32)
    rays = camera.rays(scale).astype(np.float32)
    shape = rays.shape[:2]
    flat = rays.reshape(-1, 3)
    depth, owner, normal = _first_hit(origin, flat, lows, highs, shell)
    points = origin + flat * depth[:, None]
    albedo = _paint(points, normal, owner, layout, rng)
    lifted = points + normal * 2e-3
    lattice = np.zeros(shape, dtype=bool)
    lattice[light_step // 2 :: light_step, light_step // 2 :: light_step] = True
    at = np.flatnonzero(lattice)
    group = ((owner + 1) * 6 + np.abs(normal).argmax(axis=1) * 2 + (normal.sum(axis=1) > 0)).reshape(shape)

    def spread(values: Singles, sigma: float) -> Singles:
        full = np.zeros((lattice.size, 3), dtype=np.float32)
        full[at] = values
        return _smooth(full.reshape(*shape, 3), group, sigma * light_step, lattice)

    lit = (_lit(lifted[at], normal[at], light, lows, highs, rng) for light in layout.lights)
    direct = np.stack([spread(values, 2.0) for values in lit])
    sky = _open_sky(lifted[at], normal[at], lows, highs, shell, rng)
    ambient = spread(sky[:, None] * np.array(layout.ambient, dtype=np.float32), 3.5)
    floor = points[:, :2].copy()
    floor[(owner >= 0) | (normal[:, 2] < 0.5)] = np.nan
    return Backdrop(albedo.reshape(*shape, 3), depth.reshape(shape), direct, ambient, floor.reshape(*shape, 2), layout)


def _slabs(origin: Singles, rays: Singles, low: Singles, high: Singles) -> tuple[Singles, Singles]:
    inverse = 1.0 / np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
    a, b = (low - origin) * inverse, (high - origin) * inverse
    return np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)


def _first_hit(
    origin: Singles, rays: Singles, lows: Singles, highs: Singles, shell: tuple[Singles, Singles]
) -> tuple[Singles, Ints, Singles]:
    _, best = _slabs(origin, rays, *shell)
    owner = np.full(len(rays), -1, dtype=np.int64)
    for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
        near, far = _slabs(origin, rays, low, high)
        hit = (near > 1e-3) & (near < far) & (near < best)
        best, owner = np.where(hit, near, best), np.where(hit, i, owner)
    points = origin + rays * best[:, None]
    room = owner < 0
    low = np.concatenate([lows, shell[0][None]])[owner]  # -1, the room itself, comes last
    high = np.concatenate([highs, shell[1][None]])[owner]
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
    light: Light,
    lows: Singles,
    highs: Singles,
    rng: np.random.Generator,
    samples: int = 4,
) -> Singles:
    total = np.zeros(len(points), dtype=np.float32)
    for _ in range(samples):
        spot = np.tile(np.array(light.centre, np.float32), (len(points), 1))
        spot[:, :2] += (rng.uniform(-1, 1, (len(points), 2)) * light.half).astype(np.float32)
        to_light = spot - points
        distance = np.linalg.norm(to_light, axis=1)
        rays = to_light / distance[:, None]
        cosine = np.maximum((rays * normal).sum(axis=1), 0.0) * np.maximum(rays[:, 2], 0.0)
        facing = np.flatnonzero(cosine > 0)
        free = ~_blocked(points[facing], rays[facing], distance[facing], lows, highs)
        total[facing] += cosine[facing] / distance[facing] ** 2 * free
    return np.asarray(total[:, None] * np.array(light.intensity) / (samples * np.pi), dtype=np.float32)


def _open_sky(
    points: Singles,
    normal: Singles,
    lows: Singles,
    highs: Singles,
    shell: tuple[Singles, Singles],
    rng: np.random.Generator,
    samples: int = 6,
) -> Singles:
    """The share of the hemisphere not closed off within 0.9 m, room walls included."""
    total = np.zeros(len(points), dtype=np.float32)
    for _ in range(samples):
        rays = rng.normal(size=points.shape).astype(np.float32)
        rays = rays / np.linalg.norm(rays, axis=1, keepdims=True) + normal * 1.001
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        _, wall = _slabs(points, rays, *shell)
        free = np.clip(wall / 0.9, 0.25, 1.0)
        total += np.where(_blocked(points, rays, 0.9, lows, highs), 0.25, free)
    return np.asarray(total / samples, dtype=np.float32)


def _smooth(values: Singles, group: Ints, sigma: float, known: NDArray[np.bool_]) -> Singles:
    """Blurs sampling noise away, and spreads values from where they are known, without crossing to another surface."""
    out = values.copy()
    margin = int(4 * sigma) + 2  # OpenCV cuts the bell at 4 sigma
    for g in np.unique(group):
        inside = group == g
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        part = (slice(max(0, rows[0] - margin), rows[-1] + margin), slice(max(0, columns[0] - margin), columns[-1] + margin))
        inside = inside[part]
        mask = (inside & known[part]).astype(np.float32)
        weight = cv2.GaussianBlur(mask, (0, 0), sigma)
        blurred = cv2.GaussianBlur(values[part] * mask[..., None], (0, 0), sigma)
        out[part][inside] = (blurred / np.maximum(weight, 1e-6)[..., None])[inside]
    return out


def _paint(points: Singles, normal: Singles, owner: Ints, layout: Layout, rng: np.random.Generator) -> Singles:
    colours = np.array([b.colour for b in layout.boxes] + [(0.0, 0.0, 0.0)], dtype=np.float32)
    albedo = colours[owner]
    for i, box in enumerate(layout.boxes):
        if box.stripe:
            low, high, colour = box.stripe
            albedo[(owner == i) & (points[:, 2] > low) & (points[:, 2] < high)] = colour
    shell = layout.surfaces
    wall = (owner < 0) & (np.abs(normal[:, 2]) < 0.5)
    height = points[:, 2]
    albedo[wall] = np.array(shell.wall, np.float32)
    albedo[wall & (height < shell.dado_m)] = np.array(shell.dado, np.float32)
    albedo[wall & (np.abs(height - shell.dado_m) < 0.02)] = np.array(shell.edge, np.float32)
    albedo[wall & (height < 0.1)] = np.array(shell.skirting, np.float32)
    albedo[wall & (np.abs(height - 0.1) < 0.008)] *= 0.6
    albedo[(owner < 0) & (normal[:, 2] < -0.5)] = np.array(shell.ceiling, np.float32)
    floor = (owner < 0) & (normal[:, 2] > 0.5)
    albedo[floor] = _floor_colour(points[floor, 0], points[floor, 1], shell, layout.zone, rng)
    return albedo


def _floor_colour(x: Singles, y: Singles, shell: Surfaces, zone: Zone | None, rng: np.random.Generator) -> Singles:
    wide, long = shell.tile_m
    tiles = rng.normal(1.0, shell.tile_contrast, (40, 40))
    tile = tiles[np.floor(x / wide).astype(int) % 40, np.floor(y / long).astype(int) % 40]
    speckle = cv2.GaussianBlur(rng.normal(0.0, 1.0, (1024, 1024)).astype(np.float32), (0, 0), 1.2) * 0.09
    stain = cv2.resize(rng.normal(0.0, 0.035, (24, 24)).astype(np.float32), (1024, 1024), interpolation=cv2.INTER_CUBIC)
    ix, iy = (x * 100).astype(int) % 1024, (y * 100).astype(int) % 1024
    shade = tile + speckle[iy, ix] + stain[iy, ix]
    joint = np.minimum(np.abs(x / wide - np.round(x / wide)) * wide, np.abs(y / long - np.round(y / long)) * long) < 0.006
    colour = np.array(shell.floor)[None] * np.where(joint, 0.72, 1.0)[:, None] * shade[:, None]
    if zone is None:
        return np.asarray(colour, dtype=np.float32)
    inset = np.minimum.reduce([x - zone.low[0], zone.high[0] - x, y - zone.low[1], zone.high[1] - y])
    hatched = (inset > 0.09) & (((x + y) / 0.34) % 1.0 < 0.28)
    wear = np.clip(0.92 + (stain + speckle)[iy, ix] * 1.5, 0.6, 1.05)[:, None]
    colour = np.where(hatched[:, None], np.array(zone.hatch) * wear, colour)
    colour = np.where(((inset > 0) & (inset <= 0.09))[:, None], np.array(zone.line) * wear, colour)
    return np.asarray(colour, dtype=np.float32)
