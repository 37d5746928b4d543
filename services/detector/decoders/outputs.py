"""What decoders share: the form of their answer, and checks of what they are given."""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs

Decoded = tuple[Floats, Floats]
Shape = tuple[int | None, ...]


def expect(outputs: Outputs, decoder: str, *shapes: Shape) -> list[Floats]:
    """The outputs, in the network's order, as float32; raises ModelError unless they have these shapes (None: any)."""
    arrays = list(outputs.values())
    if len(arrays) != len(shapes) or not all(map(fits, arrays, shapes)):
        raise refused(outputs, decoder, f"outputs of shapes {', '.join(map(text, shapes))}")
    return [np.asarray(array, np.float32) for array in arrays]


def fits(array: Floats, shape: Shape) -> bool:
    return array.ndim == len(shape) and all(b is None or a == b for a, b in zip(array.shape, shape, strict=True))


def refused(outputs: Outputs, decoder: str, wanted: str) -> ModelError:
    """The error for outputs that are not `wanted`."""
    got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items()) or "none"
    return ModelError(f"decoder {decoder!r} expects {wanted}, the network gave {got}")


def text(shape: Shape) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"
