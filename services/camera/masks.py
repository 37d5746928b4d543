"""Privacy masks: polygons painted black before a picture leaves the process."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from common.config import PointNorm


def cover(polygons: Sequence[Sequence[PointNorm]], width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Which pixels the polygons touch: (height, width) uint8, 255 inside and on the edge, 0 elsewhere.

    polygons: corners (x, y), each 0..1 of width and height. A pixel that a polygon touches at all is covered: corners are
    rounded to pixel centres (at most half a pixel off) and the area grown by one pixel.
    """
    mask = np.zeros((height_px, width_px), np.uint8)
    size = np.array([width_px, height_px], np.float64)
    for polygon in polygons:
        corners = np.rint(np.asarray(polygon, np.float64) * size - 0.5).astype(np.int32)  # (P, 2)
        one = np.zeros_like(mask)
        cv2.fillPoly(one, [corners], 255)
        cv2.polylines(one, [corners], True, 255)  # a sliver thinner than a pixel still has an outline
        mask |= one
    return np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8)), np.uint8)


class PrivacyMask:
    """Paints a camera's masks; precomputed for the size of its pictures, computed anew when that changes."""

    def __init__(self, polygons: Sequence[Sequence[PointNorm]]) -> None:
        self._polygons = polygons
        self._keep: NDArray[np.uint8] | None = None

    def paint(self, image: NDArray[np.uint8]) -> None:
        """Paint the masks black, in place. image: (H, W, 3) uint8."""
        if not self._polygons:
            return
        if self._keep is None or self._keep.shape != image.shape:
            height_px, width_px = image.shape[:2]
            covered = cover(self._polygons, width_px, height_px)
            self._keep = np.ascontiguousarray(np.repeat((255 - covered)[:, :, None], 3, axis=2))
        cv2.bitwise_and(image, self._keep, dst=image)
