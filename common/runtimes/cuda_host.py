"""CUDA played by the host's memory, for tests: real copies, later than they are asked for, and strict about contexts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from common.runtimes.cuda import CudaError, cuda_error


class HostCuda:
    """`Cuda` without a GPU. What is queued happens in `synchronize`, so that one who forgets it reads old bytes.

    Raises CudaError for calls outside `active()`, addresses that are not its own, and more than `memory` bytes.
    """

    def __init__(self, *, name: str = "Host GPU", capability: tuple[int, int] = (8, 7), memory: int = 1 << 30) -> None:
        self.name = name
        self.capability = capability
        self.stream = 1
        self.lost: str | None = None  # a CUDA error's name: everything fails with it from now on
        self.calls: list[str] = []  # every allocation, push and pop
        self._memory = memory
        self._buffers: dict[int, NDArray[np.uint8]] = {}
        self._queue: list[Callable[[], None]] = []
        self._pushed = threading.local()
        self._open = True

    @contextmanager
    def active(self) -> Iterator[None]:
        depth = getattr(self._pushed, "depth", 0)
        self._pushed.depth = depth + 1
        self.calls.append("push")
        try:
            yield
        finally:
            self._pushed.depth = depth
            self.calls.append("pop")

    def host(self, size: int) -> NDArray[np.uint8]:
        self._check("pinned memory")
        self.calls.append(f"host {size}")
        return np.zeros(size, np.uint8)

    def device(self, size: int) -> int:
        self._check("memory")
        if sum(buffer.nbytes for buffer in self._buffers.values()) + size > self._memory:
            raise cuda_error(f"{size} bytes on the GPU", "CUDA_ERROR_OUT_OF_MEMORY")
        self.calls.append(f"device {size}")
        buffer = np.full(size, 0xA5, np.uint8)  # as on a GPU, nothing useful is there yet
        self._buffers[buffer.ctypes.data] = buffer
        return buffer.ctypes.data

    def upload(self, source: NDArray[np.uint8], address: int) -> None:
        self._check("copy")
        target = self.view(address, source.nbytes)
        self._queue.append(lambda: np.copyto(target, source.reshape(-1)))

    def download(self, address: int, target: NDArray[np.uint8]) -> None:
        self._check("copy")
        source = self.view(address, target.nbytes)
        self._queue.append(lambda: np.copyto(target, source))

    def enqueue(self, work: Callable[[], None]) -> None:
        """Queue a kernel, so to speak."""
        self._check("launch")
        self._queue.append(work)

    def synchronize(self) -> None:
        self._check("inference on the GPU")
        queue, self._queue = self._queue, []
        for work in queue:
            work()

    def close(self) -> None:
        if self._open:
            self._check("close", lost_is_fine=True)
            self._open = False
            self._buffers.clear()
            self.calls.append("close")

    @property
    def is_open(self) -> bool:
        return self._open

    def view(self, address: int, size: int) -> NDArray[np.uint8]:
        """The bytes at an address of this device."""
        for start, buffer in self._buffers.items():
            if start <= address and address + size <= start + buffer.nbytes:
                return buffer[address - start : address - start + size]
        raise CudaError(f"ILLEGAL_ADDRESS: {size} bytes at {address} are not in a buffer of the device")

    def _check(self, call: str, *, lost_is_fine: bool = False) -> None:
        if not getattr(self._pushed, "depth", 0):
            raise CudaError(f"{call}: CUDA_ERROR_INVALID_CONTEXT: no context on thread {threading.current_thread().name}")
        if not self._open:
            raise CudaError(f"{call}: the device was closed")
        if self.lost and not lost_is_fine:
            raise cuda_error(call, self.lost)
