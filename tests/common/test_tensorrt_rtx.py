"""The real builder and ONNX parser of TensorRT, in the package tensorrt-rtx, which need no GPU: real engines are built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, load, numpy_helper, save

from common.manifest import ArtifactError, InputSpec, ModelError
from common.runtimes import RuntimeUnavailable
from common.runtimes.tensorrt_buffers import make_allocator
from common.runtimes.tensorrt_build import BuildRequest, Mode, build_engine, make_logger
from common.runtimes.tensorrt_cache import cached_engine
from tests.common.test_tensorrt_build import FIXED, write_half, write_quantised, write_unknown
from tests.model_parts import write_tiny_onnx

pytestmark = pytest.mark.torch  # lives in the same environment of .ci/run
trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is absent: run by .ci/run with the extra tensorrt-check")

UINT8 = InputSpec(width_px=6, height_px=4, layout="NHWC")


def build(
    path: Path, spec: InputSpec = FIXED, mode: Mode = "float16", *, size: tuple[int, int] = (6, 4), strict: bool = False
) -> bytes:
    asked = BuildRequest(model="net", onnx=path.read_bytes(), spec=spec, size_px=size, mode=mode, strict=strict)
    return build_engine(trt, make_logger(trt), asked)


def write_pose_head(path: Path, *, batch: int | str = "batch") -> None:
    """Convolution, batch norm, ReLU, transposed convolution: a SimpleBaseline-like head of 17 heatmaps, any batch and size."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["c"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["n"]),
            helper.make_node("Relu", ["n"], ["r"]),
            helper.make_node("ConvTranspose", ["r", "w2"], ["heatmaps"], strides=[2, 2], pads=[1, 1, 1, 1]),
        ],
        "head",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, "height", "width"])],
        [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, [batch, 17, "height", "width"])],
        [
            weights("w1", 8, 3, 3, 3), weights("b1", 8), weights("gamma", 8), weights("beta", 8), weights("mean", 8),
            numpy_helper.from_array(np.ones(8, np.float32), "variance"), weights("w2", 8, 17, 4, 4),
        ],
    )  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


USED = {
    "IExecutionContext": "set_tensor_address set_output_allocator set_input_shape get_tensor_shape get_max_output_size "
    "execute_async_v3",
    "ICudaEngine": "num_io_tensors get_tensor_name get_tensor_mode get_tensor_shape get_tensor_dtype get_tensor_profile_shape "
    "create_execution_context",
    "Runtime": "deserialize_cuda_engine",
    "TensorIOMode": "INPUT OUTPUT",
    "DataType": "FLOAT HALF INT8 INT32 INT64 UINT8 BOOL",
}


@pytest.mark.parametrize("kind", USED)
def test_what_the_engine_calls_is_there_by_name(kind):
    assert [name for name in USED[kind].split() if not hasattr(getattr(trt, kind), name)] == []


def test_an_output_allocator_can_be_made_of_the_real_class():
    class NoBuffer:
        address = 4096

        def grow(self, size: int) -> None:
            assert size == 12

    allocator = make_allocator(trt, {"dets": NoBuffer()})  # type: ignore[dict-item]
    assert isinstance(allocator, trt.IOutputAllocator)
    assert allocator.reallocate_output_async("dets", 0, 12, 256, 1) == 4096
    allocator.notify_shape("dets", trt.Dims([1, 7, 5]))
    assert allocator.shapes == {"dets": (1, 7, 5)}


def test_what_rtx_does_not_have_is_what_we_do_without():
    """As TensorRT 11: the network's types are the file's. Should this fail, tensorrt_build.py may do more."""
    assert not hasattr(trt.BuilderFlag, "FP16")
    assert not hasattr(trt.BuilderFlag, "INT8")
    assert not hasattr(trt, "IInt8EntropyCalibrator2")
    assert not hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH")


def test_a_tiny_network_is_built_from_floats_and_from_pixels(tmp_path):
    for raw, spec in ((False, FIXED), (True, UINT8)):
        write_tiny_onnx(tmp_path / "net.onnx", raw=raw)
        assert len(build(tmp_path / "net.onnx", spec)) > 1000


def test_a_pose_head_of_any_batch_and_size_is_built(tmp_path):
    write_pose_head(tmp_path / "head.onnx")
    spec = InputSpec(multiple_px=32, layout="NCHW", dtype="float32")
    assert len(build(tmp_path / "head.onnx", spec, size=(192, 256))) > 1000


def test_a_network_for_one_picture_is_built(tmp_path):
    write_tiny_onnx(tmp_path / "net.onnx", batch=1)
    assert len(build(tmp_path / "net.onnx", FIXED.model_copy(update={"batch": False}))) > 1000


def test_networks_that_are_int8_or_float16_themselves_are_built(tmp_path):
    write_quantised(tmp_path / "int8.onnx")
    write_half(tmp_path / "half.onnx")
    assert len(build(tmp_path / "int8.onnx", mode="int8")) > 1000
    assert len(build(tmp_path / "half.onnx", strict=True)) > 1000


def test_a_precision_that_the_file_lacks_is_refused(tmp_path):
    write_tiny_onnx(tmp_path / "net.onnx")
    with pytest.raises(RuntimeUnavailable, match="takes int8 only from a file with Quantize and Dequantize nodes"):
        build(tmp_path / "net.onnx", mode="int8")
    with pytest.raises(RuntimeUnavailable, match="takes float16 only from a file that is float16"):
        build(tmp_path / "net.onnx", strict=True)


def test_a_file_whose_weights_are_only_stored_as_float16_is_built_in_float32(tmp_path):
    write_tiny_onnx(tmp_path / "net.onnx")
    network = load(tmp_path / "net.onnx")
    for weight in network.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            values, name = numpy_helper.to_array(weight), weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
            cast = helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)
            network.graph.node.insert(0, cast)
    save(network, tmp_path / "stored.onnx")
    assert len(build(tmp_path / "stored.onnx")) > 1000
    with pytest.raises(RuntimeUnavailable, match="takes float16 only from a file that is float16"):
        build(tmp_path / "stored.onnx", strict=True)


def test_an_unknown_operator_is_named(tmp_path):
    write_unknown(tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match=r"(?s)refuses it:.*node 0 .*\(Levitate\): "):
        build(tmp_path / "net.onnx")


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(range(256)) * 20])
def test_what_is_no_network_is_refused(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match="'net'"):
        build(tmp_path / "net.onnx")


def test_a_manifest_that_lies_is_refused_before_the_build(tmp_path):
    write_tiny_onnx(tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match="the manifest says 8x4, the network takes 6x4"):
        build(tmp_path / "net.onnx", FIXED.model_copy(update={"width_px": 8}))


def test_an_engine_that_this_machine_cannot_read_is_kept_and_said(tmp_path):
    """Without a GPU an engine is built but not read: the driver is missing."""
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    write_tiny_onnx(tmp_path / "net.onnx")
    content = build(tmp_path / "net.onnx")
    if runtime.deserialize_cuda_engine(content) is not None:
        pytest.skip("there is a GPU here: the engine can be read")
    path = tmp_path / "cache" / "net.engine"
    with pytest.raises(ArtifactError, match=r"cannot read the engine that it has just built .* driver"):
        cached_engine(path, read=runtime.deserialize_cuda_engine, build=lambda: content)
    assert path.read_bytes() == content


@pytest.mark.kit
def test_yolox_is_built(kit):
    spec = InputSpec(width_px=416, height_px=416, layout="NCHW", dtype="float32", batch=False)
    assert len(build(kit / "models/det/yolox_nano.onnx", spec, size=(416, 416))) > 1_000_000


@pytest.mark.kit
def test_rtmdet_whose_suppression_is_in_the_graph_is_refused_by_name(kit):
    """TensorRT itself has the layer; RTX has none."""
    spec = InputSpec(multiple_px=32, layout="NCHW", dtype="float32", batch=False)
    with pytest.raises(ModelError, match=r"cannot build it: .*NonMaxSuppression"):
        build(kit / "models/det/rtmdet_nano_person.onnx", spec, size=(320, 320))
