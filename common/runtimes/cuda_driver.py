"""CUDA by cuda-python: its driver API, where every call answers (result, *values)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.runtimes.cuda import cuda_error

_NAME_BYTES = 128


class DriverCuda:
    """`Cuda` by cuda-python's driver module, which is handed in."""

    def __init__(self, index: int, driver: Any) -> None:
        self._driver = driver
        self._call("cuInit", 0)
        count = self._call("cuDeviceGetCount")
        if index >= count:
            raise cuda_error(f"GPU {index}", f"INVALID_DEVICE, there are {count}")
        self._handle = self._call("cuDeviceGet", index)
        self.name: str = self._call("cuDeviceGetName", _NAME_BYTES, self._handle).split(b"\0")[0].decode()
        kinds = driver.CUdevice_attribute
        self.capability = (
            int(self._call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self._handle)),
            int(self._call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self._handle)),
        )
        self._device: list[Any] = []
        self._host: list[int] = []
        self._stream: Any = None
        self._context: Any = self._call("cuDevicePrimaryCtxRetain", self._handle)
        self._open = True
        try:
            with self.active():
                self._stream = self._call("cuStreamCreate", 0)
        except Exception:
            self._call("cuDevicePrimaryCtxRelease", self._handle)
            raise
        self.stream = int(self._stream)

    @contextmanager
    def active(self) -> Iterator[None]:
        self._call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent")
            if not self._open and self._context is not None:
                self._context = None
                self._call("cuDevicePrimaryCtxRelease", self._handle)

    def host(self, size: int) -> NDArray[np.uint8]:
        address = int(self._call("cuMemAllocHost", size))
        self._host.append(address)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def device(self, size: int) -> int:
        buffer = self._call("cuMemAlloc", size)
        self._device.append(buffer)
        return int(buffer)

    def upload(self, source: NDArray[np.uint8], address: int) -> None:
        self._call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, self._stream)

    def download(self, address: int, target: NDArray[np.uint8]) -> None:
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, self._stream)

    def synchronize(self) -> None:
        self._call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        for buffer in self._device:
            self._call("cuMemFree", buffer)
        for address in self._host:
            self._call("cuMemFreeHost", address)
        self._call("cuStreamDestroy", self._stream)
        self._device, self._host = [], []

    def _call(self, function: str, *arguments: Any) -> Any:
        """Its value, or None. Raises CudaError."""
        try:
            result, *values = getattr(self._driver, function)(*arguments)
        except RuntimeError as error:  # the package is here, the driver's library is not
            raise cuda_error(function, f"{type(error).__name__}: {error}") from error
        if int(result) != 0:
            text = self._driver.cuGetErrorString(result)[1]
            raise cuda_error(function, f"{result.name} ({text.decode() if text else 'no text'})")
        return values[0] if values else None
