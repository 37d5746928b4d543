"""Cameras on walls, ceilings and shelves: pinhole with radial distortion. World: z up, the floor at 0, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEAR_M = 0.15
# Of the person that a camera is aimed at, before it steps back to what its mount's steepest pitch allows.
EXTENTS_PX = (100.0, 400.0)

# Longer side up to 384 px: what detectors of 320 and 416 px and crops of 256 px can use. Aspects of surveillance cameras,
# phones upright, and squares.
SIZES_PX = ((384, 288), (384, 216), (320, 240), (352, 288), (320, 320), (288, 384))
SIZE_SHARES = (0.30, 0.28, 0.12, 0.10, 0.10, 0.10)


@dataclass(frozen=True)
class Lens:
    """A camera at `position_m`, turned left by yaw, down by pitch, clockwise by roll (degrees).

    k1: radial distortion, r' = r (1 + k1 r^2) in units of the focal length; below 0 for wide angles (barrel).
    """

    position_m: tuple[float, float, float]
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    focal_px: float
    k1: float
    width_px: int
    height_px: int

    def axes(self) -> Floats:
        """Rows right, down, forward of the picture: (3, 3), world to camera."""
        yaw, pitch, roll = np.radians([self.yaw_deg, self.pitch_deg, self.roll_deg])
        forward = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        down = np.cross(forward, right)
        turned = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
        return np.stack([*turned, forward])

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """World (N, 3) -> pixels (N, 2) and depth (N,) along the optical axis.

        Depth is -1 for what the lens cannot show: behind it, or so far out that the distortion would fold back.
        """
        seen = (points - np.array(self.position_m)) @ self.axes().T
        depth = seen[:, 2].copy()
        flat = seen[:, :2] / np.maximum(depth, NEAR_M)[:, None]
        square = flat[:, 0] ** 2 + flat[:, 1] ** 2
        bent = 1.0 + self.k1 * square
        if self.k1 < 0:
            depth[square > 0.8 / (-3.0 * self.k1)] = -1.0  # where r' stops growing with r, less a margin
        depth[seen[:, 2] < NEAR_M] = -1.0
        return flat * bent[:, None] * self.focal_px + np.array([self.width_px, self.height_px]) / 2, depth

    def rays(self) -> Floats:
        """World directions through the pixel centres, (H, W, 3), of depth 1."""
        x = (np.arange(self.width_px) + 0.5 - self.width_px / 2) / self.focal_px
        y = (np.arange(self.height_px) + 0.5 - self.height_px / 2) / self.focal_px
        bent = np.hypot(x[None, :], y[:, None])
        radius = bent.copy()
        for _ in range(5):  # Newton's steps on r (1 + k1 r^2) = r'; the slope's floor only matters where nothing is shown
            slope = np.maximum(1.0 + 3.0 * self.k1 * radius**2, 0.2)
            radius -= (radius * (1.0 + self.k1 * radius**2) - bent) / slope
        grow = radius / np.maximum(bent, 1e-9)
        right, down, forward = self.axes()
        rays: Floats = (x[None, :] * grow)[..., None] * right + (y[:, None] * grow)[..., None] * down + forward
        return rays


@dataclass(frozen=True)
class Mount:
    """Where a kind of camera hangs: ranges of height (metres), pitch down and horizontal field of view (degrees)."""

    share: float
    height_m: tuple[float, float]
    pitch_deg: tuple[float, float]
    hfov_deg: tuple[float, float]


MOUNTS = (
    Mount(0.55, (2.0, 3.2), (12.0, 60.0), (55.0, 100.0)),  # ceiling corner, wide
    Mount(0.20, (1.8, 2.8), (10.0, 45.0), (45.0, 75.0)),  # wall
    Mount(0.20, (0.7, 1.7), (-6.0, 32.0), (40.0, 75.0)),  # shelf, tripod, phone
    Mount(0.05, (2.4, 3.4), (55.0, 80.0), (70.0, 105.0)),  # steep, from the ceiling
)


def aim(rng: np.random.Generator, middle_m: float, extent_m: float) -> Lens:
    """A camera that sees someone at the world's origin.

    middle_m: height of the person's middle; extent_m: the person's largest extent, which sets the distance.
    """
    width, height = SIZES_PX[rng.choice(len(SIZES_PX), p=SIZE_SHARES)]
    mount = MOUNTS[rng.choice(len(MOUNTS), p=[m.share for m in MOUNTS])]
    hfov = rng.uniform(*mount.hfov_deg)
    longer = max(width, height)
    focal = longer / 2 / float(np.tan(np.radians(hfov) / 2))
    wanted = np.exp(rng.uniform(*np.log(EXTENTS_PX)))
    distance = max(focal * extent_m / wanted, 0.8)
    above = rng.uniform(*mount.height_m) - middle_m
    low, high = (np.radians(a) for a in mount.pitch_deg)
    down = float(np.clip(np.arcsin(np.clip(above / distance, -0.99, 0.99)), low, high))
    if above > 0:
        distance = max(distance, 0.0) if np.sin(down) < 1e-3 else max(above / np.sin(down), 0.8)
    across = distance * np.cos(down)
    bearing = rng.uniform(0.0, 2 * np.pi)
    position = (across * np.cos(bearing), across * np.sin(bearing), middle_m + distance * np.sin(down))
    look = np.degrees(np.arctan2(across * np.cos(bearing), -across * np.sin(bearing)))
    aside = np.degrees(np.arctan(width / 2 / focal)) * rng.uniform(-0.75, 0.75)
    updown = np.degrees(np.arctan(height / 2 / focal)) * rng.uniform(-0.65, 0.65)
    k1 = rng.uniform(-0.16, -0.04) if hfov > 80 else rng.uniform(-0.10, 0.03)
    return Lens(position, look + aside, float(np.degrees(down)) + updown, rng.normal(0.0, 2.0), focal, k1, width, height)
