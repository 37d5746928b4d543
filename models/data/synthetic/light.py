"""Simple light: a sky above, a bounce from below, one lamp with a soft shadow on the body itself and on the floor."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.synthetic.lens import Lens

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

MAP_CELLS_PER_M, MAP_BIAS_M = 45.0, 0.06
CONTACT_M = 0.30  # parts lower than this close off the sky over the floor


@dataclass(frozen=True)
class Light:
    """Colours in linear light. towards: (3,) unit vector to the lamp."""

    towards: Floats
    lamp: Floats
    sky: Floats
    bounce: Floats
    shadow: float
    softness_px: float


def draw_light(rng: np.random.Generator, tint: Floats) -> Light:
    """Light from above, of a strength and a softness; tint: (3,) mean colour of the surroundings, 1 for white."""
    across = rng.uniform(0.0, 1.3)
    angle = rng.uniform(0, 2 * np.pi)
    towards = np.array([across * np.cos(angle), across * np.sin(angle), 1.0])
    share = rng.uniform(0.15, 0.8)
    warm = np.array([1.0 + rng.normal(0, 0.05), 1.0, 1.0 + rng.normal(0, 0.08)]) * tint
    return Light(
        towards / np.linalg.norm(towards),
        warm * 1.5 * share,
        tint * 1.0 * (1 - share) + 0.25,
        tint * rng.uniform(0.1, 0.5),
        float(rng.uniform(0.25, 0.85) * (0.4 + 0.6 * share)),
        float(rng.uniform(1.0, 6.0)),
    )


def shade(light: Light, normals: Singles, heights_m: Singles, lit: Singles) -> Singles:
    """(N, 3) light that reaches points with unit normals (N, 3), heights over the floor (N,), lamp seen (N,) 0..1."""
    up = 0.5 + 0.5 * normals[:, 2]
    near = np.clip(heights_m / CONTACT_M, 0.0, 1.0)
    open_sky = (up * (0.55 + 0.45 * near) + 0.15)[:, None] * light.sky
    from_floor = ((1.0 - up) * near)[:, None] * light.bounce
    facing = np.clip(0.88 * (normals @ light.towards.astype(np.float32)) + 0.12, 0.0, None)
    return np.asarray(open_sky + from_floor + (facing * lit)[:, None] * light.lamp, np.float32)


def seen_by_lamp(vertices: Floats, light: Light) -> Floats:
    """(V,) 0..1 how much of the lamp each vertex sees past the body's other parts, by a small depth map."""
    across = np.cross(light.towards, [0.0, 1.0, 0.0] if abs(light.towards[0]) > 0.5 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    flat = vertices @ np.stack([across, np.cross(light.towards, across)]).T * MAP_CELLS_PER_M
    cell = np.floor(flat - flat.min(axis=0)).astype(int)
    width, height = cell.max(axis=0) + 1
    depth = vertices @ light.towards
    nearest = np.full(width * height, -1e3)
    index = cell[:, 1] * width + cell[:, 0]
    order = np.argsort(depth, kind="stable")
    nearest[index[order]] = depth[order]
    return np.asarray(1.0 - np.clip((nearest[index] - depth) / MAP_BIAS_M - 1.0, 0.0, 1.0))


def floor_shadow(vertices: Floats, light: Light, lens: Lens) -> Singles:
    """(H, W) share of light, 0..1, that a body leaves to the floor in the picture, as if all of it showed the floor."""
    height, width = lens.height_px, lens.width_px
    slide = vertices[:, 2:] / light.towards[2] * light.towards[:2]
    cast = np.concatenate([vertices[:, :2] - slide, np.zeros((len(vertices), 1))], axis=1)
    dark = _splat(cast, np.ones(len(cast)), lens) * light.shadow
    below = np.concatenate([vertices[:, :2], np.zeros((len(vertices), 1))], axis=1)
    contact = _splat(below, np.clip(1.0 - vertices[:, 2] / CONTACT_M, 0.0, 1.0), lens) * 0.6
    soft = cv2.GaussianBlur(dark, (0, 0), light.softness_px)
    close = cv2.GaussianBlur(contact, (0, 0), max(1.0, width / 130.0))
    return np.asarray((1.0 - np.clip(soft, 0, 1)) * (1.0 - np.clip(close, 0, 1)), np.float32).reshape(height, width)


def _splat(points: Floats, weight: Floats, lens: Lens) -> Singles:
    """(H, W) marks of floor points, the gaps between a mesh's vertices closed."""
    pixels, depth = lens.project(points)
    spot = np.floor(np.clip(pixels, -1e6, 1e6)).astype(int)
    inside = (depth > 0) & (spot >= 0).all(axis=1) & (spot[:, 0] < lens.width_px) & (spot[:, 1] < lens.height_px)
    grid = np.zeros((lens.height_px, lens.width_px), np.float32)
    np.maximum.at(grid, (spot[inside, 1], spot[inside, 0]), weight[inside].astype(np.float32))
    return np.asarray(cv2.morphologyEx(grid, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.float32)
