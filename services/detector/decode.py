"""Raw outputs of a detection network -> boxes and scores, one function a network family.

Each takes the outputs for one picture and the network's input size (width, height), and returns boxes (M, 4) float32 xyxy in
input pixels and scores (M,) float32, unsorted, unfiltered. They raise ModelError for outputs of another shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs

Decoded = tuple[Floats, Floats]
Decoder = Callable[[Outputs, tuple[int, int]], Decoded]


def movenet_multipose(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """MoveNet MultiPose: (1, K, 56) = 17 x (y, x, score), then box ymin, xmin, ymax, xmax (all 0..1) and its score.

    The network's own box, not the extent of its keypoints: on coco-mini AP50 of large people is 0.88 against 0.75.
    """
    (raw,) = _expect(outputs, "movenet_multipose", (1, None, 56))
    width, height = size_px
    boxes = raw[0][:, [52, 51, 54, 53]] * np.array([width, height, width, height], np.float32)
    return boxes, raw[0][:, 55]


def dets_labels(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """MMDetection's export (RTMDet): `dets` (1, M, 5) = xyxy in input pixels and score, `labels` (1, M), 0 for a person."""
    dets, labels = _expect(outputs, "dets_labels", (1, None, 5), (1, None))
    people = dets[0][labels[0] == 0]
    return people[:, :4], people[:, 4]


def boxes_scores(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """PaddleDetection's export (PicoDet): boxes (1, M, 4) xyxy in input pixels, scores (1, 1, M), nothing suppressed."""
    boxes, scores = _expect(outputs, "boxes_scores", (1, None, 4), (1, 1, None))
    if boxes.shape[1] != scores.shape[2]:
        raise ModelError(f"decoder 'boxes_scores' got {boxes.shape[1]} boxes and {scores.shape[2]} scores")
    return boxes[0], scores[0, 0]


def _expect(outputs: Outputs, decoder: str, *shapes: tuple[int | None, ...]) -> list[NDArray[np.float32]]:
    """The outputs, in the network's order, as float32; raises ModelError unless they have these shapes."""
    arrays = list(outputs.values())
    fits = len(arrays) == len(shapes) and all(
        len(array.shape) == len(shape) and all(b is None or a == b for a, b in zip(array.shape, shape, strict=True))
        for array, shape in zip(arrays, shapes, strict=True)
    )
    if not fits:
        got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items()) or "none"
        raise ModelError(f"decoder {decoder!r} expects outputs of shapes {shapes} (None: any), the network gave {got}")
    return [np.asarray(array, np.float32) for array in arrays]


DECODERS: dict[str, Decoder] = {
    "movenet_multipose": movenet_multipose,
    "dets_labels": dets_labels,
    "boxes_scores": boxes_scores,
}
