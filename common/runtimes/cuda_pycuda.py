"""CUDA by pycuda."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.runtimes.cuda import cuda_error


@functools.cache
def _primary_context(driver: Any, index: int) -> Any:
    """The device's primary context, retained once a process and kept to its end.

    pycuda's `detach` is no way back: it does nothing on another thread than the one that retained, and leaves the context
    current on that one.
    """
    context = driver.Device(index).retain_primary_context()
    atexit.register(context.detach)  # left to its destructor, pycuda detaches it the wrong way and complains
    return context


class PycudaCuda:
    """`Cuda` by pycuda's driver module, which is handed in. Its own errors become CudaError, the cause kept.

    pycuda frees memory only on a thread where the context is current, so nothing is left to its garbage collection.
    """

    def __init__(self, index: int, driver: Any) -> None:
        self._driver = driver
        with self._errors(f"GPU {index}"):
            driver.init()
            count = driver.Device.count()
            if index >= count:
                raise cuda_error(f"GPU {index}", f"INVALID_DEVICE, there are {count}")
            device = driver.Device(index)
            self.name: str = device.name()
            major, minor = device.compute_capability()
            self.capability = (int(major), int(minor))
            self._context: Any = _primary_context(driver, index)
        self._device: list[Any] = []
        self._host: list[NDArray[np.uint8]] = []
        with self.active():
            self._stream: Any = driver.Stream()
        self.stream = int(self._stream.handle)

    @contextmanager
    def active(self) -> Iterator[None]:
        with self._errors("the GPU's context"):
            self._context.push()
        try:
            with self._errors("the GPU"):
                yield
        finally:
            self._driver.Context.pop()

    def host(self, size: int) -> NDArray[np.uint8]:
        with self._errors(f"{size} bytes of pinned memory"):
            buffer: NDArray[np.uint8] = self._driver.pagelocked_empty(size, np.uint8)
        self._host.append(buffer)
        return buffer

    def device(self, size: int) -> int:
        with self._errors(f"{size} bytes on the GPU"):
            buffer = self._driver.mem_alloc(size)
        self._device.append(buffer)
        return int(buffer)

    def upload(self, source: NDArray[np.uint8], address: int) -> None:
        with self._errors("copy to the GPU"):
            self._driver.memcpy_htod_async(address, source, self._stream)

    def download(self, address: int, target: NDArray[np.uint8]) -> None:
        with self._errors("copy from the GPU"):
            self._driver.memcpy_dtoh_async(target, address, self._stream)

    def synchronize(self) -> None:
        with self._errors("inference on the GPU"):
            self._stream.synchronize()

    def close(self) -> None:
        if self._stream is None:
            return
        with self._errors("freeing the GPU's memory"):
            for buffer in self._device:
                buffer.free()
            for array in self._host:
                array.base.free()  # type: ignore[union-attr]  # pycuda's allocation, which the array looks at
        self._device, self._host, self._stream = [], [], None

    @contextmanager
    def _errors(self, call: str) -> Iterator[None]:
        driver = self._driver
        try:
            yield
        except driver.Error as error:
            raise cuda_error(call, error) from error
        except driver.MemoryError as error:
            raise cuda_error(call, error) from error
