"""Coarse heatmaps with a vector in each cell that leads to the keypoint: PoseNet (Papandreou et al., CVPR 2017, ECCV 2018)."""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs
from common.skeleton import NUM_KEYPOINTS
from services.pose.decoders.outputs import floats, maps_of, shown


def heatmap_offsets(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """Heatmaps (N, 17, h, w) with scores 0..1 and offsets (N, 34, h, w) in input pixels, 17 times y and then 17 times x.

    The channels may come last, and the two outputs in either order: 17 or 34 channels tell which is which. keypoint = cell *
    stride + offset of that cell, in pixel centres (tfjs-models, posenet/src/single_pose/util.ts). The stride is W / w, or for
    PoseNet's own sizes like 257 = 32 * 8 + 1, whose first and last cells lie on the first and last pixel, (W - 1) / (w - 1).
    """
    return _decode("heatmap_offsets", outputs, size_px, boxes, logits=False)


def heatmap_offsets_logits(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """The same where heatmaps are logits: PoseNet's TFLite files, whose sigmoid is left to the application."""
    return _decode("heatmap_offsets_logits", outputs, size_px, boxes, logits=True)


def _decode(name: str, outputs: Outputs, size_px: tuple[int, int], boxes: Floats, *, logits: bool) -> Floats:
    arrays = floats(outputs, name, 2)
    heat, offsets = sorted(arrays.values(), key=_is_offsets)
    maps = maps_of(heat, name, len(boxes))
    if not _is_offsets(offsets):
        raise _refused(name, maps.rows, maps.columns, len(boxes), outputs)
    if offsets.shape[1] != 2 * NUM_KEYPOINTS:
        offsets = np.moveaxis(offsets, 3, 1)
    if offsets.shape != (len(boxes), 2 * NUM_KEYPOINTS, maps.rows, maps.columns):
        raise _refused(name, maps.rows, maps.columns, len(boxes), outputs)
    cell = maps.cells.argmax(axis=1)
    score = maps.at(cell[None])[0]
    if logits:
        with np.errstate(over="ignore"):
            score = 1 / (1 + np.exp(-score))
    found = maps.by_person(np.stack([*np.divmod(cell, maps.columns), np.maximum(score, 0)], axis=1))  # (N, 17, 3): y, x, score
    y, x = found[..., 0].astype(np.intp), found[..., 1].astype(np.intp)
    person, joint = np.ogrid[: len(boxes), :NUM_KEYPOINTS]
    keypoints = np.empty((len(boxes), NUM_KEYPOINTS, 3), np.float32)
    half = np.float32(0.5)
    keypoints[..., 0] = x * _stride(size_px[0], maps.columns) + offsets[person, joint + NUM_KEYPOINTS, y, x] + half
    keypoints[..., 1] = y * _stride(size_px[1], maps.rows) + offsets[person, joint, y, x] + half
    keypoints[..., 2] = found[..., 2]
    return keypoints


def _is_offsets(array: Floats) -> bool:
    return array.ndim == 4 and 2 * NUM_KEYPOINTS in (array.shape[1], array.shape[3]) and array.shape[1] != NUM_KEYPOINTS


def _stride(side_px: int, cells: int) -> float:
    """Of the two readings the one that is a power of two; an even and an odd side cannot both be."""
    ends = (side_px - 1) / (cells - 1)
    return ends if np.log2(ends).is_integer() and side_px % 2 else side_px / cells


def _refused(name: str, rows: int, columns: int, count: int, outputs: Outputs) -> ModelError:
    return ModelError(
        f"decoder {name!r} expects offsets ({count}, 34, {rows}, {columns}) beside heatmaps ({count}, 17, {rows}, {columns}), "
        f"got {shown(outputs)}"
    )
