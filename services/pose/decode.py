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
MIN_SCORE = 0.01  # MoveNet fills its six rows; what is below this is noise


def movenet_multipose(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """MoveNet MultiPose on crops: (N, K, 56), of each crop's K instances the one that is most likely the target.

    That is the best overlap with the box x square root of the score (mean OKS on coco-mini: 0.60; with the score itself 0.59,
    with the first instance 0.53). Where no instance is the target, all 17 keypoints lie at the box's centre with score 0.
    """
    raw = _only(outputs, "movenet_multipose")
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


def heatmaps(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """One heat map per keypoint (PP-TinyPose): (N, 17, h, w), the maximum refined to parts of a cell by DARK.

    DARK (Zhang et al., CVPR 2020) fits a Gaussian to the logarithm of the 3 x 3 cells about the maximum; without its blur,
    which brings 0.0005 OKS on coco-mini. Cell i lies at stride * i + 0.5 crop pixels, measured there too.
    """
    maps = _only(outputs, "heatmaps")
    if maps.ndim != 4 or maps.shape[:2] != (len(boxes), 17) or min(maps.shape[2:]) < 3:
        raise ModelError(f"decoder 'heatmaps' expects an output ({len(boxes)}, 17, h, w), got {maps.shape}")
    count, _, rows, columns = maps.shape
    flat = maps.reshape(count, 17, -1)
    best = flat.argmax(axis=2)  # (N, 17)
    y, x = np.divmod(best, columns)
    step_x, step_y = _refine(maps, x, y)
    keypoints = np.empty((count, 17, 3), np.float32)
    keypoints[:, :, 0] = (x + step_x) * (size_px[0] / columns) + 0.5
    keypoints[:, :, 1] = (y + step_y) * (size_px[1] / rows) + 0.5
    keypoints[:, :, 2] = np.take_along_axis(flat, best[:, :, None], axis=2)[:, :, 0]
    return keypoints


def _refine(maps: Floats, x: NDArray[np.intp], y: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Newton's step from each maximum to the top of its Gaussian, (N, 17) each in x and y, at most one cell long.

    Maxima on the border and flat ones stay where they are.
    """
    count, kinds, rows, columns = maps.shape
    n, k = np.ogrid[:count, :kinds]
    inside = (x > 0) & (x < columns - 1) & (y > 0) & (y < rows - 1)
    cx, cy = np.clip(x, 1, columns - 2), np.clip(y, 1, rows - 2)
    around = np.arange(-1, 2)
    beside, below = (cx[..., None] + around)[..., None, :], (cy[..., None] + around)[..., None]
    patch = maps[n[..., None, None], k[..., None, None], below, beside]
    log = np.log(np.maximum(patch, 1e-10))  # (N, 17, 3, 3)
    dx, dy = (log[..., 1, 2] - log[..., 1, 0]) / 2, (log[..., 2, 1] - log[..., 0, 1]) / 2
    dxx = log[..., 1, 2] - 2 * log[..., 1, 1] + log[..., 1, 0]
    dyy = log[..., 2, 1] - 2 * log[..., 1, 1] + log[..., 0, 1]
    dxy = (log[..., 2, 2] - log[..., 2, 0] - log[..., 0, 2] + log[..., 0, 0]) / 4
    determinant = dxx * dyy - dxy * dxy
    peaked = inside & (determinant > 1e-6)
    safe = np.where(peaked, determinant, 1.0)
    step_x = np.where(peaked, (dxy * dy - dyy * dx) / safe, 0)
    step_y = np.where(peaked, (dxy * dx - dxx * dy) / safe, 0)
    return np.clip(step_x, -1, 1), np.clip(step_y, -1, 1)


def _only(outputs: Outputs, decoder: str) -> Floats:
    """The first output with floats; PP-TinyPose also gives the integer positions of its maxima."""
    floats = [array for array in outputs.values() if np.issubdtype(array.dtype, np.floating)]
    if len(floats) != 1:
        got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items()) or "none"
        raise ModelError(f"decoder {decoder!r} expects one output of floats, the network gave {got}")
    return np.asarray(floats[0], np.float32)


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


DECODERS: dict[str, Decoder] = {
    "movenet_multipose": movenet_multipose,
    "heatmaps": heatmaps,
}
