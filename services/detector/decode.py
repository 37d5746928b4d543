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
    """MoveNet MultiPose: (1, K, 56) = 17 x (y, x, score), then box ymin, xmin, ymax, xmax (all 0..1) and its score."""
    (raw,) = _expect(outputs, 1, "(1, K, 56)")
    if raw.ndim != 3 or raw.shape[0] != 1 or raw.shape[2] != 56:
        raise ModelError(f"decoder 'movenet_multipose' expects an output (1, K, 56), got {raw.shape}")
    width, height = size_px
    boxes = raw[0][:, [52, 51, 54, 53]] * np.array([width, height, width, height], np.float32)
    return boxes, raw[0][:, 55]


def _expect(outputs: Outputs, count: int, what: str) -> list[NDArray[np.float32]]:
    if len(outputs) != count:
        names = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
        raise ModelError(f"the decoder expects {count} output(s) {what}, the network gave {names}")
    return [np.asarray(array, np.float32) for array in outputs.values()]


DECODERS: dict[str, Decoder] = {
    "movenet_multipose": movenet_multipose,
}
