"""Weights stored as float16: half the file, the same network."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

import onnxruntime  # noqa: E402

from models.convert.halves import SMALL, onnx_halves, tflite_halves  # noqa: E402
from models.convert.source import ConversionError, Source  # noqa: E402
from models.convert.tflite_io import operations  # noqa: E402
from models.convert.to_onnx import to_onnx  # noqa: E402
from models.convert.to_tflite import float_graph, to_float  # noqa: E402


def source(factor: float = 1.0) -> Source:
    torch.manual_seed(0)
    convolutions = torch.nn.Conv2d(3, 32, 3, 2, 1), torch.nn.Conv2d(32, 17, 3, padding=1)
    module = torch.nn.Sequential(convolutions[0], torch.nn.ReLU6(), convolutions[1]).eval()
    module[2].weight.data *= factor
    return Source(
        name="net", module=module, task="pose", width_px=16, height_px=24, colour="rgb", mean=(0.0, 0.0, 0.0), std=(255.0,) * 3,
        decoder="heatmaps", outputs=("heatmaps",), licence="x", training_data="x", provenance="x",
    )  # fmt: skip


def answer(content: bytes) -> np.ndarray:
    picture = np.random.default_rng(0).integers(0, 255, (2, 24, 16, 3), np.uint8)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": picture})[0]


def test_onnx_is_half_as_large_and_answers_the_same(tmp_path):
    to_onnx(source(), tmp_path / "net.onnx")
    content = (tmp_path / "net.onnx").read_bytes()
    halves = onnx_halves(content)
    assert len(halves) < 0.65 * len(content)
    right, found = answer(content), answer(halves)
    assert 0 < np.abs(right - found).max() < 2e-3 * np.abs(right).max()


def test_small_constants_keep_every_bit(tmp_path):
    import onnx

    to_onnx(source(), tmp_path / "net.onnx")
    weights = onnx.load_from_string(onnx_halves((tmp_path / "net.onnx").read_bytes())).graph.initializer
    kinds = {weight.name: weight.data_type for weight in weights}
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in weights}
    assert {kinds[name] for name in kinds if sizes[name] < SMALL} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    assert {kinds[name] for name in kinds if sizes[name] >= SMALL} == {onnx.TensorProto.FLOAT16}


def test_a_weight_beyond_float16_is_refused_by_name(tmp_path):
    to_onnx(source(1e7), tmp_path / "net.onnx")
    with pytest.raises(ConversionError, match=r"weight 'network\.2\.weight' reaches .*, float16 ends at 65504"):
        onnx_halves((tmp_path / "net.onnx").read_bytes())


def test_tflite_is_half_as_large_and_answers_the_same():
    from ai_edge_litert.interpreter import Interpreter

    graph, _ = float_graph(source())
    halves = to_float(source(), tflite_halves(graph, "net"))
    right = to_float(source(), graph)
    assert len(halves) < 0.7 * len(right)
    assert "DEQUANTIZE" in operations(halves)
    picture = np.random.default_rng(0).integers(0, 255, (1, 24, 16, 3), np.uint8)
    answers = []
    for content in (right, halves):
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert 0 < np.abs(answers[0] - answers[1]).max() < 2e-3 * np.abs(answers[0]).max()
