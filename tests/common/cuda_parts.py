"""CUDA's two Python bindings, played by the host's memory (`HostCuda`): misuse fails as it does on a GPU."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np

from common.runtimes.cuda_host import HostCuda


class PycudaError(Exception):
    pass


class PycudaMemoryError(Exception):
    pass


class _Module(SimpleNamespace):
    """A module is hashable."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def fake_pycuda(gpu: HostCuda, *, count: int = 1, refuse: str = "") -> Any:
    """pycuda.driver over a HostCuda. refuse: what init() fails with."""
    state = SimpleNamespace(retained=0, stack=[])

    class PrimaryContext:
        def detach(self) -> None:
            """At the end of the process."""

        def push(self) -> None:
            manager = gpu.active()
            manager.__enter__()
            state.stack.append(manager)

    def pop() -> None:
        state.stack.pop().__exit__(None, None, None)

    def init() -> None:
        if refuse:
            raise PycudaError(refuse)

    def retain() -> PrimaryContext:
        state.retained += 1
        return PrimaryContext()

    def mem_alloc(size: int) -> Any:
        try:
            return _Allocation(gpu.device(size))
        except Exception as error:
            raise PycudaMemoryError("cuMemAlloc failed: out of memory") from error

    def pagelocked_empty(size: int, dtype: Any) -> Any:
        return _Pinned(gpu.host(size)).array

    def device(index: int) -> Any:
        return SimpleNamespace(name=lambda: gpu.name, compute_capability=lambda: gpu.capability, retain_primary_context=retain)

    device.count = lambda: count  # type: ignore[attr-defined]
    return _Module(
        Error=PycudaError, MemoryError=PycudaMemoryError, init=init, Device=device, Context=SimpleNamespace(pop=pop),
        Stream=lambda: SimpleNamespace(handle=gpu.stream, synchronize=gpu.synchronize), mem_alloc=mem_alloc,
        pagelocked_empty=pagelocked_empty, state=state,
        memcpy_htod_async=lambda address, source, stream: gpu.upload(source, address),
        memcpy_dtoh_async=lambda target, address, stream: gpu.download(address, target),
    )  # fmt: skip


class _Allocation:
    def __init__(self, address: int) -> None:
        self._address = address
        self.freed = False

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        assert not self.freed
        self.freed = True


class _Pinned:
    """An allocation that an array looks at, as pycuda's: array.base.free()."""

    def __init__(self, memory: np.ndarray) -> None:
        self._memory = memory
        self.freed = False
        self.__array_interface__ = memory.__array_interface__

    @property
    def array(self) -> np.ndarray:
        return np.asarray(self)

    def free(self) -> None:
        assert not self.freed
        self.freed = True


class Result(int):
    """A CUresult."""

    @property
    def name(self) -> str:
        return {0: "CUDA_SUCCESS", 2: "CUDA_ERROR_OUT_OF_MEMORY", 100: "CUDA_ERROR_NO_DEVICE", 719: "CUDA_ERROR_LAUNCH_FAILED",
                803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}[self]  # fmt: skip


def fake_cuda_python(gpu: HostCuda, *, count: int = 1, refuse: int = 0) -> Any:
    """cuda.bindings.driver over a HostCuda. refuse: the result of cuInit."""
    done = Result(0)
    state = SimpleNamespace(retained=0, stack=[], pinned={}, freed=[])

    def push(context: Any) -> tuple[Any, ...]:
        manager = gpu.active()
        manager.__enter__()
        state.stack.append(manager)
        return (done,)

    def pop() -> tuple[Any, ...]:
        state.stack.pop().__exit__(None, None, None)
        return done, "context"

    def retain(device: Any) -> tuple[Any, ...]:
        state.retained += 1
        return done, "context"

    def release(device: Any) -> tuple[Any, ...]:
        state.retained -= 1
        return (done,)

    def alloc(size: int) -> tuple[Any, ...]:
        try:
            return done, gpu.device(size)
        except Exception:
            return Result(2), None

    def alloc_host(size: int) -> tuple[Any, ...]:
        memory = gpu.host(size)
        state.pinned[memory.ctypes.data] = memory
        return done, memory.ctypes.data

    def pinned(address: int, size: int) -> np.ndarray:
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def run(work: Any) -> tuple[Any, ...]:
        try:
            work()
        except Exception:
            return (Result(719),)
        return (done,)

    kinds = SimpleNamespace(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=0, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=1)
    return SimpleNamespace(
        state=state, CUdevice_attribute=kinds,
        cuInit=lambda flags: (Result(refuse),), cuDeviceGetCount=lambda: (done, count), cuDeviceGet=lambda index: (done, index),
        cuDeviceGetName=lambda size, device: (done, gpu.name.encode().ljust(size, b"\0")),
        cuDeviceGetAttribute=lambda kind, device: (done, gpu.capability[kind]),
        cuDevicePrimaryCtxRetain=retain, cuDevicePrimaryCtxRelease=release, cuCtxPushCurrent=push, cuCtxPopCurrent=pop,
        cuMemAlloc=alloc, cuMemAllocHost=alloc_host, cuStreamCreate=lambda flags: (done, gpu.stream),
        cuMemFree=lambda address: state.freed.append(address) or (done,),
        cuMemFreeHost=lambda address: state.freed.append(address) or (done,),
        cuStreamDestroy=lambda stream: (done,),
        cuStreamSynchronize=lambda stream: run(gpu.synchronize),
        cuMemcpyHtoDAsync=lambda to, source, size, stream: run(lambda: gpu.upload(pinned(source, size), to)),
        cuMemcpyDtoHAsync=lambda to, source, size, stream: run(lambda: gpu.download(source, pinned(to, size))),
        cuGetErrorString=lambda result: (done, b"text of the error"),
    )  # fmt: skip
