"""Raw outputs of a pose network -> keypoints, all people at once, one function a network family.

Each takes the outputs for a batch of N crops, the crops' size (width, height), and the boxes (N, 4) of the target people
in their crops' pixels; it returns (N, 17, 3) float32: x, y in crop pixels and a score 0..1, COCO order. They raise ModelError
for outputs of another shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs

Decoder = Callable[[Outputs, tuple[int, int], Floats], Floats]
MIN_IOU = 0.05  # an instance that overlaps the target's box less than this is somebody else
MIN_SCORE = 0.02  # MoveNet fills its six rows with noise of about 0.01


def movenet_multipose(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """MoveNet MultiPose on crops: (N, K, 56), of each crop's K instances the one with the best score x overlap with the box.

    Where no instance is the target, all 17 keypoints lie at the box's centre with score 0.
    """
    (raw,) = outputs.values()
    if raw.ndim != 3 or raw.shape[0] != len(boxes) or raw.shape[2] != 56:
        raise ModelError(f"decoder 'movenet_multipose' expects an output ({len(boxes)}, K, 56), got {raw.shape}")
    width, height = size_px
    found = raw[:, :, [52, 51, 54, 53]] * np.array([width, height, width, height], np.float32)  # (N, K, 4)
    overlap = _iou_rows(found, boxes)
    score = raw[:, :, 55]
    fitness = np.where((overlap >= MIN_IOU) & (score >= MIN_SCORE), score * overlap, 0)
    rows = np.arange(len(boxes))
    best = fitness.argmax(axis=1)
    keypoints = raw[rows, best, :51].reshape(-1, 17, 3)[:, :, [1, 0, 2]].astype(np.float32)
    keypoints[:, :, :2] *= np.array([width, height], np.float32)
    return _blank(keypoints, fitness[rows, best] <= 0, boxes)


def _iou_rows(found: Floats, boxes: Floats) -> Floats:
    """IoU of each row's K boxes (N, K, 4) with that row's own box (N, 4): (N, K)."""
    own = boxes[:, None]
    sides = np.maximum(np.minimum(found[..., 2:], own[..., 2:]) - np.maximum(found[..., :2], own[..., :2]), 0)
    shared = sides[..., 0] * sides[..., 1]
    union = _areas(found) + _areas(own) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _areas(boxes: Floats) -> Floats:
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def _blank(keypoints: Floats, missing: NDArray[np.bool_], boxes: Floats) -> Floats:
    keypoints[missing, :, :2] = ((boxes[missing, :2] + boxes[missing, 2:]) / 2)[:, None]
    keypoints[missing, :, 2] = 0
    return keypoints


DECODERS: dict[str, Decoder] = {
    "movenet_multipose": movenet_multipose,
}
