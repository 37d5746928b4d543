"""Rooms and cameras at random, for pictures of rendered people: no two are alike, and none is that of the demo clip."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from models.data.layout import Box, Layout, Light, Surfaces, Triple, Zone
from models.data.raster import Camera

Floats = NDArray[np.float64]

# Camera of the demo clip (models/data/render_demo.py): pictures from about there are never trained on.
DEMO_PLACE_M, DEMO_YAW_DEG, DEMO_PITCH_DEG = (0.55, 0.0, 2.4), 4.0, 20.0
SIZES_PX, SIZE_SHARES = ((480, 360), (480, 270), (416, 312), (360, 480)), (0.4, 0.3, 0.2, 0.1)
CLEAR_M = 0.5  # around the camera, so that no cupboard stands before the lens


def draw_layout(rng: np.random.Generator) -> Layout:
    """A room of 4.4 to 8.2 m by 5 to 8.4 m with furniture along its walls and in the middle."""
    half, far, high = rng.uniform(2.2, 4.1), rng.uniform(3.8, 7.2), rng.uniform(2.4, 3.3)
    low, top = (-half, -1.2, 0.0), (half, far, high)
    boxes = [box for _ in range(rng.integers(2, 7)) for box in _against_wall(low, top, rng)]
    boxes += [box for _ in range(rng.integers(0, 4)) for box in _free_standing(low, top, rng)]
    boxes += [_on_wall(low, top, rng) for _ in range(rng.integers(1, 6))]
    tint = np.array([1.0, rng.uniform(0.88, 1.0), rng.uniform(0.72, 1.05)])  # from lamps to daylight
    lights = tuple(_light(low, top, tint, rng) for _ in range(rng.integers(1, 4)))
    ambient = _triple(rng.uniform(0.12, 0.5) * np.array([1.0, 1.0, rng.uniform(0.9, 1.2)]))
    return Layout(low, top, tuple(boxes), lights, ambient, _zone(half, far, rng), _surfaces(rng))


def draw_camera(layout: Layout, rng: np.random.Generator) -> Camera:
    """From a ceiling corner, a shelf or a table, looking where people may be; never from the demo clip's place."""
    while True:
        width, height = SIZES_PX[rng.choice(len(SIZES_PX), p=SIZE_SHARES)]
        top_m = layout.high[2]
        heights = [rng.uniform(2.1, top_m - 0.1), rng.uniform(1.3, 2.1), rng.uniform(0.6, 1.3)]
        z = float(rng.choice(heights, p=[0.6, 0.28, 0.12]))
        place = np.array([rng.uniform(layout.low[0] + 0.2, layout.high[0] - 0.2), rng.uniform(-1.0, 1.4), z])
        target = np.array([rng.uniform(layout.low[0], layout.high[0]) * 0.6, rng.uniform(2.4, layout.high[1] - 0.8)])
        ahead = target - place[:2]
        yaw = float(np.degrees(np.arctan2(-ahead[0], ahead[1])))
        aim = rng.uniform(0.3, 1.2)  # height that it looks at, metres
        pitch = float(np.degrees(np.arctan2(z - aim, np.linalg.norm(ahead))))
        field = rng.uniform(48.0, 98.0) if width > height else rng.uniform(40.0, 66.0)
        camera = Camera(_triple(place), yaw, pitch, float(field), width, height)
        if not near_demo(camera) and not _blocked(place, layout):
            return camera


def near_demo(camera: Camera) -> bool:
    """Whether a camera sees about what the demo clip's does."""
    moved = np.linalg.norm(np.subtract(camera.position_m, DEMO_PLACE_M))
    return bool(moved < 0.3 and abs(camera.yaw_deg - DEMO_YAW_DEG) < 5 and abs(camera.pitch_deg - DEMO_PITCH_DEG) < 5)


def draw_colour(rng: np.random.Generator, low: float = 0.03, high: float = 0.75) -> Triple:
    """Linear reflectance of paint or cloth: half of all things are nearly grey, as in most homes and halls."""
    value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    saturation = rng.uniform(0.0, 0.15) if rng.random() < 0.5 else rng.uniform(0.15, 0.9)
    return colorsys.hsv_to_rgb(float(rng.random()), float(saturation), value)


def _blocked(place: Floats, layout: Layout) -> bool:
    return any(
        all(low - CLEAR_M < at < high + CLEAR_M for low, at, high in zip(box.low, place, box.high, strict=True))
        for box in layout.boxes
    )


def _triple(values: Floats) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _light(low: Triple, high: Triple, tint: Floats, rng: np.random.Generator) -> Light:
    half = (rng.uniform(0.1, 0.4), rng.uniform(0.1, 0.9))
    x, y = rng.uniform(low[0] + 0.5, high[0] - 0.5), rng.uniform(0.0, high[1] - 0.8)
    return Light((float(x), float(y), high[2] - 0.02), half, _triple(rng.uniform(5.0, 18.0) * tint))


def _zone(half: float, far: float, rng: np.random.Generator) -> Zone | None:
    if rng.random() > 0.3:
        return None
    x, y = rng.uniform(-half, half - 1.5), rng.uniform(1.0, far - 1.5)
    size = rng.uniform(0.8, 2.5, 2)
    return Zone((float(x), float(y)), (float(x + size[0]), float(y + size[1])), draw_colour(rng, 0.3), draw_colour(rng, 0.1))


def _surfaces(rng: np.random.Generator) -> Surfaces:
    wall = draw_colour(rng, 0.2, 0.8)
    darker = _triple(np.array(wall) * rng.uniform(0.5, 0.95))
    tile = (0.12, 1.2) if rng.random() < 0.35 else (float(rng.uniform(0.2, 1.0)),) * 2  # planks or tiles
    return Surfaces(
        wall=wall,
        dado=darker if rng.random() < 0.4 else wall,
        dado_m=float(rng.uniform(0.7, 1.5)),
        edge=darker,
        skirting=draw_colour(rng, 0.2),
        ceiling=draw_colour(rng, 0.5, 0.8),
        floor=draw_colour(rng, 0.06, 0.6),
        tile_m=tile,
        tile_contrast=float(rng.uniform(0.0, 0.12)),
    )


def _against_wall(low: Triple, high: Triple, rng: np.random.Generator) -> list[Box]:
    """A cupboard, a bed, a shelf or a machine with its back to the left, right or far wall."""
    long, deep = rng.uniform(0.5, 2.0), rng.uniform(0.3, 0.9)
    tall = rng.choice([rng.uniform(0.35, 0.6), rng.uniform(0.7, 1.1), rng.uniform(1.4, 2.1)])
    if rng.random() < 0.5:
        x0 = rng.uniform(low[0], high[0] - long)
        start, end = (x0, high[1] - deep), (x0 + long, high[1])
    else:
        y0 = rng.uniform(1.5, max(1.6, high[1] - long))
        x0 = low[0] if rng.random() < 0.5 else high[0] - deep
        start, end = (x0, y0), (x0 + deep, min(y0 + long, high[1]))
    colour = draw_colour(rng)
    stripe = (tall * 0.45, tall * 0.45 + 0.05, draw_colour(rng)) if rng.random() < 0.5 else None
    boxes = [Box((start[0], start[1], 0.0), (end[0], end[1], float(tall)), colour, stripe)]
    if tall < 1.2 and rng.random() < 0.6:  # something on top
        size = rng.uniform(0.1, 0.25, 2)
        x, y = (float(rng.uniform(start[i], max(start[i] + 0.01, end[i] - size[i]))) for i in (0, 1))
        top = float(tall + rng.uniform(0.1, 0.5))
        boxes.append(Box((x, y, float(tall)), (x + size[0], y + size[1], top), draw_colour(rng)))
    return boxes


def _free_standing(low: Triple, high: Triple, rng: np.random.Generator) -> list[Box]:
    """A table on legs, or a crate, away from the walls."""
    size = rng.uniform(0.5, 1.4, 2)
    x, y = rng.uniform(low[0] + 0.6, high[0] - 0.6 - size[0]), rng.uniform(1.8, max(1.9, high[1] - 0.8 - size[1]))
    colour = draw_colour(rng)
    if rng.random() < 0.4:
        return [Box((x, y, 0.0), (x + size[0] * 0.6, y + size[1] * 0.6, float(rng.uniform(0.3, 0.9))), colour)]
    top = float(rng.uniform(0.45, 0.78))
    boxes = [Box((x, y, top - 0.04), (x + size[0], y + size[1], top), colour)]
    corners = [(x + dx, y + dy) for dx in (0.03, size[0] - 0.08) for dy in (0.03, size[1] - 0.08)]
    return boxes + [Box((a, b, 0.0), (a + 0.05, b + 0.05, top - 0.04), colour) for a, b in corners]


def _on_wall(low: Triple, high: Triple, rng: np.random.Generator) -> Box:
    """A door, a board, a picture: a thin box on the far or a side wall."""
    wide = rng.uniform(0.3, 1.4)
    bottom, top = (0.0, 2.05) if rng.random() < 0.3 else (rng.uniform(0.9, 1.4), rng.uniform(1.5, 2.1))
    thick = 0.04
    colour = draw_colour(rng)
    if rng.random() < 0.5:
        x = rng.uniform(low[0], high[0] - wide)
        return Box((x, high[1] - thick, float(bottom)), (x + wide, high[1], float(top)), colour)
    y = rng.uniform(0.5, max(0.6, high[1] - wide))
    x = low[0] if rng.random() < 0.5 else high[0] - thick
    return Box((x, y, float(bottom)), (x + thick, y + wide, float(top)), colour)
