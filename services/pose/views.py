"""Crops of people whom the detector saw in a turned picture: upright for the network, which learnt upright people.

Measured on 149 photos of lying people (kit, labels of another network): mean OKS of MoveNet MultiPose 0.59 as they lie and 0.78
turned as the label's network was; of PP-TinyPose-128x96 0.58 and 0.80.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.geometry import Crops, Floats, Image, boxes_from_rotated, points_from_rotated, rotate_quarter
from common.manifest import Manifest
from services.pose.crops import crop_batch

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class View:
    """The people (rows of all boxes) that are looked at in the picture turned by `quarters` x 90 degrees, counter-clockwise."""

    rows: Indices
    quarters: int
    size_px: tuple[int, int]  # (width, height) of the picture as it is
    crops: Crops
    targets: Floats  # (n, 4) boxes, each in its own crop's pixels

    def points_to_image(self, points: Floats) -> Floats:
        """(n, K, 2) crop pixels -> pixels of the picture as it is."""
        return points_from_rotated(self.crops.points_to_image(points), self.quarters, self.size_px)


def make_views(image: Image, boxes: Floats, turns_deg: NDArray[np.integer] | None, manifest: Manifest) -> list[View]:
    """One view for each turn that occurs; the picture is turned only for turns that do.

    boxes: (N, 4) pixels of the picture as it is; turns_deg: (N,) multiples of 90, None for no turns.
    """
    size_px = image.shape[1], image.shape[0]
    quarters = np.zeros(len(boxes), np.intp) if turns_deg is None else np.asarray(turns_deg, np.intp) // 90 % 4
    views = []
    for turn in np.unique(quarters).tolist():
        rows = np.flatnonzero(quarters == turn)
        turned = np.ascontiguousarray(rotate_quarter(image, turn))
        # The picture as it is, is the turned one turned back.
        seen = boxes_from_rotated(boxes[rows], -turn, (turned.shape[1], turned.shape[0])) if turn else boxes[rows]
        crops = crop_batch(turned, seen, manifest)
        views.append(View(rows, turn, size_px, crops, crops.boxes_to_crop(seen)))
    return views
