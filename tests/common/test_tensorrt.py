"""The TensorRT engine on memory of the host: addresses, shapes, streams, contexts, and every way to fail."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from common import runtimes
from common.artifact import Artifact, read_artifact
from common.manifest import DeviceLost, ModelError
from common.runtimes import RuntimeUnavailable, load, tensorrt
from common.runtimes.base import Request
from common.runtimes.cuda import CudaError, cuda_error
from common.runtimes.cuda_host import HostCuda
from common.runtimes.tensorrt import gpu_index, open_engine
from tests.common.cuda_parts import fake_pycuda
from tests.common.tensorrt_parts import FakeTrt, opened
from tests.model_parts import SIZE, file_text, manifest_text, tiny_artifact


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


@pytest.fixture
def gpu() -> HostCuda:
    return HostCuda()


@pytest.fixture
def trt(gpu: HostCuda) -> FakeTrt:
    return FakeTrt(gpu)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return tiny_artifact(tmp_path / "tiny", "onnx")


def test_all_memory_is_taken_once_and_none_by_a_frame(artifact, trt, gpu, tmp_path):
    engine = opened(artifact, trt, tmp_path)
    taken = [call for call in gpu.calls if call not in ("push", "pop")]
    size = 8 * 3 * 4 * 6 * 4
    assert taken == [f"host {size}", f"device {size}"] * 2  # input and output, for the largest batch
    for count in (1, 8, 3, 17):
        engine.run(picture(count))
    assert [call for call in gpu.calls if call not in ("push", "pop")] == taken
    assert len(trt.contexts) == 1
    engine.close()


def test_the_context_is_pushed_and_taken_back_once_a_frame(artifact, trt, gpu, tmp_path):
    engine = opened(artifact, trt, tmp_path)
    before = len(gpu.calls)
    engine.run(picture())
    assert gpu.calls[before:] == ["push", "pop"]
    engine.close()
    assert gpu.calls.count("push") == gpu.calls.count("pop")
    assert not gpu.is_open


def test_batches_beyond_the_profile_are_split(artifact, trt, tmp_path):
    engine = opened(artifact, trt, tmp_path)
    (context,) = trt.contexts
    engine.run(picture(1))
    context.shape_calls.clear()
    engine.run(picture(19))
    assert context.shape_calls == [(8, 3, 4, 6), (3, 3, 4, 6)]  # twice eight, then three
    assert context.runs == 1 + 3
    engine.close()


def test_a_shape_is_set_only_when_it_changes(artifact, trt, tmp_path):
    engine = opened(artifact, trt, tmp_path)
    (context,) = trt.contexts
    context.shape_calls.clear()
    for count in (1, 1, 1, 2, 2, 1):
        engine.run(picture(count))
    assert context.shape_calls == [(count, 3, 4, 6) for count in (1, 2, 1)]
    engine.close()


def any_size(folder: Path, *, multiple: int = 2) -> Artifact:
    """An artifact whose network takes any size and adds 1."""
    folder.mkdir()
    shape = ["batch", "height", "width", 3]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["real", "one"], ["answer"]),
        ],
        "sizes",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "sizes.onnx")
    files = file_text(folder / "sizes.onnx", "onnx")
    text = manifest_text("sizes", files, layout="NHWC", size=f"multiple_px = {multiple}", normalise=False)
    (folder / "manifest.toml").write_text(text)
    return read_artifact(folder)


def test_a_network_of_any_size_takes_lying_and_standing_pictures_up_to_its_profile(trt, tmp_path):
    engine = opened(any_size(tmp_path / "sizes"), trt, tmp_path, size=(12, 8))
    for height, width in ((8, 12), (12, 8), (2, 2), (12, 12)):
        batch = np.random.default_rng(1).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        (answer,) = engine.run(batch).values()
        np.testing.assert_array_equal(answer, batch.astype(np.float32) + 1)
    with pytest.raises(ModelError, match=r"takes no input \(1, 14, 12, 3\): it was built for 12x8 pixels and batches up to 8"):
        engine.run(np.zeros((1, 14, 12, 3), np.uint8))
    engine.run(np.zeros((1, 8, 12, 3), np.uint8))  # and it works on
    engine.close()


def bright_places(folder: Path) -> Artifact:
    """A network that answers where pixels are bright, as after non-maximum suppression: (1, as many as there are)."""
    folder.mkdir()
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["image", "flat"], ["values"]),
            helper.make_node("Greater", ["values", "limit"], ["bright"]),
            helper.make_node("NonZero", ["bright"], ["found"]),
            helper.make_node("ReduceMax", ["values"], ["most"], keepdims=1),
        ],
        "places",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 6])],
        [
            helper.make_tensor_value_info("found", TensorProto.INT64, [1, "found"]),
            helper.make_tensor_value_info("most", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("limit", TensorProto.FLOAT, [1], [200.0]),
        ],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "places.onnx")
    files = file_text(folder / "places.onnx", "onnx")
    text = manifest_text("places", files, layout="NCHW", size=SIZE, normalise=False, batch=False)
    (folder / "manifest.toml").write_text(text)
    return read_artifact(folder)


def test_outputs_whose_size_depends_on_the_picture_come_whole(trt, tmp_path):
    engine = opened(bright_places(tmp_path / "places"), trt, tmp_path)
    engine.warm_up()
    for level in (255, 0, 201, 100):
        batch = picture(seed=level)
        batch[0, 0, 0] = level
        outputs = engine.run(batch)
        planes = batch[0].transpose(2, 0, 1).reshape(-1)
        np.testing.assert_array_equal(outputs["found"], [np.flatnonzero(planes > 200)])
        np.testing.assert_array_equal(outputs["most"], [planes.max()])
    assert outputs["found"].dtype == np.int64
    assert engine.run(np.zeros((1, 4, 6, 3), np.uint8))["found"].shape == (1, 0)
    engine.close()


def test_a_gpu_that_fills_up_during_an_inference_says_so_and_goes_on_with_less(tmp_path):
    gpu = HostCuda(memory=4 * 3 * 4 * 6 + 16 + 4 + 100)  # input, what is asked for first, and a little
    engine = opened(bright_places(tmp_path / "places"), FakeTrt(gpu), tmp_path)
    for _ in range(2):
        with pytest.raises(CudaError, match="OUT_OF_MEMORY: the GPU's memory is full"):
            engine.run(np.full((1, 4, 6, 3), 255, np.uint8))
    assert engine.run(np.zeros((1, 4, 6, 3), np.uint8))["found"].shape == (1, 0)
    engine.close()


def test_a_full_gpu_is_said_and_what_was_taken_is_freed(artifact, tmp_path):
    gpu = HostCuda(memory=3_000)  # the input fits, the output does not
    with pytest.raises(CudaError, match=r"2304 bytes on the GPU: .*OUT_OF_MEMORY: the GPU's memory is full; .*smaller model"):
        opened(artifact, FakeTrt(gpu), tmp_path)
    assert not gpu.is_open
    assert gpu.calls.count("push") == gpu.calls.count("pop")


def test_a_context_without_memory_is_said(artifact, gpu, tmp_path):
    with pytest.raises(ModelError, match=r"has no memory for 'tiny-onnx'.*run fewer services"):
        opened(artifact, FakeTrt(gpu, no_memory=True), tmp_path)
    assert not gpu.is_open


def test_a_lost_gpu_is_a_model_error_and_the_engine_still_closes(artifact, trt, gpu, tmp_path):
    engine = opened(artifact, trt, tmp_path)
    gpu.lost = "CUDA_ERROR_LAUNCH_FAILED"
    for _ in range(2):
        with pytest.raises(DeviceLost, match=r"LAUNCH_FAILED: the GPU was lost .* restart the service"):
            engine.run(picture())
    engine.close()
    assert repr(engine).endswith("closed>")


def test_a_gpu_that_refuses_to_free_its_memory_does_not_disturb_the_swap(artifact, trt, gpu, tmp_path, monkeypatch, caplog):
    engine = opened(artifact, trt, tmp_path)

    def refuse() -> None:
        raise cuda_error("cuMemFree", "CUDA_ERROR_LAUNCH_FAILED")

    monkeypatch.setattr(gpu, "close", refuse)
    engine.close()
    assert "cuda_not_freed" in caplog.text


def test_a_refused_inference_says_what_tensorrt_said(artifact, trt, tmp_path, monkeypatch):
    engine = opened(artifact, trt, tmp_path)
    (context,) = trt.contexts

    def refuse(stream: int) -> bool:
        engine._logger.log("ERROR", "enqueueV3: no tactic")
        return False

    monkeypatch.setattr(context, "execute_async_v3", refuse)
    with pytest.raises(ModelError, match="refused the inference: enqueueV3: no tactic"):
        engine.run(picture())
    engine.close()


def test_devices_are_named_as_everywhere():
    assert [gpu_index(name) for name in ("auto", "gpu", "gpu:0", "gpu:2", "cuda:1", "cuda")] == [0, 0, 0, 2, 1, 0]
    with pytest.raises(RuntimeUnavailable, match="'tensorrt' has no device 'usb:0'; choose auto or gpu:0"):
        gpu_index("usb:0")


def test_the_second_gpu_is_opened_when_it_is_asked_for(artifact, trt, gpu, tmp_path):
    asked: list[int] = []
    request = Request(artifact, "detect", "gpu:1", 1, (6, 4), tmp_path)
    engine = open_engine(request, trt, lambda index: asked.append(index) or gpu)
    assert asked == [1]
    assert engine.device == "gpu:1"
    engine.close()


@pytest.mark.parametrize("version", ["8.4.1", "7.1", "0"])
def test_an_old_tensorrt_is_refused_with_what_brings_a_newer_one(version):
    assert "too old: 8.5 or newer is needed, which JetPack 5.1" in str(tensorrt.check_version(version))


@pytest.mark.parametrize("version", ["8.5.2.2", "8.6.1", "10.3.0", "10.13.3.9", "11.0.0"])
def test_the_versions_of_jetpack_are_taken(version):
    assert tensorrt.check_version(version) is None


def test_a_machine_without_tensorrt_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "apt install python3-libnvinfer" in str(tensorrt.probe())


def test_tensorrt_without_a_gpu_is_passed_over_by_auto(artifact, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTrt(HostCuda()))
    monkeypatch.setitem(sys.modules, "pycuda", type(sys)("pycuda"))
    refused = fake_pycuda(HostCuda(), refuse="cuInit failed: no CUDA-capable device is detected")
    monkeypatch.setitem(sys.modules, "pycuda.driver", refused)
    engine = load(artifact)
    assert engine.name == "onnx"
    assert "no CUDA-capable device is detected: there is no such GPU; check `nvidia-smi`" in caplog.text
    engine.close()


def test_auto_does_not_go_on_to_the_cpu_where_this_process_has_lost_the_gpu(artifact, tmp_path, monkeypatch):
    gpu = HostCuda()
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTrt(gpu))
    monkeypatch.setitem(sys.modules, "pycuda", type(sys)("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake_pycuda(gpu))
    engine = load(artifact, cache=tmp_path)
    gpu.lost = "CUDA_ERROR_ILLEGAL_ADDRESS"
    engine.close()
    with pytest.raises(DeviceLost, match="this process cannot use it any more"):
        load(artifact, cache=tmp_path)
    refused = fake_pycuda(gpu, refuse="cuInit failed: an illegal memory access was encountered")
    monkeypatch.setitem(sys.modules, "pycuda.driver", refused)
    for runtime in ("auto", "tensorrt"):
        with pytest.raises(DeviceLost):
            load(artifact, cache=tmp_path, runtime=runtime)
    assert "restart the service" in str(runtimes.probe("tensorrt"))  # a look, as `posebus doctor` takes, is no use


def test_what_tensorrt_says_of_a_lost_gpu_is_a_lost_device(artifact, trt, tmp_path, monkeypatch):
    engine = opened(artifact, trt, tmp_path)
    (context,) = trt.contexts

    def refuse(stream: int) -> bool:
        engine._logger.log("ERROR", "[reformat.cpp::1] Error Code 1: Cuda Runtime (an illegal memory access was encountered)")
        return False

    monkeypatch.setattr(context, "execute_async_v3", refuse)
    with pytest.raises(DeviceLost, match=r"refused the inference: .*restart the service"):
        engine.run(picture())
    engine.close()


def test_tensorrt_is_taken_by_auto_where_it_can_run(artifact, tmp_path, monkeypatch):
    gpu = HostCuda()
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTrt(gpu))
    monkeypatch.setitem(sys.modules, "pycuda", type(sys)("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake_pycuda(gpu))
    engine = load(artifact, cache=tmp_path)
    assert (engine.name, engine.device) == ("tensorrt", "gpu:0")
    engine.close()
