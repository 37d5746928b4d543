"""Coarse heatmaps with a vector in each cell that leads to the keypoint: PoseNet (Papandreou et al., CVPR 2017, ECCV 2018)."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs
from common.skeleton import NUM_KEYPOINTS
from services.pose.decoders.outputs import floats, maps_of, shown


def heatmap_offsets(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """Heatmaps (N, 17, h, w) with scores 0..1 and offsets (N, 34, h, w) in input pixels, 17 times y and then 17 times x.

    The channels may come last, and the two outputs in either order: 17 or 34 channels tell which is which, and where 17 is the
    number of cells too (PoseNet 257 x 257, stride 16), the offsets tell the layout. keypoint = cell *
    stride + offset of that cell, in pixel centres (tfjs-models, posenet/src/single_pose/util.ts). The stride is W / w, or for
    PoseNet's own sizes like 257 = 32 * 8 + 1, whose first and last cells lie on the first and last pixel, (W - 1) / (w - 1).
    """
    return _decode("heatmap_offsets", outputs, size_px, boxes, logits=False)


def heatmap_offsets_logits(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """The same where heatmaps are logits: PoseNet's TFLite files, whose sigmoid is left to the application."""
    return _decode("heatmap_offsets_logits", outputs, size_px, boxes, logits=True)


def _decode(name: str, outputs: Outputs, size_px: tuple[int, int], boxes: Floats, *, logits: bool) -> Floats:
    arrays = floats(outputs, name, 2)
    heat, offsets, last = _pair(list(arrays.values()), len(boxes)) or _refuse(name, len(boxes), outputs)
    maps = maps_of(heat, name, len(boxes), channels_last=last)
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


def _pair(arrays: list[Floats], count: int) -> tuple[Floats, Floats, bool] | None:
    """Heatmaps as they are, offsets (N, 34, h, w), and whether the heatmaps' channels come last; None where they do not fit.

    Both in one layout is tried first, then one each, so 17 x 17 cells are read in the layout of the offsets.
    """
    for heat, offsets in (arrays, arrays[::-1]):
        if heat.ndim != 4 or offsets.ndim != 4:
            return None
        for heat_axis, offsets_axis in ((1, 1), (3, 3), (1, 3), (3, 1)):
            first = np.moveaxis(offsets, offsets_axis, 1)
            rows_columns = np.moveaxis(heat, heat_axis, 1).shape[2:]
            if first.shape == (count, 2 * NUM_KEYPOINTS, *rows_columns) and heat.shape[heat_axis] == NUM_KEYPOINTS:
                return heat, first, heat_axis == 3
    return None


def _stride(side_px: int, cells: int) -> float:
    """Of the two readings the one that is a power of two; an even and an odd side cannot both be."""
    ends = (side_px - 1) / (cells - 1)
    return ends if np.log2(ends).is_integer() and side_px % 2 else side_px / cells


def _refuse(name: str, count: int, outputs: Outputs) -> NoReturn:
    raise ModelError(
        f"decoder {name!r} expects heatmaps ({count}, 17, h, w) and offsets ({count}, 34, h, w), or both with channels last, h "
        f"and w at least 3, got {shown(outputs)}"
    )
