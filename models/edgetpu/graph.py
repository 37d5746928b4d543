"""What a .tflite file holds, as plain records: tensors, operators in order, their options (read by models.edgetpu.reader)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The operator into which edgetpu_compiler folds what runs on the device.
COMPILED_OP = "edgetpu-custom-op"
_NUMPY = {
    "FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "i1", "UINT8": "u1", "BOOL": "?", "INT16": "<i2",
    "UINT16": "<u2", "INT32": "<i4", "UINT32": "<u4", "INT64": "<i8", "UINT64": "<u8",
}  # fmt: skip
_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "BFLOAT16": 16, "COMPLEX64": 64, "COMPLEX128": 128}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph.

    shape: () for a scalar; dtype: as the schema says, `INT8`; dynamic: a dimension is only known at run time;
    open_batch: only the first is, and is 1 so far, as Keras writes it.
    scales, zero_points: empty where not quantised, one a channel of `axis` where per channel; data: a constant's bytes.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    dynamic: bool = False
    open_batch: bool = False
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: bytes | None = field(default=None, repr=False)
    variable: bool = False

    @property
    def constant(self) -> bool:
        return self.data is not None

    @property
    def quantised(self) -> bool:
        return bool(self.scales)

    @property
    def per_channel(self) -> bool:
        return len(self.scales) > 1

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Elements; a dynamic dimension counts as 1."""
        return math.prod(max(side, 1) for side in self.shape)

    @property
    def size_bytes(self) -> int:
        bits = np.dtype(_NUMPY[self.dtype]).itemsize * 8 if self.dtype in _NUMPY else _BITS.get(self.dtype, 8)
        return (self.size * bits + 7) // 8

    def values(self) -> NDArray[Any] | None:
        """A constant's values in its shape; None where it is no constant, or of a type that NumPy has not."""
        if self.data is None or self.dtype not in _NUMPY or len(self.data) != self.size_bytes:
            return None
        return np.frombuffer(self.data, _NUMPY[self.dtype]).reshape(self.shape)


@dataclass(frozen=True)
class Op:
    """One operator. kind: `CONV_2D`, `CUSTOM`; custom: a custom operator's name; inputs: -1 where left out."""

    index: int
    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: str = ""
    custom_bytes: int = 0

    @property
    def label(self) -> str:
        return self.custom or self.kind


@dataclass(frozen=True)
class Subgraph:
    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def producer(self) -> dict[int, int]:
        """Tensor -> the operator that makes it; graph inputs and constants have none."""
        return {tensor: op.index for op in self.ops for tensor in op.outputs}

    @cached_property
    def consumers(self) -> dict[int, tuple[int, ...]]:
        """Tensor -> the operators that read it."""
        found: dict[int, list[int]] = {}
        for op in self.ops:
            for tensor in dict.fromkeys(op.inputs):
                found.setdefault(tensor, []).append(op.index)
        return {tensor: tuple(ops) for tensor, ops in found.items()}

    def input(self, op: Op, number: int) -> Tensor | None:
        """An operator's input, None where it is left out."""
        if number >= len(op.inputs) or op.inputs[number] < 0:
            return None
        return self.tensors[op.inputs[number]]

    def output(self, op: Op, number: int = 0) -> Tensor:
        return self.tensors[op.outputs[number]]

    def name_of(self, op: Op) -> str:
        """What an operator is called: the name of its first output."""
        return self.output(op).name if op.outputs else ""


@dataclass(frozen=True)
class Model:
    path: Path
    subgraphs: tuple[Subgraph, ...]
    size_bytes: int
    description: str = ""
