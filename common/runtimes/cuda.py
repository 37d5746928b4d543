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

from common.manifest import DeviceLost, ModelError
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
        ("DEVICE_UNAVAILABLE", "busy or unavailable"),
        "the GPU does not answer, or another program holds it for itself; end that program, or see `nvidia-smi -q -d COMPUTE`",
    ),
)  # fmt: skip
# After these CUDA answers every further call of the process with the same error, as its driver API documents: the primary
# context is one a process, so that loading the model again cannot help.
_LOST = (
    "LAUNCH_FAILED", "ILLEGAL_ADDRESS", "ECC_UNCORRECTABLE", "DEINITIALIZED", "LAUNCH_TIMEOUT", "HARDWARE_STACK_ERROR",
    "ILLEGAL_INSTRUCTION", "MISALIGNED_ADDRESS", "INVALID_ADDRESS_SPACE", "INVALID_PC", "ERROR_ASSERT",
    "unspecified launch failure", "illegal memory access", "uncorrectable ECC", "launch timed out", "hardware stack error",
    "illegal instruction", "misaligned address", "global/shared address space", "invalid program counter", "device-side assert",
    "unspecified driver error",
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


class CudaLost(CudaError, DeviceLost):
    """The GPU was lost for this process."""


def is_lost(reason: object) -> bool:
    """Does that error, in the words of any who use CUDA, say that the GPU is lost for this process?"""
    return any(needle in str(reason) for needle in _LOST)


def cuda_error(call: str, reason: object) -> CudaError:
    """The error for a call that CUDA refused; reason: its name or text, in any binding's words.

    CudaLost where no further call of this process can work.
    """
    text = str(reason)
    if is_lost(text):
        return CudaLost(
            f"{call}: {text}: the GPU was lost and this process cannot use it any more; restart the service, and if it comes "
            "back, check `dmesg`"
        )
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
    """Why no GPU can be used here, with the fix; None: the first can. Raises DeviceLost where this process has lost it."""
    try:
        binding, driver = import_bindings()
        cuda = open_cuda(0, binding, driver)
    except DeviceLost:
        raise
    except ModelError as error:
        return str(error)
    with cuda.active():
        cuda.close()
    return None
