from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from models.convert import tflite_io  # noqa: E402
from models.convert.data import network_pictures  # noqa: E402
from models.convert.publish import manifest_text  # noqa: E402
from models.convert.samples import RENDERED, load_samples  # noqa: E402
from models.convert.source import ConversionError  # noqa: E402
from models.convert.to_tflite import float_graph, to_dynamic, to_float, to_int8  # noqa: E402
from tests.models.convert.networks import MEAN, STD, Peaks, source  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def peaks():
    return source(Peaks())


@pytest.fixture(scope="module")
def graph(peaks) -> bytes:
    return float_graph(peaks)[0]


@pytest.fixture(scope="module")
def pictures(peaks, tmp_path_factory) -> list[np.ndarray]:
    """Crops of the rendered person, as the network sees them."""
    from common.artifact import read_artifact

    folder = tmp_path_factory.mktemp("artifact")
    (folder / "manifest.toml").write_text(manifest_text(peaks, [], [], decoder=peaks.decoder))
    return network_pictures(read_artifact(folder), load_samples(RENDERED, 16))


def run(content: bytes, picture: np.ndarray) -> np.ndarray:
    """Heatmaps (17, h, w) of one uint8 picture; dequantised."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (entry,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    values = picture[None] if entry["dtype"] == np.uint8 else (picture[None].astype(np.int16) - 128).astype(np.int8)
    interpreter.set_tensor(entry["index"], values)
    interpreter.invoke()
    found = interpreter.get_tensor(answer["index"])
    scale, zero = answer["quantization"]
    found = (found.astype(np.float32) - zero) * scale if scale else found
    return found[0].transpose(2, 0, 1)


def right(network, picture: np.ndarray) -> np.ndarray:
    x = (picture.astype(np.float32) - MEAN) / STD
    with torch.no_grad():
        return network.module(torch.from_numpy(x.astype(np.float32)).permute(2, 0, 1)[None]).numpy()[0]


def test_the_float_file_takes_pixels_and_equals_the_network(peaks, graph, pictures):
    content = to_float(peaks, graph)
    (entry,) = Interpreter(model_content=content).get_input_details()
    assert (entry["name"], entry["dtype"], entry["shape"].tolist()) == ("image", np.uint8, [1, 128, 96, 3])
    for picture in pictures[:3]:
        np.testing.assert_allclose(run(content, picture), right(peaks, picture), atol=1e-5)


def test_no_transposes_are_left(peaks, graph):
    assert "TRANSPOSE" not in tflite_io.operations(to_float(peaks, graph))


@pytest.mark.parametrize(("integers", "dtype", "zero"), [("int8", np.int8, -128), ("uint8", np.uint8, 0)])
def test_int8_takes_and_gives_integers_and_a_pixel_is_its_own_number(peaks, graph, pictures, integers, dtype, zero):
    content, _ = to_int8(peaks, graph, pictures, integers=integers)
    interpreter = Interpreter(model_content=content)
    (entry,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (entry["name"], entry["dtype"], entry["quantization"]) == ("image", dtype, (1.0, zero))
    assert (answer["name"], answer["dtype"]) == ("heatmaps", dtype)
    types = {detail["dtype"] for detail in interpreter.get_tensor_details()}
    assert not types & {np.float32, np.float16}, "all of it is integers"
    for picture in pictures[:3]:
        np.testing.assert_allclose(run(content, picture), right(peaks, picture), atol=0.06)  # of 0..1


def test_both_kinds_of_integers_give_the_same_numbers(peaks, graph, pictures):
    answers = [run(to_int8(peaks, graph, pictures, integers=kind)[0], pictures[0]) for kind in ("int8", "uint8")]
    np.testing.assert_array_equal(*answers)


def test_dynamic_range_has_int8_weights_and_float_outputs(peaks, graph, pictures):
    content = to_dynamic(peaks, graph)
    interpreter = Interpreter(model_content=content)
    assert interpreter.get_input_details()[0]["dtype"] == np.uint8
    assert interpreter.get_output_details()[0]["dtype"] == np.float32
    assert any(detail["dtype"] == np.int8 for detail in interpreter.get_tensor_details())
    assert len(content) < len(to_float(peaks, graph))
    np.testing.assert_allclose(run(content, pictures[0]), right(peaks, pictures[0]), atol=0.06)


def test_the_range_of_outputs_is_that_of_all_pictures(peaks, graph, pictures):
    """An average over pictures would cut the highest peaks, and cut peaks have no maximum."""
    highest = max(right(peaks, picture).max() for picture in pictures)
    (answer,) = Interpreter(model_content=to_int8(peaks, graph, pictures)[0]).get_output_details()
    scale, zero = answer["quantization"]
    assert (127 - zero) * scale >= highest - scale


def test_int8_without_pictures_is_refused(peaks, graph):
    with pytest.raises(ConversionError, match="needs pictures to calibrate with; give --calibration"):
        to_int8(peaks, graph, [])


def test_weights_lie_at_multiples_of_16_bytes(peaks, graph):
    from ai_edge_litert import schema_py_generated as schema

    content = to_dynamic(peaks, graph)
    model = schema.Model.GetRootAs(content, 0)
    whole = np.frombuffer(content, np.uint8)
    starts = []
    for i in range(model.BuffersLength()):
        data = model.Buffers(i).DataAsNumpy()
        if isinstance(data, np.ndarray) and data.size:
            starts.append(data.__array_interface__["data"][0] - whole.__array_interface__["data"][0])
        assert model.Buffers(i).Offset() <= 1, "nothing lies behind the flatbuffer"
    assert len(starts) > 5
    assert {start % 16 for start in starts} == {0}


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 64])
def test_what_is_no_tflite_file_is_refused(content):
    with pytest.raises(ConversionError, match="not a TFLite file"):
        tflite_io.read(content)


def test_names_must_be_as_many_as_outputs(graph):
    with pytest.raises(ConversionError, match="has 1 outputs, expected a, b"):
        tflite_io.set_io(graph, ["image"], ["a", "b"])


class Uneven(torch.nn.Module):
    """One channel a hundred times weaker than the others, which the next layer makes good again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Conv2d(3, 8, 3, 4, 1), torch.nn.Conv2d(8, 17, 3, 1, 1)
        self.act = torch.nn.ReLU()
        scale = torch.ones(8)
        scale[:4] = 0.002
        with torch.no_grad():
            self.first.weight *= scale.reshape(-1, 1, 1, 1)
            self.first.bias *= scale
            self.second.weight /= scale.reshape(1, -1, 1, 1)

    def forward(self, x):
        return self.second(self.act(self.first(x)))


def test_channels_are_equalised_on_the_calibration_pictures_without_changing_the_float_network(pictures):
    net = source(Uneven())
    noise = []
    for given in ((), pictures):
        graph, lines = float_graph(net, pictures=given)
        assert any("equalised on the calibration pictures" in line for line in lines) == bool(given)
        np.testing.assert_allclose(run(to_float(net, graph), pictures[0]), right(net, pictures[0]), atol=1e-4, rtol=1e-4)
        answer = run(to_int8(net, graph, pictures)[0], pictures[0])
        noise.append(float(np.abs(answer - right(net, pictures[0])).mean()))
    assert noise[1] < noise[0] / 3
