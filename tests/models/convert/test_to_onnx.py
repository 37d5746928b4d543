from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from models.convert.graph import keypoints_of  # noqa: E402
from models.convert.source import ConversionError  # noqa: E402
from models.convert.to_onnx import OPSET, to_onnx  # noqa: E402
from services.pose.decode import DECODERS  # noqa: E402
from tests.models.convert.networks import MEAN, STD, Peaks, Shuffled, source  # noqa: E402

pytestmark = pytest.mark.torch


def pixels(batch: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, 128, 96, 3), np.uint8)


def run(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": image}), strict=True))


def right(module, image: np.ndarray) -> np.ndarray:
    x = ((image.astype(np.float32) - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_pixels_of_any_number_of_people_give_what_the_network_gives(tmp_path, batch):
    net = source(Shuffled())
    to_onnx(net, tmp_path / "a.onnx")
    found = run(tmp_path / "a.onnx", pixels(batch))
    assert list(found) == ["heatmaps"]
    np.testing.assert_allclose(found["heatmaps"], right(net.module, pixels(batch)), atol=1e-5)


def test_the_file_is_what_tensorrt_8_6_reads(tmp_path):
    to_onnx(source(Shuffled()), tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert OPSET <= 17
    (entry,) = model.graph.input
    assert entry.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    dims = entry.type.tensor_type.shape.dim
    assert dims[0].dim_param == "batch"
    assert [dim.dim_value for dim in dims[1:]] == [128, 96, 3]
    # uint8 may be cast and nothing else.
    assert [node.op_type for node in model.graph.node if "image" in node.input] == ["Cast"]
    assert [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim[1:]] == [17, 32, 24]


def test_nothing_of_this_machine_is_in_the_file(tmp_path):
    to_onnx(source(Shuffled()), tmp_path / "a.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parent).encode() not in content


def test_normalisation_and_colour_order_are_the_sources(tmp_path):
    class First(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    net = source(First(), outputs=("mean",))
    to_onnx(net, tmp_path / "a.onnx")
    image = np.broadcast_to(np.array([10, 100, 200], np.uint8), (1, 128, 96, 3))
    found = run(tmp_path / "a.onnx", np.ascontiguousarray(image))["mean"][0]
    np.testing.assert_allclose(found, (np.array([10, 100, 200]) - MEAN) / STD, rtol=1e-4)


def test_keypoints_decoded_in_the_graph_are_those_of_the_service(tmp_path):
    net = source(Peaks())
    to_onnx(net, tmp_path / "maps.onnx")
    to_onnx(net, tmp_path / "points.onnx", decode=True)
    image = pixels(3)
    boxes = np.tile(np.array([0, 0, 96, 128], np.float32), (3, 1))
    expected = DECODERS["heatmaps_quarter"](run(tmp_path / "maps.onnx", image), (96, 128), boxes)
    found = run(tmp_path / "points.onnx", image)
    assert list(found) == ["keypoints"]
    np.testing.assert_allclose(found["keypoints"], expected, atol=1e-3)
    np.testing.assert_allclose(DECODERS["keypoints"](found, (96, 128), boxes), expected, atol=1e-3)


def test_the_graphs_decoder_equals_the_services_for_any_map():
    """Peaks in corners, on borders, equal neighbours, nothing above zero."""
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 1, (8, 17, 8, 6)).astype(np.float32)
    maps[0, 0], maps[0, 1] = -1, 0
    for i, (y, x) in enumerate([(0, 0), (7, 5), (0, 3), (4, 0), (1, 1), (2, 2), (6, 4), (7, 2)]):
        maps[1, i, y, x] = 9
    maps[2] = np.round(maps[2])
    boxes = np.zeros((8, 4), np.float32)
    expected = DECODERS["heatmaps_quarter"]({"heatmaps": maps}, (24, 32), boxes)
    np.testing.assert_allclose(keypoints_of(torch.from_numpy(maps), (24, 32)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("changed", [{"task": "detect"}, {"decoder": "heatmaps_udp"}, {"outputs": ("a", "b")}])
def test_only_plain_heatmaps_can_be_decoded_in_the_graph(tmp_path, changed):
    with pytest.raises(ConversionError, match="leave --decode out"):
        to_onnx(replace(source(Peaks()), **changed), tmp_path / "a.onnx", decode=True)


def test_a_network_that_mixes_up_the_batch_is_refused(tmp_path):
    class Mixed(torch.nn.Module):
        def forward(self, x):
            return x.mean((0, 2, 3), keepdim=True)

    with pytest.raises(ConversionError, match="its first axis must be the batch"):
        to_onnx(source(Mixed()), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_network_that_cannot_be_exported_says_why(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x[:, 0, :2, :2]).real

    with pytest.raises(ConversionError, match=r"tiny: export to ONNX failed: .*linalg_eig"):
        to_onnx(source(Odd()), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []
