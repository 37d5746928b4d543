"""The little of CUDA that an engine needs: buffers, copies, one stream, in the device's primary context.

Two packages can do it: pycuda, else cuda-python. Both are used through `Cuda`, as is memory of the host in tests
(`cuda_host.py`). The primary context is retained once an engine, never created: contexts of one's own per engine or, as older
code does, per frame cost hundreds of megabytes and milliseconds. Services load engines on one thread and run them on
another, so every call happens inside `active()`, which makes the context current on the calling thread and takes it back.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.manifest import ModelError
from common.runtimes.base import RuntimeUnavailable

INSTALL = "run `pip install pycuda` (builds against the CUDA toolkit) or `pip install cuda-python`"

# What CUDA calls it, in its own name and in pycuda's words -> what it means and what to do.
_MEANINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("OUT_OF_MEMORY", "out of memory"), "the GPU's memory is full; free some, choose a smaller model, or run fewer services"),
    (
        ("NO_DEVICE", "INVALID_DEVICE", "no CUDA-capable device", "invalid device ordinal"),
        "there is no such GPU; check `nvidia-smi` (PC) or /dev/nvhost-gpu (Jetson), and in a container use the NVIDIA runtime",
    ),
    (
        ("DRIVER_MISMATCH", "INSUFFICIENT_DRIVER", "driver combination", "driver version is insufficient", "STUB_LIBRARY"),
        "driver and CUDA libraries do not fit; update the driver (PC) or use the packages of one JetPack (Jetson)",
    ),
    (
        ("libcuda", "DynamicLibNotFound", "driver library"),
        "the NVIDIA driver is not installed, or not visible in this container; install it, or use its runtime",
    ),
    (
        ("LAUNCH_FAILED", "ILLEGAL_ADDRESS", "ECC_UNCORRECTABLE", "DEVICE_UNAVAILABLE", "DEINITIALIZED", "LAUNCH_TIMEOUT",
         "unspecified launch failure", "illegal memory access", "uncorrectable ECC", "HARDWARE_STACK_ERROR",
         "launch timed out", "unspecified driver error"),
        "the GPU was lost and this process cannot use it any more; restart the service, and if it comes back, check `dmesg`",
    ),
)  # fmt: skip


class Cuda(Protocol):
    """Memory and one stream on a device. All but `active` is called inside `active()`."""

    name: str  # of the device, e.g. Orin
    capability: tuple[int, int]  # compute capability
    stream: int  # its handle

    def active(self) -> AbstractContextManager[None]:
        """Make the device's context current on this thread for a while."""
        ...

    def host(self, size: int) -> NDArray[np.uint8]:
        """`size` bytes of pinned host memory, valid until `close`."""
        ...

    def device(self, size: int) -> int:
        """Address of `size` bytes on the device, valid until `close`."""
        ...

    def upload(self, source: NDArray[np.uint8], address: int) -> None:
        """Queue a copy to the device on the stream; `source` is pinned and must stay as it is until `synchronize`."""
        ...

    def download(self, address: int, target: NDArray[np.uint8]) -> None:
        """Queue a copy from the device on the stream; `target` is pinned and filled after `synchronize`."""
        ...

    def synchronize(self) -> None:
        """Wait until the stream is empty. Raises CudaError for what went wrong in it."""
        ...

    def close(self) -> None:
        """Free all buffers and the stream; may be called twice."""
        ...


class CudaError(ModelError):
    """CUDA refused something. The message says what it means and the fix."""


def cuda_error(call: str, reason: object) -> CudaError:
    """The error for a call that CUDA refused; reason: its name or text, in any binding's words."""
    text = str(reason)
    for needles, meaning in _MEANINGS:
        if any(needle in text for needle in needles):
            return CudaError(f"{call}: {text}: {meaning}")
    return CudaError(f"{call}: {text}")


def import_bindings() -> tuple[str, Any]:
    """("pycuda", its driver module) or ("cuda-python", its driver module); pycuda first.

    Raises RuntimeUnavailable naming both, and why each cannot be imported.
    """
    reasons = []
    for binding, module in (("pycuda", "pycuda.driver"), ("cuda-python", "cuda.bindings.driver"), ("cuda-python", "cuda.cuda")):
        try:
            return binding, importlib.import_module(module)
        except ImportError as error:  # also: libcuda.so.1 is missing
            reasons.append(f"{module}: {error}")
    raise RuntimeUnavailable(f"CUDA cannot be used from Python ({'; '.join(reasons)}); {INSTALL}")


def open_cuda(index: int, binding: str, driver: Any) -> Cuda:
    """Device `index` by the given binding. Raises CudaError where there is none, or the driver does not fit."""
    if binding == "pycuda":
        from common.runtimes.cuda_pycuda import PycudaCuda

        return PycudaCuda(index, driver)
    from common.runtimes.cuda_driver import DriverCuda

    return DriverCuda(index, driver)


def probe_cuda() -> str | None:
    """Why no GPU can be used here, with the fix; None: the first can."""
    try:
        binding, driver = import_bindings()
        cuda = open_cuda(0, binding, driver)
    except ModelError as error:
        return str(error)
    with cuda.active():
        cuda.close()
    return None
