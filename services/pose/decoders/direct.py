"""Networks that give keypoints, not maps: MoveNet, and those whose decoding was put into the graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs
from common.skeleton import NUM_KEYPOINTS
from services.pose.decoders.outputs import only

MIN_IOU = 0.05  # an instance that overlaps the target's box less than this is somebody else
MIN_SCORE = 0.01  # MoveNet fills its six rows; what is below this is noise


def keypoints(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """Decoded in the graph (`models/convert`): (N, 17, 3) = x, y in continuous crop pixels and a score 0..1, taken as it is."""
    raw = only(outputs, "keypoints")
    if raw.shape != (len(boxes), NUM_KEYPOINTS, 3):
        raise ModelError(f"decoder 'keypoints' expects an output ({len(boxes)}, 17, 3), got {raw.shape}")
    found = raw.copy()  # the caller writes to it
    np.maximum(found[..., 2], 0, out=found[..., 2])
    return found


def movenet_singlepose(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """MoveNet SinglePose, Lightning or Thunder: (N, 1, 17, 3), or (N, 17, 3), = y, x, score, all 0..1 of the crop.

    x = 0 is the crop's left edge and 1 its right edge (tfhub.dev/google/movenet/singlepose/lightning).
    """
    raw = only(outputs, "movenet_singlepose")
    if raw.shape not in ((len(boxes), 1, NUM_KEYPOINTS, 3), (len(boxes), NUM_KEYPOINTS, 3)):
        raise ModelError(f"decoder 'movenet_singlepose' expects an output ({len(boxes)}, 1, 17, 3), got {raw.shape}")
    found = raw.reshape(-1, NUM_KEYPOINTS, 3)[:, :, [1, 0, 2]]  # indexing copies
    found[:, :, :2] *= np.array(size_px, np.float32)
    np.maximum(found[..., 2], 0, out=found[..., 2])
    return found


def movenet_multipose(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """MoveNet MultiPose on crops: (N, K, 56), of each crop's K instances the one that is most likely the target.

    That is the best overlap with the box x square root of the score (mean OKS on coco-mini: 0.60; with the score itself 0.59,
    with the first instance 0.53). Where no instance is the target, all 17 keypoints lie at the box's centre with score 0.
    """
    raw = only(outputs, "movenet_multipose")
    if raw.ndim != 3 or raw.shape[0] != len(boxes) or raw.shape[1] < 1 or raw.shape[2] != 56:
        raise ModelError(f"decoder 'movenet_multipose' expects an output ({len(boxes)}, K, 56), got {raw.shape}")
    width, height = size_px
    found = raw[:, :, [52, 51, 54, 53]] * np.array([width, height, width, height], np.float32)  # (N, K, 4)
    overlap, score = _iou_rows(found, boxes), raw[:, :, 55]
    fitness = np.where((overlap >= MIN_IOU) & (score >= MIN_SCORE), np.sqrt(np.maximum(score, 0)) * overlap, 0)
    rows = np.arange(len(boxes))
    best = fitness.argmax(axis=1)
    keypoints = raw[rows, best, :51].reshape(-1, 17, 3)[:, :, [1, 0, 2]]  # indexing copies: the output stays as it is
    keypoints[:, :, :2] *= np.array([width, height], np.float32)
    return _blank(keypoints, fitness[rows, best] <= 0, boxes)


def _iou_rows(found: Floats, boxes: Floats) -> Floats:
    """IoU of each row's K boxes (N, K, 4) with that row's own box (N, 4): (N, K)."""
    own = boxes[:, None]
    sides = np.maximum(np.minimum(found[..., 2:], own[..., 2:]) - np.maximum(found[..., :2], own[..., :2]), 0)
    shared = sides[..., 0] * sides[..., 1]
    union = _areas(found) + _areas(own) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _areas(boxes: Floats) -> Floats:
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def _blank(keypoints: Floats, missing: NDArray[np.bool_], boxes: Floats) -> Floats:
    keypoints[missing, :, :2] = ((boxes[missing, :2] + boxes[missing, 2:]) / 2)[:, None]
    keypoints[missing, :, 2] = 0
    return keypoints
