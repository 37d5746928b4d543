"""What a skeleton says about a body's posture, all people of a frame at once.

Proportions are those of Drillis and Contini (1966) as parts of the stature: hip 0.53, shoulder 0.82 above the ground,
ankle 0.04, so the torso is 0.29 long.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from common.messages import Box, Keypoint
from common.skeleton import ANKLES, HIPS, SHOULDERS

Array = NDArray[np.float64]

VISIBLE = 0.25  # keypoint score below which a keypoint is taken for a guess
TORSO = 0.29  # of the stature
NECK_TO_ANKLE = 0.78
NECK_IN_BOX, HIP_IN_BOX = 0.18, 0.47  # from the top of a standing person's box, where keypoints are missing
BORDER = 0.02  # of the frame: a box so near to its edge may be cut off


class Posture(Struct, array_like=True):
    """One person in one frame. Pixels of the captured frame, y down."""

    t_ns: int
    x: float  # centre of the trunk
    neck_y: float
    hip_y: float
    tilt_deg: float | None  # torso from vertical: 0 upright, 90 lying across the view, above 90 head down; None: not seen
    torso_px: float | None
    legs_px: float | None  # from neck to ankles, vertical, when the ankles are seen
    width_px: float
    height_px: float
    foot_x: float
    foot_y: float
    cut: bool  # the box touches the edge of the frame

    @property
    def y(self) -> float:
        return (self.neck_y + self.hip_y) / 2

    @property
    def aspect(self) -> float:
        return self.width_px / max(self.height_px, 1.0)


def measure(
    t_ns: int, boxes: list[Box], skeletons: list[tuple[Keypoint, ...]], width_px: int, height_px: int
) -> list[Posture]:
    """Postures of the people of one frame. boxes: N xyxy pixels; skeletons: N x 17 x (x, y, score)."""
    if not boxes:
        return []
    box = np.array(boxes, dtype=np.float64)
    keypoints = np.array([points if len(points) == 17 else NO_POINTS for points in skeletons], dtype=np.float64)
    top, tall = box[:, 1], box[:, 3] - box[:, 1]
    centre = (box[:, 0] + box[:, 2]) / 2
    neck, hip, ankle = (_middle(keypoints, pair) for pair in (SHOULDERS, HIPS, ANKLES))
    torso = hip - neck  # NaN where either is not seen
    tilt = np.degrees(np.arctan2(np.abs(torso[:, 0]), torso[:, 1]))
    neck_y = _fill(neck[:, 1], top + NECK_IN_BOX * tall)
    hip_y = _fill(hip[:, 1], top + HIP_IN_BOX * tall)
    x = _fill((neck[:, 0] + hip[:, 0]) / 2, centre)
    foot_x, foot_y = _fill(ankle[:, 0], centre), _fill(ankle[:, 1], box[:, 3])
    margin = np.array([width_px * BORDER, height_px * BORDER])
    cut = (box[:, :2] <= margin).any(axis=1) | (box[:, 2:] >= np.array([width_px, height_px]) - margin).any(axis=1)
    length = np.hypot(torso[:, 0], torso[:, 1])
    legs = ankle[:, 1] - neck[:, 1]
    columns = (x, neck_y, hip_y, tilt, length, legs, box[:, 2] - box[:, 0], tall, foot_x, foot_y)
    rows = np.stack(columns, axis=1).tolist()
    return [
        Posture(t_ns, r[0], r[1], r[2], _known(r[3]), _known(r[4]), _known(r[5]), r[6], r[7], r[8], r[9], is_cut)
        for r, is_cut in zip(rows, cut.tolist(), strict=True)
    ]


def stature(posture: Posture) -> float | None:
    """Body length in pixels as far as this posture shows it; the largest part seen counts, for parts only foreshorten."""
    parts = []
    if posture.torso_px is not None:
        parts.append(posture.torso_px / TORSO)
    if posture.legs_px is not None:
        parts.append(posture.legs_px / NECK_TO_ANKLE)
    if not posture.cut and posture.aspect < 0.55:
        parts.append(posture.height_px)
    return max(parts, default=None)


NO_POINTS: tuple[Keypoint, ...] = ((0.0, 0.0, 0.0),) * 17


def _middle(keypoints: Array, pair: tuple[int, int]) -> Array:
    """(N, 2) mean of the visible ones of a left-right pair, NaN where none is."""
    points = keypoints[:, pair, :]
    weight = np.where(points[..., 2] >= VISIBLE, points[..., 2], 0.0)  # (N, 2)
    total = weight.sum(axis=1)
    summed = (points[..., :2] * weight[..., None]).sum(axis=1)
    result: Array = np.where(total[:, None] > 0, summed / np.where(total > 0, total, 1.0)[:, None], np.nan)
    return result


def _fill(values: Array, otherwise: Array) -> Array:
    return np.where(np.isnan(values), otherwise, values)


def _known(value: float) -> float | None:
    return None if value != value else value
