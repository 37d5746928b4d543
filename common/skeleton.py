"""The COCO-17 skeleton: names, sigmas, limbs and flips, told once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KEYPOINTS: tuple[str, ...] = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
INDEX: dict[str, int] = {name: i for i, name in enumerate(KEYPOINTS)}
NUM_KEYPOINTS = len(KEYPOINTS)

# Per-keypoint standard deviations of human annotators, from the COCO keypoint evaluation.
SIGMAS: NDArray[np.float32] = np.array(
    [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
     0.089], dtype=np.float32,
)  # fmt: skip

LIMBS: tuple[tuple[int, int], ...] = (
    (0, 1), (0, 2), (1, 3), (2, 4),
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip

# FLIP[i] is the keypoint that keypoint i becomes in a mirrored picture.
FLIP: tuple[int, ...] = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)

SHOULDERS = (INDEX["left_shoulder"], INDEX["right_shoulder"])
HIPS = (INDEX["left_hip"], INDEX["right_hip"])
KNEES = (INDEX["left_knee"], INDEX["right_knee"])
ANKLES = (INDEX["left_ankle"], INDEX["right_ankle"])
HEAD = (0, 1, 2, 3, 4)


def oks(
    predicted: NDArray[np.float32], truth: NDArray[np.float32], visible: NDArray[np.bool_], area_px: float
) -> float:
    """Object keypoint similarity of one person, as COCO defines it.

    predicted, truth: (17, 2) pixels; visible: (17,) which truths count; area_px: area of the person in square pixels.
    Returns 0..1; 0 where nothing is visible.
    """
    if not visible.any():
        return 0.0
    squared = np.sum((predicted - truth) ** 2, axis=1)
    scaled = squared / (2.0 * max(area_px, 1.0) * (2.0 * SIGMAS) ** 2)
    return float(np.mean(np.exp(-scaled)[visible]))
