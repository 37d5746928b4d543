"""Execution providers of ONNX Runtime: chosen by the device's name, refused when they silently fall back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from common.manifest import InputSpec
from common.runtimes import DeviceLost, ModelError, RuntimeUnavailable
from common.runtimes.base import Request
from common.runtimes.contract import NetworkInput
from common.runtimes.onnx import OnnxEngine, open_engine
from common.runtimes.onnx_providers import CPU, CUDA, OPENVINO, TENSORRT, choose, open_session, tensorrt_options
from tests.model_parts import expected, tiny_artifact

FIXED = InputSpec(width_px=6, height_px=4, layout="NCHW", dtype="float32")
ALL = [TENSORRT, CUDA, OPENVINO, CPU]


class Runtime:
    """onnxruntime with other providers than this machine has: sessions run on the CPU and say what `given` says."""

    SessionOptions = onnxruntime.SessionOptions
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

    def __init__(self, given: list[str] | None = None) -> None:
        self.asked: list[Any] = []
        self._given = given
        self.fallback = True

    def get_available_providers(self) -> list[str]:
        return ALL

    def InferenceSession(self, model: bytes, options: Any, providers: list[Any]) -> Any:  # noqa: N802
        self.asked.append(providers)
        real = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [name if isinstance(name, str) else name[0] for name in providers]

        def disable_fallback() -> None:
            self.fallback = False

        return SimpleNamespace(
            get_providers=lambda: names if self._given is None else self._given, disable_fallback=disable_fallback,
            get_inputs=real.get_inputs, get_outputs=real.get_outputs, run=real.run,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "name", "shown", "options"),
    [
        ("cpu", CPU, "cpu", {}),
        ("gpu", CUDA, "gpu:0", {"device_id": "0"}),
        ("gpu:1", CUDA, "gpu:1", {"device_id": "1"}),
        ("cuda:2", CUDA, "gpu:2", {"device_id": "2"}),
        ("tensorrt:0", TENSORRT, "tensorrt:0", {"device_id": "0"}),
        ("openvino", OPENVINO, "openvino:CPU", {"device_type": "CPU"}),
        ("openvino:GPU", OPENVINO, "openvino:GPU", {"device_type": "GPU"}),
        ("openvino:gpu.1", OPENVINO, "openvino:GPU.1", {"device_type": "GPU.1"}),
    ],
)
def test_a_device_name_chooses_provider_and_options(device, name, shown, options):
    provider = choose(device, ALL)
    assert (provider.name, provider.device, provider.options) == (name, shown, options)


def test_auto_is_cuda_where_it_is_else_the_cpu_and_never_tensorrt():
    assert choose("auto", ALL).name == CUDA
    assert choose("auto", [TENSORRT, CPU]).name == CPU
    assert choose("auto", ["AzureExecutionProvider", CPU]).name == CPU


@pytest.mark.parametrize(
    ("device", "package"),
    [("gpu:0", "onnxruntime-gpu"), ("tensorrt:0", "onnxruntime-gpu and"), ("openvino", "onnxruntime-openvino")],
)
def test_a_build_without_the_provider_names_the_package(device, package):
    with pytest.raises(RuntimeUnavailable, match=f"in this build; it has {CPU}; install {package}"):
        choose(device, [CPU])


@pytest.mark.parametrize("device", ["usb:0", "gpu:x", "gpu:", "openvino:", "CPU0"])
def test_unknown_devices_are_named_with_the_right_ones(device):
    with pytest.raises(RuntimeUnavailable, match=f"has no device '{device}'; choose auto, cpu, gpu:0"):
        choose(device, ALL)


def test_a_provider_that_silently_falls_back_is_refused():
    runtime = Runtime(given=[CPU])
    with pytest.raises(RuntimeUnavailable, match=r"could not start CUDAExecutionProvider on device 'gpu:0' and would run"):
        open_session(runtime, tiny_model(), onnxruntime.SessionOptions(), choose("gpu:0", ALL))


def test_a_session_may_not_fall_back_later_either():
    runtime = Runtime()
    open_session(runtime, tiny_model(), onnxruntime.SessionOptions(), choose("gpu:0", ALL))
    assert runtime.asked == [[(CUDA, {"device_id": "0"}), CPU]]
    assert not runtime.fallback


def test_what_tensorrt_lacks_runs_on_cuda_before_the_cpu():
    runtime = Runtime()
    open_session(runtime, tiny_model(), onnxruntime.SessionOptions(), choose("tensorrt:1", ALL))
    assert runtime.asked == [[(TENSORRT, {"device_id": "1"}), (CUDA, {"device_id": "1"}), CPU]]


def tiny_model() -> bytes:
    import tempfile
    from pathlib import Path

    from tests.model_parts import write_tiny_onnx

    with tempfile.TemporaryDirectory() as folder:
        write_tiny_onnx(Path(folder) / "tiny.onnx")
        return (Path(folder) / "tiny.onnx").read_bytes()


def test_an_engine_on_tensorrt_has_a_cache_and_one_profile_and_splits_larger_batches(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    runtime = Runtime()
    request = Request(artifact, "detect", "tensorrt:0", 1, (6, 4), tmp_path)
    engine = OnnxEngine(request, request.path("onnx").read_bytes(), runtime, choose("tensorrt:0", ALL))
    _, (name, options) = runtime.asked[0], runtime.asked[1][0]
    assert name == TENSORRT
    assert options["trt_engine_cache_path"] == str(tmp_path / "onnx-tensorrt")
    assert (tmp_path / "onnx-tensorrt").is_dir()
    profile = {key: options[f"trt_profile_{key}_shapes"] for key in ("min", "opt", "max")}
    assert profile == {"min": "image:1x3x4x6", "opt": "image:1x3x4x6", "max": "image:8x3x4x6"}
    sizes = []
    run = engine._session.run
    engine._session.run = lambda names, feed: sizes.append(len(feed["image"])) or run(names, feed)
    batch = np.random.default_rng(0).integers(0, 256, (19, 4, 6, 3), dtype=np.uint8)
    (answer,) = engine.run(batch).values()
    np.testing.assert_allclose(answer.transpose(0, 2, 3, 1), expected(batch), rtol=1e-5, atol=1e-5)
    assert sizes == [8, 8, 3]
    assert engine.device == "tensorrt:0"


def test_auto_takes_the_cpu_where_the_gpu_does_not_start_and_says_so(tmp_path, caplog):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    runtime = Runtime(given=[CPU])
    engine = open_engine(Request(artifact, "detect", "auto", 1, (6, 4), tmp_path), runtime)
    assert engine.device == "cpu"
    assert "event=device_passed_over model=tiny-onnx device=gpu:0 reason=" in caplog.text
    with pytest.raises(RuntimeUnavailable, match="could not start CUDAExecutionProvider"):
        open_engine(Request(artifact, "detect", "gpu:0", 1, (6, 4), tmp_path), runtime)


def test_a_gpu_that_starts_is_taken_by_auto(tmp_path):
    engine = open_engine(Request(tiny_artifact(tmp_path / "tiny", "onnx"), "detect", "auto", 1, (6, 4), tmp_path), Runtime())
    assert engine.device == "gpu:0"


def breaking(message: str) -> Runtime:
    """Sessions on CUDA start, but every run there fails with that message."""

    class Breaking(Runtime):
        def InferenceSession(self, model: bytes, options: Any, providers: list[Any]) -> Any:  # noqa: N802
            session = super().InferenceSession(model, options, providers)
            if CUDA in session.get_providers():

                def run(names: Any, feed: Any) -> Any:
                    raise RuntimeError(message)

                session.run = run
            return session

    return Breaking()


def test_auto_takes_the_cpu_where_the_gpu_starts_but_cannot_run_the_network(tmp_path, caplog):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    runtime = breaking("CUDA error 209: no kernel image is available for execution on the device")
    engine = open_engine(Request(artifact, "detect", "auto", 1, (6, 4), tmp_path), runtime)
    assert engine.device == "cpu"
    batch = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    (answer,) = engine.run(batch).values()
    np.testing.assert_allclose(answer.transpose(0, 2, 3, 1), expected(batch), rtol=1e-5, atol=1e-5)
    assert "event=device_passed_over model=tiny-onnx device=gpu:0 reason=" in caplog.text
    assert "no kernel image" in caplog.text
    with pytest.raises(ModelError, match="no kernel image"):
        open_engine(Request(artifact, "detect", "gpu:0", 1, (6, 4), tmp_path), runtime).warm_up()


def test_auto_takes_the_cpu_where_a_session_finds_no_memory_on_the_gpu(tmp_path, caplog):
    class Full(Runtime):
        def InferenceSession(self, model: bytes, options: Any, providers: list[Any]) -> Any:  # noqa: N802
            if providers != [CPU]:
                raise RuntimeError("Failed to allocate memory for requested buffer of size 9437184")
            return super().InferenceSession(model, options, providers)

    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    assert open_engine(Request(artifact, "detect", "auto", 1, (6, 4), tmp_path), Full()).device == "cpu"
    assert "Failed to allocate memory" in caplog.text


@pytest.mark.parametrize("device", ["auto", "gpu:0"])
def test_a_gpu_lost_under_onnx_runtime_is_a_lost_device(device, tmp_path):
    request = Request(tiny_artifact(tmp_path / "tiny", "onnx"), "detect", device, 1, (6, 4), tmp_path)
    with pytest.raises(DeviceLost, match=r"ONNX Runtime on gpu:0: CUDA failure 700: .* restart the service"):
        open_engine(request, breaking("CUDA failure 700: an illegal memory access was encountered ; GPU=0")).warm_up()


def test_float32_asked_for_is_float32_on_tensorrt_too():
    options = tensorrt_options(NetworkInput("image", (1, 3, 4, 6), "float32"), FIXED, (6, 4), "cache", half=False)
    assert options["trt_fp16_enable"] == "False"


def test_a_static_network_needs_no_profile():
    options = tensorrt_options(NetworkInput("image", (1, 3, 4, 6), "float32"), FIXED, (6, 4), "cache")
    assert not any("profile" in key for key in options)


@pytest.mark.parametrize(
    ("spec", "shape", "profile"),
    [
        (InputSpec(multiple_px=32, layout="NCHW"), (None, 3, None, None), ("1x3x32x32", "1x3x320x320", "8x3x320x320")),
        (InputSpec(multiple_px=32, batch=False), (1, None, None, 3), ("1x32x32x3", "1x320x320x3", "1x320x320x3")),
        (InputSpec(width_px=320, height_px=320), (None, 320, 320, 3), ("1x320x320x3", "1x320x320x3", "8x320x320x3")),
    ],
)
def test_the_profile_has_every_size_that_the_manifest_promises(spec, shape, profile):
    """A detector of any size gets 320 x 256 from a camera of 4:3, and must not build an engine for it in the run."""
    options = tensorrt_options(NetworkInput("image", shape, "uint8"), spec, (320, 320), "cache")
    assert tuple(options[f"trt_profile_{key}_shapes"] for key in ("min", "opt", "max")) == tuple(
        f"image:{sizes}" for sizes in profile
    )


def test_the_cpu_runs_without_any_other_provider():
    session = open_session(onnxruntime, tiny_model(), onnxruntime.SessionOptions(), choose("auto", [CPU]))
    assert session.get_providers() == [CPU]
