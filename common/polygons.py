"""Polygons, such as zones. Corners are (M, 2); `common.geometry` offers these functions too."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]


def polygon_area(polygon: ArrayLike) -> float:
    """Area of a simple polygon, (M, 2) corners in either direction (shoelace formula)."""
    points = np.asarray(polygon, np.float64)
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def points_in_polygon(points: ArrayLike, polygon: ArrayLike) -> NDArray[np.bool_]:
    """(N,) which of the points (N, 2) lie in the polygon (M, 2), by the even-odd rule; edges may go either way."""
    p = np.asarray(points, np.float64).reshape(-1, 2)
    a = np.asarray(polygon, np.float64)
    b = np.roll(a, -1, axis=0)
    crosses = (a[:, 1] > p[:, 1:]) != (b[:, 1] > p[:, 1:])  # (N, M): the edge passes the point's height
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    x = a[:, 0] + (p[:, 1:] - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise
    return np.asarray((crosses & (p[:, :1] < x)).sum(axis=1) % 2 == 1)


def polygon_to_px(polygon: ArrayLike, width_px: float, height_px: float) -> Floats:
    """Normalised corners (M, 2) -> pixels."""
    return (np.asarray(polygon, np.float64) * (width_px, height_px)).astype(np.float32)


def polygon_to_norm(polygon: ArrayLike, width_px: float, height_px: float) -> Floats:
    """Corners in pixels (M, 2) -> 0..1 of width and height."""
    return (np.asarray(polygon, np.float64) / (width_px, height_px)).astype(np.float32)
