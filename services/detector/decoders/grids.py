"""Anchor-free networks: each cell of a few grids says how far it is to the four sides of a box, or to its centre.

Of all classes only the first, people, is read. Boxes are in continuous input pixels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from common.geometry import Floats
from common.runtimes.base import Outputs
from services.detector.decoders.outputs import Decoded, expect, fits, refused

COCO_CLASSES = 80
Strides = tuple[int, ...]
YOLOX_STRIDES: tuple[Strides, ...] = ((8, 16, 32), (8, 16, 32, 64))  # all but, and YOLOX-P6


def yolox(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """YOLOX as its `export_onnx.py` writes it: (1, M, 5 + classes) = centre x, y, width, height, objectness, class scores.

    x and y are in cells from the cell's top left corner, width and height logarithms of cells; the scores are 0..1 already
    (Megvii-BaseDetection/YOLOX, yolox/models/yolo_head.py, `decode_outputs`). The grids, strides 8, 16 and 32, come one after
    the other, row by row. A person's score is objectness x the first class.
    """
    raw, corners, stride = _yolox_rows(outputs, "yolox", size_px)
    centres = corners + raw[:, :2] * stride
    with np.errstate(over="ignore"):  # becomes infinite, which the detector refuses
        sizes = np.exp(raw[:, 2:4]) * stride
    return _centred(centres, sizes), raw[:, 4] * raw[:, 5]


def yolox_decoded(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """YOLOX exported with `--decode_in_inference`: the same rows, centre and size in input pixels."""
    raw, _, _ = _yolox_rows(outputs, "yolox_decoded", size_px)
    return _centred(raw[:, :2], raw[:, 2:4]), raw[:, 4] * raw[:, 5]


def nanodet(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """NanoDet and NanoDet-Plus: (1, M, classes + 4 * (reg_max + 1)), 80 classes or 1; class scores 0..1, then for left, top,
    right and bottom the logits of a distribution over 0..reg_max cells (generalised focal loss, Li et al., NeurIPS 2020).

    The distance is the distribution's mean. NanoDet-Plus has strides 8..64 and measures from the cell's top left corner,
    NanoDet strides 8..32 from its centre (RangiLyu/nanodet, nanodet_plus_head.py and gfl_head.py): the number of rows tells.
    """
    (rows,) = expect(outputs, "nanodet", (1, None, None))
    raw = rows[0]
    classes = 1 if raw.shape[1] % 4 == 1 else COCO_CLASSES
    if (raw.shape[1] - classes) % 4 or raw.shape[1] < classes + 8:
        raise refused(outputs, "nanodet", "80 or 1 class scores and 4 x (reg_max + 1) logits in each row")
    for strides, offset in (((8, 16, 32, 64), 0.0), ((8, 16, 32), 0.5)):
        points, stride = grid(size_px, strides, offset)
        if len(stride) == len(raw):
            return _sides(points, expectation(raw[:, classes:]) * stride), raw[:, 0]
    raise refused(outputs, "nanodet", f"one row for each cell of {size_px[0]}x{size_px[1]} pixels")


def picodet(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """PicoDet exported without its post-processing: for strides 8, 16, 32, 64 class scores (1, M, classes), 0..1, and
    distributions (1, M, 4 * (reg_max + 1)) as NanoDet's, measured from the cell's centre.

    Outputs are paired by their number of rows; of two, the one with 80 or 1 channels is the classes, else the first
    (PaddlePaddle/PaddleDetection, ppdet/modeling/heads/pico_head.py and its deploy demos).
    """
    strides = (8, 16, 32, 64)
    arrays = [np.asarray(array, np.float32) for array in outputs.values()]
    boxes, scores = [], []
    for stride in strides:
        points, scale = grid(size_px, (stride,), 0.5)
        level = sorted((a for a in arrays if fits(a, (1, len(scale), None))), key=lambda a: a.shape[2] not in (1, COCO_CLASSES))
        if len(arrays) != 2 * len(strides) or len(level) != 2 or level[1].shape[2] % 4 or level[1].shape[2] < 8:
            raise refused(outputs, "picodet", f"classes and distributions (1, {len(scale)}, any) for stride {stride}")
        boxes.append(_sides(points, expectation(level[1][0]) * scale))
        scores.append(level[0][0, :, 0])
    return np.concatenate(boxes), np.concatenate(scores)


def rtmdet(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """RTMDet's raw heads: for strides 8, 16, 32 class logits (1, classes, h, w) and distances (1, 4, h, w) in input pixels,
    from the cell's top left corner; channels may come last, in all six. Outputs are paired by h and w; of two, the one with 4
    channels is the distances, else the second (open-mmlab/mmdetection, rtmdet_head.py, whose priors have offset 0).

    A single output may fit both layouts (80 classes on a grid of 80 cells), all six never do: distances would need grids of 4
    rows, or of 4 columns, for all three strides.
    """
    strides = (8, 16, 32)
    sizes = [(-(-size_px[1] // stride), -(-size_px[0] // stride)) for stride in strides]
    levels = _levels(outputs, sizes, last=False) or _levels(outputs, sizes, last=True)
    if levels is None:
        wanted = ", ".join(f"(1, any, {h}, {w}) and distances (1, 4, {h}, {w})" for h, w in sizes)
        raise refused(outputs, "rtmdet", f"for strides 8, 16, 32 classes {wanted}, or all with channels last,")
    boxes, scores = [], []
    for stride, (logits, distances) in zip(strides, levels, strict=True):
        points, _ = grid(size_px, (stride,), 0.0)
        with np.errstate(over="ignore"):
            scores.append(1 / (1 + np.exp(-logits[:, 0])))
        boxes.append(_sides(points, distances))
    return np.concatenate(boxes), np.concatenate(scores)


@lru_cache(maxsize=64)
def grid(size_px: tuple[int, int], strides: Strides, offset: float) -> tuple[Floats, Floats]:
    """Points (M, 2) of all cells, row by row, one stride after the other, in input pixels, and each one's stride (M, 1).

    offset: of the point in its cell, 0 for the top left corner, 0.5 for the centre. Not to be written to.
    """
    levels = []
    for s in strides:
        cells = np.meshgrid(np.arange(-(-size_px[0] // s)), np.arange(-(-size_px[1] // s)))  # rounded up
        levels.append((np.stack(cells, axis=-1).reshape(-1, 2) + offset) * s)
    points = np.concatenate(levels).astype(np.float32)
    stride = np.repeat(np.array(strides, np.float32), [len(level) for level in levels])[:, None]
    points.setflags(write=False)
    stride.setflags(write=False)
    return points, stride


def expectation(logits: Floats) -> Floats:
    """(M, 4 * bins) logits -> (M, 4) means of the four distributions over 0..bins - 1."""
    values = logits.reshape(len(logits), 4, -1)
    weights = np.exp(values - values.max(axis=2, keepdims=True))
    return np.asarray(weights @ np.arange(values.shape[2], dtype=np.float32) / weights.sum(axis=2), np.float32)


def _yolox_rows(outputs: Outputs, decoder: str, size_px: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
    """The rows (M, 5 + classes), their cells' corners in pixels (M, 2) and strides (M, 1)."""
    (raw,) = expect(outputs, decoder, (1, None, None))
    grids = [grid(size_px, strides, 0.0) for strides in YOLOX_STRIDES]
    for corners, stride in grids:
        if raw.shape[1] == len(stride) and raw.shape[2] >= 6:
            return raw[0], corners, stride
    rows = " or ".join(str(len(stride)) for _, stride in grids)
    raise refused(outputs, decoder, f"{rows} rows of 5 numbers and class scores for {size_px[0]}x{size_px[1]} pixels")


def _levels(outputs: Outputs, sizes: list[tuple[int, int]], *, last: bool) -> list[tuple[Floats, Floats]] | None:
    """Classes (M, any) and distances (M, 4) of each grid (rows, columns), channels last or first; None where they don't fit."""
    found = []
    for rows, columns in sizes:
        shape = (1, rows, columns, None) if last else (1, None, rows, columns)
        level = [np.asarray(output, np.float32) for output in outputs.values() if fits(output, shape)]
        planes = [array[0].reshape(rows * columns, -1) if last else array[0].reshape(-1, rows * columns).T for array in level]
        planes.sort(key=lambda plane: plane.shape[1] == 4)
        if len(planes) != 2 or planes[1].shape[1] != 4:
            return None
        found.append((planes[0], planes[1]))
    return found if len(outputs) == 2 * len(sizes) else None


def _centred(centres: Floats, sizes: Floats) -> Floats:
    half = sizes * np.float32(0.5)
    return np.concatenate([centres - half, centres + half], axis=1)


def _sides(points: Floats, distances: Floats) -> Floats:
    return np.concatenate([points - distances[:, :2], points + distances[:, 2:]], axis=1)
