"""What is asked of TensorRT's builder, in each of its versions. The real builder is asked in test_tensorrt_rtx.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from common.artifact import Artifact, read_artifact
from common.manifest import ArtifactError, InputSpec, ModelError
from common.runtimes import RuntimeUnavailable
from common.runtimes.base import Request
from common.runtimes.contract import NetworkInput
from common.runtimes.cuda_host import HostCuda
from common.runtimes.tensorrt import build_request
from common.runtimes.tensorrt_build import BuildRequest, build_engine, make_logger, parse_errors, profile_shapes
from tests.common.tensorrt_parts import Config, FakeTrt
from tests.model_parts import SIZE, file_text, manifest_text, tiny_artifact, write_tiny_onnx

FIXED = InputSpec(width_px=6, height_px=4, layout="NCHW", dtype="float32")
ANY = InputSpec(multiple_px=32, layout="NHWC")


def write_quantised(path: Path, *, layout: str = "NCHW") -> None:
    """int8 as the file itself says: Quantize and Dequantize around a convolution's input and weights."""
    scale, zero = numpy_helper.from_array(np.float32(0.1), "scale"), numpy_helper.from_array(np.int8(0), "zero")
    weights = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.int8), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["small"], name="quantise"),
            helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["real"]),
            helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["real_weights"]),
            helper.make_node("Conv", ["real", "real_weights"], ["answer"]),
        ],
        "quantised",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 4, 6])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", 2, 4, 6])],
        [scale, zero, weights],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_half(path: Path) -> None:
    """A network whose weights and arithmetic are float16."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["half"], to=TensorProto.FLOAT16),
            helper.make_node("Add", ["half", "one"], ["sum"]),
            helper.make_node("Cast", ["sum"], ["answer"], to=TensorProto.FLOAT),
        ],
        "half",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 4, 6])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", 3, 4, 6])],
        [numpy_helper.from_array(np.float16(1).reshape(1), "one")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_unknown(path: Path) -> None:
    """A network with an operator that no TensorRT knows."""
    shape = ["batch", 3, 4, 6]
    graph = helper.make_graph(
        [helper.make_node("Levitate", ["image"], ["answer"], name="neck/levitate", domain="custom")],
        "unknown",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def request(onnx: bytes, mode: str = "float16", spec: InputSpec = FIXED, **more: object) -> BuildRequest:
    return BuildRequest(model="net", onnx=onnx, spec=spec, size_px=(6, 4), mode=mode, **more)  # type: ignore[arg-type]


def build(trt: FakeTrt, asked: BuildRequest) -> Config:
    assert build_engine(trt, make_logger(trt), asked)
    return trt.built[-1]


@pytest.fixture
def onnx(tmp_path: Path) -> bytes:
    write_tiny_onnx(tmp_path / "net.onnx")
    return (tmp_path / "net.onnx").read_bytes()


@pytest.fixture
def quantised(tmp_path: Path) -> bytes:
    write_quantised(tmp_path / "net.onnx")
    return (tmp_path / "net.onnx").read_bytes()


@pytest.mark.parametrize(("version", "flags"), [("8.5.2", 1), ("8.6.1", 1), ("9.1.0", 1), ("10.3.0", 0), ("11.1.0", 0)])
def test_explicit_batches_are_asked_for_where_they_are_not_the_only_way(version, flags, onnx):
    assert build(FakeTrt(HostCuda(), version), request(onnx)).network_flags == flags


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"])
@pytest.mark.parametrize(("mode", "flags"), [("float32", []), ("float16", ["FP16"])])
def test_the_mode_sets_the_builders_flags(version, mode, flags, onnx):
    assert build(FakeTrt(HostCuda(), version), request(onnx, mode)).flags == flags


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"])
@pytest.mark.parametrize(("mode", "flags"), [("float32", ["INT8"]), ("float16", ["FP16", "INT8"]), ("int8", ["FP16", "INT8"])])
def test_a_file_with_quantisers_runs_in_int8_without_a_calibrator(version, mode, flags, quantised):
    config = build(FakeTrt(HostCuda(), version), request(quantised, mode))
    assert config.flags == flags
    assert config.int8_calibrator is None


def test_int8_of_a_float_file_reads_its_calibration_cache(onnx):
    config = build(FakeTrt(HostCuda(), "8.6.1"), request(onnx, "int8", calibration=b"TRT-8601-EntropyCalibration2"))
    assert config.flags == ["FP16", "INT8"]
    assert config.int8_calibrator.read_calibration_cache() == b"TRT-8601-EntropyCalibration2"
    assert config.int8_calibrator.get_batch(["image"]) is None
    assert config.int8_calibrator.get_batch_size() == 1


def test_int8_of_a_float_file_without_a_cache_says_where_it_was_looked_for(onnx):
    asked = request(onnx, "int8", calibration_path=Path("zoo/net/net.calib"))
    with pytest.raises(RuntimeUnavailable, match=r"Dequantize nodes, or a calibration cache at zoo/net/net.calib; convert"):
        build(FakeTrt(HostCuda()), asked)


def test_without_precision_flags_the_file_decides(onnx, quantised, tmp_path):
    trt = FakeTrt(HostCuda(), "11.0.0")
    assert build(trt, request(onnx, "float16")).flags == []
    assert build(trt, request(quantised, "int8")).flags == []
    with pytest.raises(RuntimeUnavailable, match=r"TensorRT 11.0.0 takes int8 only from a file with Quantize"):
        build(trt, request(onnx, "int8", calibration=b"cache"))
    with pytest.raises(RuntimeUnavailable, match=r"TensorRT 11.0.0 takes float16 only from a file that is float16"):
        build(trt, request(onnx, "float16", strict=True))
    write_half(tmp_path / "half.onnx")
    assert build(trt, request((tmp_path / "half.onnx").read_bytes(), "float16", strict=True)).flags == []


def test_a_dynamic_batch_gets_one_profile_of_1_to_8(onnx):
    config = build(FakeTrt(HostCuda()), request(onnx))
    assert config.profiles == [{"image": [[1, 3, 4, 6], [1, 3, 4, 6], [8, 3, 4, 6]]}]
    assert config.pools == {"WORKSPACE": 1 << 30}


def test_a_network_for_one_picture_gets_no_profile(tmp_path):
    write_tiny_onnx(tmp_path / "one.onnx", batch=1)
    spec = FIXED.model_copy(update={"batch": False})
    config = build(FakeTrt(HostCuda()), request((tmp_path / "one.onnx").read_bytes(), spec=spec))
    assert config.profiles == []


def test_a_network_of_any_size_gets_its_range_in_its_layout():
    low, usual, high = profile_shapes(NetworkInput("image", (None, None, None, 3), "uint8"), ANY, (320, 192))
    assert (low, usual, high) == ((1, 32, 32, 3), (1, 192, 320, 3), (8, 320, 320, 3))


def test_a_manifest_that_promises_batches_the_network_lacks_is_refused(tmp_path):
    write_tiny_onnx(tmp_path / "one.onnx", batch=1)
    with pytest.raises(ArtifactError, match=r"batches of any size .*takes exactly 1 at a time; set `batch = false`"):
        build(FakeTrt(HostCuda()), request((tmp_path / "one.onnx").read_bytes()))


def test_every_error_of_the_parser_is_listed_with_its_node(tmp_path):
    write_unknown(tmp_path / "unknown.onnx")
    with pytest.raises(ArtifactError) as caught:
        build(FakeTrt(HostCuda()), request((tmp_path / "unknown.onnx").read_bytes()))
    lines = str(caught.value).splitlines()
    assert lines[0] == "artifact 'net': the ONNX parser of TensorRT 10.3.0 refuses it:"
    assert lines[1] == "  node 0 neck/levitate (Levitate): Plugin not found"
    assert "runtime: onnx" in lines[-1]


def test_errors_of_tensorrt_8_which_knows_no_names_are_listed_too():
    error = SimpleNamespace(node=lambda: 7, desc=lambda: "No importer registered for op: Levitate")
    parser = SimpleNamespace(num_errors=1, get_error=lambda i: error)
    assert "  node 7: No importer registered for op: Levitate\n" in parse_errors(parser, "net", "8.6.1")


def test_a_build_that_fails_says_what_tensorrt_said(onnx):
    trt = FakeTrt(HostCuda())
    trt.fails_to_build = "Could not find any implementation for node {ForeignNode[neck]}"
    with pytest.raises(ModelError, match=r"'net': TensorRT 10.3.0 cannot build it: Could not find any .*models check"):
        build_engine(trt, make_logger(trt), request(onnx))


def test_the_logger_keeps_errors_and_leaves_the_rest(caplog):
    trt = FakeTrt(HostCuda())
    logger = make_logger(trt)
    for severity in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
        logger.log(severity, f"a {severity}\nof two lines")
    assert logger.errors == ["a INTERNAL_ERROR of two lines", "a ERROR of two lines"]
    assert "WARNING" not in caplog.text  # below the level that services show


def two_precisions(folder: Path) -> Artifact:
    """float32 and int8 files of one network."""
    write_tiny_onnx(folder / "net.onnx")
    write_quantised(folder / "int8.onnx")
    files = file_text(folder / "net.onnx", "onnx") + file_text(folder / "int8.onnx", "onnx", precision="int8")
    (folder / "manifest.toml").write_text(manifest_text("net", files, layout="NCHW", size=SIZE))
    return read_artifact(folder)


@pytest.mark.parametrize(
    ("asked", "file", "mode", "strict"),
    [
        ("auto", "net.onnx", "float16", False),
        ("float32", "net.onnx", "float32", False),
        ("float16", "net.onnx", "float16", True),
        ("int8", "int8.onnx", "int8", False),
    ],
)
def test_the_precision_chooses_file_and_mode(asked, file, mode, strict, tmp_path):
    artifact = two_precisions(tmp_path)
    found, plan = build_request(Request(artifact, "detect", "auto", 1, (6, 4), tmp_path, asked))
    assert plan.onnx == (tmp_path / file).read_bytes()
    assert (plan.mode, plan.strict) == (mode, strict)
    assert found.precision == ("int8" if file == "int8.onnx" else "float32")


def test_a_calibration_cache_beside_the_manifest_is_taken_for_int8(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    (artifact.folder / "tiny.calib").write_bytes(b"cache")
    for precision, cache in (("int8", b"cache"), ("auto", None)):
        _, plan = build_request(Request(artifact, "detect", "auto", 1, (6, 4), tmp_path, precision))
        assert plan.calibration == cache
    assert plan.calibration_path == artifact.folder / "tiny.calib"


def test_dynamic_int8_is_refused_with_what_there_is(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    with pytest.raises(RuntimeUnavailable, match="no dynamic int8; set precision: int8, float16 or auto"):
        build_request(Request(artifact, "detect", "auto", 1, (6, 4), tmp_path, "dynamic_int8"))
