"""The labels of a rendered person: box of the visible silhouette, keypoints and which of them are seen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from common.skeleton import ANKLES, HEAD, KNEES, NUM_KEYPOINTS, SHOULDERS
from models.data.sample import Person
from models.data.synthetic.canvas import SCALE, Canvas

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]

# Nose, eyes and ears lie on the surface; other keypoints inside, this deep under what a camera sees of them (metres for a
# stature of 1.7 m): half of the limb, with its cloth.
DEPTH_M = np.array([0.03, 0.03, 0.03, 0.04, 0.04, 0.13, 0.13, 0.09, 0.09, 0.07, 0.07, 0.18, 0.18, 0.11, 0.11, 0.09, 0.09])
HIDDEN_WEIGHT = 0.5  # of a keypoint in the picture that something hides: its place is exact, but has to be guessed
LEAST_SEEN, LEAST_PX, LEAST_SIDE_PX = 0.15, 50, 10.0  # share of the silhouette, its area, and its longer side
LEAST_KEYPOINTS = 3
TELLABLE = 0.15  # of the box's longer side: a hidden keypoint further than this from what is seen of the person is a guess


@dataclass(frozen=True)
class Mark:
    """Keypoints of a person: pixels (17, 2), depth (17,) metres, and stature by 1.7 m."""

    pixels: Floats
    depth: Floats
    scale: float


def label(canvas: Canvas, index: int, whole: Bools, mark: Mark, posture: str) -> Person | None:
    """The person's label, or None when nothing of it is in the picture.

    Weights: 1 seen, HIDDEN_WEIGHT hidden, 0 outside the picture; and 0 for hidden parts of the face and for what is hidden far
    from everything seen of the person, as annotators leave those out. A person of whom too little is seen is uncertain.
    """
    mine = canvas.owner == index
    seen_px = int(mine.sum()) / SCALE**2
    if seen_px < 4:
        return None
    rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32) / np.float32(SCALE)
    weight = _weights(canvas, mine, float((box[2:] - box[:2]).max()), mark)
    keypoints = np.concatenate([mark.pixels, weight[:, None]], axis=1).astype(np.float32)
    keypoints[weight == 0] = 0.0
    uncertain = (
        seen_px < LEAST_PX
        or float((box[2:] - box[:2]).max()) < LEAST_SIDE_PX
        or seen_px * SCALE**2 < LEAST_SEEN * float(whole.sum())
        or int((weight == 1).sum()) < LEAST_KEYPOINTS
    )
    return Person(box, keypoints, _cut(posture, weight), bool(uncertain), 1.0, float(seen_px))


def _weights(canvas: Canvas, mine: Bools, side_px: float, mark: Mark) -> Floats:
    height, width = canvas.shape
    inside = (mark.depth > 0) & (mark.pixels >= 0).all(axis=1)
    inside &= (mark.pixels[:, 0] < width / SCALE) & (mark.pixels[:, 1] < height / SCALE)
    at = np.clip(np.nan_to_num(mark.pixels * SCALE), 0, (width - 1, height - 1)).astype(int)
    column, row = at.T
    seen = mark.depth < canvas.depth[row, column] + DEPTH_M * mark.scale
    away_px = np.asarray(cv2.distanceTransform((~mine).astype(np.uint8), cv2.DIST_L2, 3))[row, column] / SCALE
    face = np.isin(np.arange(NUM_KEYPOINTS), HEAD)
    hidden = np.where(face | (away_px > TELLABLE * side_px), 0.0, HIDDEN_WEIGHT)
    return np.where(inside, np.where(seen, 1.0, hidden), 0.0)


def _cut(posture: str, weight: Floats) -> str:
    """`upper-body` for who sits or stands where the picture ends above the knees."""
    shoulders, below = weight[list(SHOULDERS)] > 0, weight[[*KNEES, *ANKLES]] > 0
    if posture in ("upright", "sitting") and shoulders.all() and not below.any():
        return "upper-body"
    return posture
