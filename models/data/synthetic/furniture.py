"""Chairs, tables, shelves, beds and crates of boxes: what people sit on, lie on and are hidden by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.data.synthetic.cloth import colour

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CELLS = 4  # sides of boxes are cut, so that only what is behind the lens is left out of those near it

_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


@dataclass(frozen=True)
class Solid:
    """A mesh: vertices (V, 3) metres, faces (F, 3) wound outward, colours (F, 3) linear reflectance, normals (F, 3)."""

    vertices: Floats
    faces: Ints
    colours: Floats
    normals: Floats


@cache
def _unit_box() -> tuple[Floats, Ints, Floats]:
    """Vertices, faces and normals of the unit cube, each side cut into CELLS x CELLS squares."""
    vertices: list[Floats] = []
    faces, normals = [], []
    a, b = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, CELLS + 1), np.linspace(0, 1, CELLS + 1)))
    i = (np.arange(CELLS)[:, None] * (CELLS + 1) + np.arange(CELLS)).ravel()
    quad = np.stack([i, i + 1, i + CELLS + 2, i + CELLS + 1], axis=1)
    for axis in range(3):
        for sign in (0, 1):
            points = np.zeros((a.size, 3))
            points[:, (axis + 1) % 3], points[:, (axis + 2) % 3], points[:, axis] = a, b, sign
            turned = quad if sign else quad[:, ::-1]
            faces.append(np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]]) + a.size * len(vertices))
            vertices.append(points)
            normals.append(np.tile((2.0 * sign - 1.0) * np.eye(3)[axis], (len(faces[-1]), 1)))
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(normals)


def box(low: Floats, high: Floats, paint: Floats) -> Solid:
    """An axis-aligned box."""
    vertices, faces, normals = _unit_box()
    return Solid(low + vertices * (high - low), faces, np.tile(paint, (len(faces), 1)), normals)


def _sized(low: Floats, size: tuple[float, float, float], paint: Floats) -> Solid:
    return box(low, low + np.array(size), paint)


def join(parts: list[Solid]) -> Solid:
    """One mesh of several."""
    offsets = np.cumsum([0, *(len(p.vertices) for p in parts[:-1])])
    return Solid(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + o for p, o in zip(parts, offsets, strict=True)]),
        np.concatenate([p.colours for p in parts]),
        np.concatenate([p.normals for p in parts]),
    )


def moved(solid: Solid, x: float, y: float, heading_deg: float) -> Solid:
    """Turned to the left about the z axis, then moved over the floor."""
    angle = np.radians(heading_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    return Solid(solid.vertices @ rotation.T + (x, y, 0.0), solid.faces, solid.colours, solid.normals @ rotation.T)


def seat(rng: np.random.Generator, top_m: float, front_m: float) -> Solid:
    """A chair, a stool or a sofa that faces +x; its seat ends at x = front_m and its top is at top_m."""
    paint, frame = colour(rng), colour(rng)
    depth = rng.uniform(0.42, 0.55)
    half = rng.uniform(0.2, 0.27) if rng.random() < 0.7 else rng.uniform(0.5, 1.0)
    thick = min(top_m * 0.8, rng.uniform(0.03, 0.15))
    x0, x1 = front_m - depth, front_m
    parts = [box(np.array([x0, -half, top_m - thick]), np.array([x1, half, top_m]), paint)]
    if half > 0.4 or rng.random() < 0.2:
        parts.append(box(np.array([x0, -half, 0.0]), np.array([x1 - 0.02, half, top_m - thick]), paint * 0.8))
    else:
        feet = [np.array([x, y, 0.0]) for x in (x0, x1 - 0.04) for y in (-half, half - 0.04)]
        parts += [_sized(foot, (0.04, 0.04, top_m - thick), frame) for foot in feet]
    if rng.random() < 0.85:
        low = np.array([x0 - rng.uniform(0.03, 0.16), -half, top_m - thick])
        parts.append(box(low, np.array([x0, half, top_m + rng.uniform(0.3, 0.6)]), paint))
    if rng.random() < 0.3:
        rests = [np.array([x0, y, top_m + 0.16]) for y in (-half - 0.06, half)]
        parts += [_sized(rest, (x1 - x0 - 0.1, 0.06, 0.06), frame) for rest in rests]
    return join(parts)


def table(rng: np.random.Generator) -> Solid:
    """A table around the origin."""
    paint = colour(rng)
    half = np.array([rng.uniform(0.25, 0.9), rng.uniform(0.25, 0.45)])
    top = rng.uniform(0.4, 0.9)
    parts = [box(np.array([*-half, top - 0.04]), np.array([*half, top]), paint)]
    for corner in _CORNERS * 2 - 1:
        place = corner * (half - 0.05)
        parts.append(box(np.array([*(place - 0.025), 0.0]), np.array([*(place + 0.025), top - 0.04]), paint * 0.7))
    return join(parts)


def crate(rng: np.random.Generator) -> Solid:
    """A crate, a cupboard, a machine, a low wall: one to three boxes on each other."""
    parts, low = [], 0.0
    half = np.array([rng.uniform(0.12, 0.7), rng.uniform(0.12, 0.4)])
    for _ in range(rng.integers(1, 4)):
        high = low + rng.uniform(0.12, 0.55)
        parts.append(box(np.array([*-half, low]), np.array([*half, high]), colour(rng)))
        half, low = half * rng.uniform(0.6, 1.0), high
    return join(parts)


def shelf(rng: np.random.Generator) -> Solid:
    """Boards between two posts, with things on them: people show through."""
    half, depth, height = rng.uniform(0.3, 0.8), rng.uniform(0.1, 0.2), rng.uniform(0.8, 2.0)
    paint = colour(rng)
    parts = [box(np.array([x, -depth, 0.0]), np.array([x + 0.04, depth, height]), paint) for x in (-half, half - 0.04)]
    for z in np.arange(0.1, height, rng.uniform(0.3, 0.5)):
        parts.append(box(np.array([-half, -depth, z]), np.array([half, depth, z + 0.03]), paint))
        if rng.random() < 0.6:
            x = rng.uniform(-half, half - 0.25)
            low = np.array([x, -depth, z + 0.03])
            parts.append(_sized(low, (rng.uniform(0.08, 0.25), 2 * depth, rng.uniform(0.08, 0.25)), colour(rng)))
    return join(parts)


def bed(rng: np.random.Generator, low: Floats, high: Floats, top_m: float) -> Solid:
    """A mattress, a couch or a mat that reaches from low to high (x, y) under someone who lies at top_m."""
    margin = rng.uniform(0.05, 0.3, 4)
    corner0, corner1 = low - margin[:2], high + margin[2:]
    paint = colour(rng) * 0.5 + 0.3
    parts = [box(np.array([*corner0, max(0.0, top_m - 0.2)]), np.array([*corner1, top_m]), paint)]
    if top_m > 0.2:
        parts.append(box(np.array([*(corner0 + 0.03), 0.0]), np.array([*(corner1 - 0.03), top_m - 0.2]), colour(rng)))
    return join(parts)


PIECES = (table, crate, shelf)


def clutter(rng: np.random.Generator, taken: list[tuple[Floats, Floats]], count: int) -> list[Solid]:
    """Up to `count` pieces near the origin whose floor rectangles keep clear of the taken ones (low, high), (2,) metres."""
    placed = []
    for _ in range(count):
        piece = PIECES[rng.integers(len(PIECES))](rng)
        for _ in range(6):
            radius, angle = rng.uniform(0.4, 2.8), rng.uniform(0, 2 * np.pi)
            solid = moved(piece, radius * np.cos(angle), radius * np.sin(angle), rng.uniform(0, 360))
            low, high = solid.vertices[:, :2].min(axis=0), solid.vertices[:, :2].max(axis=0)
            if all((low > other_high).any() or (high < other_low).any() for other_low, other_high in taken):
                placed.append(solid)
                taken.append((low, high))
                break
    return placed
