"""TensorRT's objects free memory of the GPU when they go: before the device is closed, also where a load fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.artifact import Artifact
from common.manifest import ModelError
from common.runtimes.cuda import CudaError, cuda_error
from common.runtimes.cuda_host import HostCuda
from common.runtimes.tensorrt import TensorrtEngine
from tests.common import tensorrt_parts as parts
from tests.common.tensorrt_parts import FakeTrt, opened
from tests.model_parts import tiny_artifact


@pytest.fixture
def gpu() -> HostCuda:
    return HostCuda()


@pytest.fixture
def trt(gpu: HostCuda) -> FakeTrt:
    return FakeTrt(gpu)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return tiny_artifact(tmp_path / "tiny", "onnx")


FREED_BY_THEMSELVES = (parts.Runtime, parts.Engine, parts.Context, parts.Builder, parts.Network, parts.Parser)


@pytest.fixture
def freed(gpu: HostCuda, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, bool]]:
    """What of TensorRT was freed: (kind, while the device was open, with its context current)."""
    log: list[tuple[str, bool, bool]] = []
    for kind in FREED_BY_THEMSELVES:

        def free(self, kind=kind) -> None:
            log.append((kind.__name__, gpu.is_open, bool(getattr(gpu._pushed, "depth", 0))))

        monkeypatch.setattr(kind, "__del__", free, raising=False)
    monkeypatch.setattr(parts.Engine, "create_execution_context", lambda self: parts.Context(self))  # the fake one keeps it
    return log


def refused_memory(self: HostCuda, size: int) -> int:
    raise cuda_error(f"{size} bytes on the GPU", "CUDA_ERROR_OUT_OF_MEMORY")


@pytest.mark.parametrize("chained", [False, True], ids=["as it is", "as a cause"])
def test_a_load_that_fails_frees_tensorrts_objects_before_the_device(artifact, trt, gpu, freed, tmp_path, monkeypatch, chained):
    opened(artifact, FakeTrt(HostCuda()), tmp_path).close()  # the engine is in the cache
    freed.clear()
    monkeypatch.setattr(HostCuda, "device", refused_memory)
    if chained:
        make = TensorrtEngine._make_buffers

        def wrapped(self, *arguments) -> None:
            try:
                make(self, *arguments)
            except CudaError as error:
                raise ModelError("in other words") from error

        monkeypatch.setattr(TensorrtEngine, "_make_buffers", wrapped)
    with pytest.raises(ModelError) as caught:
        opened(artifact, trt, tmp_path)
    assert [kind for kind, _, _ in freed] == ["Context", "Engine", "Runtime"]
    assert all(is_open and current for _, is_open, current in freed)
    assert not gpu.is_open
    assert caught.traceback  # which remembers the frames all the while


def test_a_build_that_fails_frees_tensorrts_objects_before_the_device(artifact, trt, gpu, freed, tmp_path):
    trt.fails_to_build = "no tactic"
    with pytest.raises(ModelError, match="no tactic") as caught:
        opened(artifact, trt, tmp_path)
    assert sorted(kind for kind, _, _ in freed) == ["Builder", "Network", "Parser", "Runtime"]
    assert all(is_open and current for _, is_open, current in freed)
    assert caught.traceback


def test_a_close_frees_tensorrts_objects_before_the_device(artifact, trt, gpu, freed, tmp_path):
    engine = opened(artifact, trt, tmp_path)
    freed.clear()
    engine.close()
    assert [kind for kind, _, _ in freed] == ["Context", "Engine", "Runtime"]
    assert all(is_open and current for _, is_open, current in freed)
