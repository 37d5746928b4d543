"""CUDA's bindings: who is asked, contexts given back, errors with their meaning."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from common.manifest import DeviceLost
from common.runtimes.base import RuntimeUnavailable
from common.runtimes.cuda import CudaError, cuda_error, import_bindings, open_cuda, probe_cuda
from common.runtimes.cuda_host import HostCuda
from tests.common.cuda_parts import fake_cuda_python, fake_pycuda

BINDINGS = {"pycuda": fake_pycuda, "cuda-python": fake_cuda_python}
MODULES = ("pycuda", "pycuda.driver", "cuda", "cuda.bindings", "cuda.bindings.driver", "cuda.cuda")


def install(monkeypatch: pytest.MonkeyPatch, **modules: object) -> None:
    """Let only these modules be there, dots written as __."""
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, modules.get(name.replace(".", "__")))


@pytest.fixture(params=BINDINGS)
def binding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_pycuda_comes_first_and_cuda_python_where_it_is_absent(monkeypatch):
    package, pycuda, new, old = type(sys)("package"), object(), object(), object()
    both = {"cuda": package, "cuda__bindings": package, "cuda__bindings__driver": new}
    install(monkeypatch, pycuda=package, pycuda__driver=pycuda, **both)
    assert import_bindings() == ("pycuda", pycuda)
    install(monkeypatch, **both)
    assert import_bindings() == ("cuda-python", new)
    install(monkeypatch, cuda=package, cuda__cuda=old)  # before 12.3
    assert import_bindings() == ("cuda-python", old)


def test_without_bindings_both_are_named(monkeypatch):
    install(monkeypatch)
    with pytest.raises(RuntimeUnavailable, match=r"pip install pycuda.* or `pip install cuda-python`"):
        import_bindings()
    assert "CUDA cannot be used from Python" in str(probe_cuda())


def test_bytes_go_there_and_back(binding):
    gpu = HostCuda(name="Orin", capability=(8, 7))
    cuda = open_cuda(0, binding, BINDINGS[binding](gpu))
    assert (cuda.name, cuda.capability, cuda.stream) == ("Orin", (8, 7), 1)
    with cuda.active():
        there, back, address = cuda.host(16), cuda.host(16), cuda.device(16)
        there[:] = np.arange(16)
        back[:] = 0
        cuda.upload(there[:8], address)
        cuda.download(address, back[:8])
        assert not back.any()  # queued, not done
        cuda.synchronize()
    np.testing.assert_array_equal(back, [*range(8), *[0] * 8])
    with cuda.active():
        cuda.close()


def test_the_primary_context_is_retained_once_not_once_a_frame(binding):
    driver = BINDINGS[binding](HostCuda())
    cuda = open_cuda(0, binding, driver)
    for _ in range(3):
        with cuda.active():
            cuda.synchronize()
    assert driver.state.retained == 1
    with cuda.active():
        cuda.close()
        cuda.close()
    assert driver.state.stack == []


def test_cuda_python_lets_the_context_go_when_it_is_no_longer_current():
    driver = fake_cuda_python(HostCuda())
    cuda = open_cuda(0, "cuda-python", driver)
    with cuda.active():
        cuda.close()
        assert driver.state.retained == 1
    assert driver.state.retained == 0


def test_pycuda_retains_once_a_process_as_it_cannot_let_go_on_another_thread():
    driver = fake_pycuda(HostCuda())
    for _ in range(3):
        open_cuda(0, "pycuda", driver)
    assert driver.state.retained == 1


def test_the_context_is_current_on_the_thread_that_works_and_nowhere_else(binding):
    gpu = HostCuda()
    cuda = open_cuda(0, binding, BINDINGS[binding](gpu))
    errors: list[Exception] = []

    def without_context() -> None:
        try:
            gpu.device(4)
        except CudaError as error:
            errors.append(error)

    with cuda.active():
        thread = threading.Thread(target=without_context)
        thread.start()
        thread.join(10)
    assert "INVALID_CONTEXT" in str(errors[0])


def test_the_context_is_taken_back_when_the_work_fails(binding):
    driver = BINDINGS[binding](HostCuda())
    cuda = open_cuda(0, binding, driver)
    with pytest.raises(KeyError), cuda.active():
        raise KeyError
    assert driver.state.stack == []


def test_a_gpu_that_is_not_there_is_named_with_how_many_there_are(binding):
    with pytest.raises(CudaError, match=r"GPU 2: INVALID_DEVICE, there are 1: there is no such GPU; check `nvidia-smi`"):
        open_cuda(2, binding, BINDINGS[binding](HostCuda(), count=1))


@pytest.mark.parametrize(
    ("binding", "refuse", "meaning"),
    [
        ("pycuda", "cuInit failed: no CUDA-capable device is detected", "there is no such GPU"),
        ("pycuda", "cuInit failed: system has unsupported display driver / cuda driver combination", "do not fit"),
        ("cuda-python", 100, "there is no such GPU"),
        ("cuda-python", 803, "do not fit; update the driver"),
    ],
)
def test_a_driver_that_refuses_is_explained(binding, refuse, meaning):
    with pytest.raises(CudaError, match=meaning):
        open_cuda(0, binding, BINDINGS[binding](HostCuda(), refuse=refuse))


def test_a_full_gpu_is_explained(binding):
    driver = BINDINGS[binding](HostCuda(memory=100))
    cuda = open_cuda(0, binding, driver)
    with pytest.raises(CudaError, match=r"the GPU's memory is full; free some"), cuda.active():
        cuda.device(1000)
    assert driver.state.stack == []


LOSSES = (
    "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)",
    "cuStreamSynchronize failed: unspecified launch failure",
    "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
    "CUDA_ERROR_MISALIGNED_ADDRESS (misaligned address)",
)


@pytest.mark.parametrize("reason", LOSSES)
def test_what_a_process_never_recovers_from_is_a_lost_device(reason):
    error = cuda_error("copy", reason)
    assert isinstance(error, DeviceLost)
    assert isinstance(error, CudaError)
    assert "restart the service" in str(error)


@pytest.mark.parametrize("reason", ["CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA_ERROR_INVALID_VALUE"])
def test_what_a_process_can_go_on_after_is_no_lost_device(reason):
    assert not isinstance(cuda_error("copy", reason), DeviceLost)


def test_a_lost_gpu_is_no_missing_gpu(monkeypatch):
    package = type(sys)("package")
    lost = fake_pycuda(HostCuda(), refuse="cuCtxPushCurrent failed: an illegal memory access was encountered")
    install(monkeypatch, pycuda=package, pycuda__driver=lost)
    with pytest.raises(DeviceLost):
        probe_cuda()


def test_an_error_without_a_known_meaning_says_what_cuda_said():
    assert str(cuda_error("cuInit", "CUDA_ERROR_UNKNOWN (unknown error)")) == "cuInit: CUDA_ERROR_UNKNOWN (unknown error)"


def test_a_missing_driver_library_is_explained():
    driver = fake_cuda_python(HostCuda())

    def missing(flags: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    driver.cuInit = missing
    with pytest.raises(CudaError, match="the NVIDIA driver is not installed, or not visible in this container"):
        open_cuda(0, "cuda-python", driver)


def test_cuda_python_has_what_we_call():
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-python is absent: `pip install cuda-python` checks names")
    fake = fake_cuda_python(HostCuda())
    calls = [name for name in vars(fake) if name.startswith("cu")]
    assert len(calls) > 15
    assert [name for name in (*calls, "CUdevice_attribute") if not hasattr(driver, name)] == []


def test_memory_of_the_host_is_as_strict_as_a_gpu():
    gpu = HostCuda()
    with pytest.raises(CudaError, match="INVALID_CONTEXT: no context on thread MainThread"):
        gpu.device(4)
    with gpu.active():
        address = gpu.device(4)
        with pytest.raises(CudaError, match="ILLEGAL_ADDRESS: 5 bytes"):
            gpu.upload(np.zeros(5, np.uint8), address)
        gpu.close()
        with pytest.raises(CudaError, match="was closed"):
            gpu.device(4)
