"""A small camera and a z-buffer for meshes of many tiny triangles, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. World: x right, y away from the camera's wall, z up, metres.

    yaw_deg turns to the left, pitch_deg looks down; hfov_deg is the horizontal field of view.
    """

    position_m: tuple[float, float, float]
    yaw_deg: float
    pitch_deg: float
    hfov_deg: float
    width_px: int
    height_px: int

    @property
    def focal_px(self) -> float:
        """Focal length in pixels of the final picture."""
        return self.width_px / 2 / float(np.tan(np.radians(self.hfov_deg) / 2))

    def axes(self) -> Floats:
        """Rows: right, down, forward; (3, 3), world to camera."""
        yaw, pitch = np.radians([self.yaw_deg, self.pitch_deg])
        forward = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        return np.stack([right, np.cross(forward, right), forward])

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """World (N, 3) -> pixels (N, 2) and depth (N,) in metres along the optical axis."""
        seen = (points - np.array(self.position_m)) @ self.axes().T
        depth = seen[:, 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        centre = np.array([self.width_px, self.height_px]) / 2
        return seen[:, :2] / safe[:, None] * self.focal_px + centre, depth

    def rays(self, scale: int) -> Floats:
        """Directions through the centres of a picture `scale` times larger, (H*scale, W*scale, 3), unit depth."""
        x = (np.arange(self.width_px * scale) + 0.5) / scale - self.width_px / 2
        y = (np.arange(self.height_px * scale) + 0.5) / scale - self.height_px / 2
        grid = np.stack(np.broadcast_arrays(x[None, :], y[:, None], self.focal_px), axis=-1) / self.focal_px
        rays: Floats = grid @ self.axes()
        return rays


def rasterise(pixels: Floats, depth: Floats, faces: Ints, shape: tuple[int, int]) -> tuple[Ints, Floats, Floats]:
    """Draws triangles into a z-buffer.

    pixels: (V, 2), depth: (V,) metres, faces: (F, 3), shape: (height, width) of the buffer.
    Returns the face of each pixel (H, W), -1 where none; barycentric weights (H, W, 3); depth (H, W), inf where none.
    Triangles are grouped by the size of their pixel box, so that each group is one vectorised step.
    """
    height, width = shape
    best = np.full(height * width, np.inf)
    owner = np.full(height * width, -1, dtype=np.int64)
    bary = np.zeros((height * width, 3))
    corners = pixels[faces]  # (F, 3, 2)
    low = np.floor(corners.min(axis=1) - 0.5).astype(np.int64)
    size = np.ceil(corners.max(axis=1) + 0.5).astype(np.int64) - low
    side = size.max(axis=1)
    usable = (depth[faces] > 0.05).all(axis=1) & (side < max(shape))
    usable &= ((low + size) >= 0).all(axis=1) & (low[:, 0] < width) & (low[:, 1] < height)
    for limit_low, limit in ((0, 3), (3, 5), (5, 8), (8, 14), (14, 30), (30, 120)):
        chosen = np.flatnonzero(usable & (side > limit_low) & (side <= limit))
        for part in np.array_split(chosen, max(1, len(chosen) * limit * limit // 4_000_000)):
            if len(part):
                _draw(part, corners, depth[faces], low, limit, (height, width), best, owner, bary)
    return owner.reshape(shape), bary.reshape(height, width, 3), best.reshape(shape)


def _draw(
    part: Ints,
    corners: Floats,
    depths: Floats,
    low: Ints,
    side: int,
    shape: tuple[int, int],
    best: Floats,
    owner: Ints,
    bary: Floats,
) -> None:
    height, width = shape
    step = np.arange(side)
    px = low[part, 0][:, None, None] + step[None, None, :] + np.zeros((1, side, 1), dtype=np.int64)
    py = low[part, 1][:, None, None] + step[None, :, None] + np.zeros((1, 1, side), dtype=np.int64)
    a, b, c = (corners[part, i][:, None, None, :] for i in range(3))
    x, y = px + 0.5, py + 0.5
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    wb = ((x - a[..., 0]) * (c[..., 1] - a[..., 1]) - (y - a[..., 1]) * (c[..., 0] - a[..., 0])) / area
    wc = ((b[..., 0] - a[..., 0]) * (y - a[..., 1]) - (b[..., 1] - a[..., 1]) * (x - a[..., 0])) / area
    wa = 1.0 - wb - wc
    inside = (wa >= -1e-6) & (wb >= -1e-6) & (wc >= -1e-6) & (px >= 0) & (py >= 0) & (px < width) & (py < height)
    face, row, column = np.nonzero(inside)
    weights = np.stack([wa[inside], wb[inside], wc[inside]], axis=1)
    ids = part[face]
    z = (weights * depths[ids]).sum(axis=1)
    where = py[face, row, column] * width + px[face, row, column]
    order = np.lexsort((z, where))
    first = np.ones(len(order), dtype=bool)
    first[1:] = where[order][1:] != where[order][:-1]
    winners = order[first]
    winners = winners[z[winners] < best[where[winners]]]
    spot = where[winners]
    best[spot], owner[spot], bary[spot] = z[winners], ids[winners], weights[winners]
