"""Buffers of an engine's inputs and outputs, allocated once, pinned on the host."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.manifest import ModelError
from common.runtimes.cuda import Cuda


class Buffer:
    """One tensor's memory on both sides, as large as the engine's profile can ask for."""

    def __init__(self, cuda: Cuda, name: str, dtype: str, size: int) -> None:
        self.name = name
        self._dtype = np.dtype(dtype)
        self._cuda = cuda
        self._host = cuda.host(size)
        self.address = cuda.device(size)
        self.size = size

    def upload(self, values: NDArray[Any]) -> None:
        """Copy into the pinned memory, and queue the copy to the device."""
        part = self._host[: values.nbytes]
        np.copyto(part.view(self._dtype).reshape(values.shape), values)
        self._cuda.upload(part, self.address)

    def download(self, shape: tuple[int, ...]) -> None:
        """Queue the copy to the host of a tensor of that shape."""
        part = self._host[: self._bytes(shape)]
        if part.nbytes:
            self._cuda.download(self.address, part)

    def read(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """What was downloaded, copied: the next inference overwrites the pinned memory."""
        return self._host[: self._bytes(shape)].view(self._dtype).reshape(shape).copy()

    def grow(self, size: int) -> None:
        """Make room. The old memory stays until the engine is closed: sizes double, so that is at most as much again."""
        if size > self.size:
            more = max(size, 2 * self.size)
            address, host = self._cuda.device(more), self._cuda.host(more)  # either may fail: the old ones stay then
            self._host, self.address, self.size = host, address, more

    def _bytes(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * self._dtype.itemsize


def bytes_of(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def make_allocator(trt: Any, buffers: dict[str, Buffer]) -> Any:
    """TensorRT's way to outputs whose size depends on the data, as after non-maximum suppression.

    It asks for memory during the inference and says the shape after it: `shapes[name]`. From TensorRT 10 on there is no other.
    """

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]  # the module is an argument
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.error: Exception | None = None  # TensorRT only learns that there is no memory

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:
            try:
                buffers[name].grow(size)
            except Exception as error:
                self.error = error
                return 0
            return buffers[name].address

        def reallocate_output_async(self, name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            return self.reallocate_output(name, memory, size, alignment)

        def notify_shape(self, name: str, shape: Any) -> None:
            self.shapes[name] = tuple(shape)

    return Allocator()


def known(shape: Any, name: str) -> tuple[int, ...]:
    """A shape without unknown sizes. Raises ModelError."""
    found = tuple(int(size) for size in shape)
    if any(size < 0 for size in found):
        raise ModelError(f"TensorRT does not know the size of {name!r}: {found}")
    return found
