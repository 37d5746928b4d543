"""What a rendered room is made of: its walls, lights, furniture and floor markings. DEMO is the room of the demo clip.

World: x right, y away from the camera's wall, z up, metres. Colours are linear reflectances.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]
Pair = tuple[float, float]

YELLOW: Triple = (0.80, 0.58, 0.04)


@dataclass(frozen=True)
class Box:
    """An axis-aligned box; colour is linear reflectance, stripe repaints the part between two heights."""

    low: Triple
    high: Triple
    colour: Triple
    stripe: tuple[float, float, Triple] | None = None


@dataclass(frozen=True)
class Light:
    """A rectangle in the ceiling that shines down: centre and half sizes in metres, radiant intensity per colour."""

    centre: Triple
    half: Pair
    intensity: Triple

    def samples(self, per_side: int) -> Floats:
        """Points spread over it, (per_side**2, 3) metres."""
        grid = (np.arange(per_side) + 0.5) / per_side * 2 - 1
        x, y = np.meshgrid(grid * self.half[0], grid * self.half[1])
        return np.stack([self.centre[0] + x.ravel(), self.centre[1] + y.ravel(), np.full(x.size, self.centre[2])], axis=1)


@dataclass(frozen=True)
class Zone:
    """A hatched rectangle on the floor, low and high corner in metres: a line around stripes."""

    low: Pair
    high: Pair
    line: Triple = YELLOW
    hatch: Triple = (0.62, 0.45, 0.05)

    def corners(self) -> Floats:
        """(4, 3) metres, as painted (outer edge of the line)."""
        (x0, y0), (x1, y1) = self.low, self.high
        return np.array([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])


@dataclass(frozen=True)
class Surfaces:
    """Colours of a room's shell. Up to dado_m the walls have another; the floor has tiles of tile_m metres with dark joints."""

    wall: Triple = (0.60, 0.59, 0.55)
    dado: Triple = (0.46, 0.51, 0.50)
    dado_m: float = 1.1
    edge: Triple = (0.36, 0.40, 0.40)
    skirting: Triple = (0.70, 0.69, 0.66)
    ceiling: Triple = (0.7, 0.7, 0.68)
    floor: Triple = (0.40, 0.385, 0.36)
    tile_m: Pair = (0.5, 0.5)
    tile_contrast: float = 0.028


@dataclass(frozen=True)
class Layout:
    """One room: its inner corners in metres, what stands in it, and what lights it. ambient: per colour, from everywhere."""

    low: Triple
    high: Triple
    boxes: tuple[Box, ...]
    lights: tuple[Light, ...]
    ambient: Triple
    zone: Zone | None = None
    surfaces: Surfaces = field(default_factory=Surfaces)


def _demo_furniture() -> list[Box]:
    """The machine, a door, shelves, a desk with a chair, crates."""
    steel, dark, wood = (0.33, 0.39, 0.38), (0.05, 0.055, 0.06), (0.36, 0.22, 0.12)
    boxes = [
        Box((-1.75, 5.35, 0.0), (-0.25, 6.15, 1.05), steel, (0.12, 0.22, YELLOW)),
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


DEMO_ZONE = Zone((-2.05, 4.1), (0.1, 5.3))  # the machine's restricted floor
DEMO = Layout(
    low=(-3.4, -1.2, 0.0),
    high=(3.4, 6.7, 2.9),
    boxes=tuple(_demo_furniture()),
    lights=(
        Light((1.3, 1.9, 2.88), (0.35, 0.9), (17.0, 16.4, 15.2)),
        Light((-1.6, 4.4, 2.88), (0.35, 0.9), (11.0, 10.8, 10.5)),
    ),
    ambient=(0.27, 0.285, 0.31),
    zone=DEMO_ZONE,
)
