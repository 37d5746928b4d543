from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
openvino = pytest.importorskip("openvino", reason="OpenVINO is absent: install the extra openvino")

from common.artifact import find_artifact  # noqa: E402
from models.convert.from_openvino import import_openvino, load, reads  # noqa: E402
from models.convert.graph_simplify import ChannelShuffle  # noqa: E402
from models.convert.source import ConversionError, load_source  # noqa: E402
from services.pose.crops import crop_batch  # noqa: E402
from tests.model_parts import walking_person  # noqa: E402

pytestmark = pytest.mark.torch

NETWORKS = {
    "pp-tinypose-256x192": ("pose/pp_tinypose_256x192_fp16.xml", 1e-4),
    "pp-tinypose-128x96": ("pose/pp_tinypose_128x96_fp16.xml", 1e-4),
    "picodet-s-320": ("det/picodet_s_320_pedestrian_fp16.xml", 2e-3),  # its boxes are in pixels, up to 320
}


def answers(path: Path, batch: np.ndarray) -> dict[str, np.ndarray]:
    """What OpenVINO gives in float32 (left to itself it computes in bf16 where the processor can)."""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({0: batch})
    return {sorted(output.get_names())[0]: np.array(found[output]) for output in compiled.outputs}


def run(module: Any, batch: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        found = module(torch.from_numpy(batch))
    return [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.kit
@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_answer_as_in_openvino(name, kit):
    file, tolerance = NETWORKS[name]
    source = load(kit / "models" / file, None)
    batch = np.random.default_rng(0).normal(size=(1, 3, source.height_px, source.width_px)).astype(np.float32)
    expected = answers(kit / "models" / file, batch)
    for output, found in zip(source.outputs, run(source.module, batch), strict=True):
        np.testing.assert_allclose(found, expected[output], atol=tolerance)


@pytest.mark.kit
def test_a_pose_network_sees_a_real_person_as_openvino_does_in_batches_too(kit):
    path = kit / "models" / "pose" / "pp_tinypose_256x192_fp16.xml"
    source = load(path, None)
    artifact = find_artifact("pp-tinypose-256x192")
    image = walking_person()
    height, width = image.shape[:2]
    boxes = np.array([[0, 0, width, height], [width / 4, 0, width * 3 / 4, height]], np.float32)
    pixels = crop_batch(image, boxes, artifact.manifest).pixels
    batch = np.ascontiguousarray(((pixels - np.array(source.mean)) / source.std).transpose(0, 3, 1, 2), np.float32)
    (found,) = run(source.module, batch)
    for i in range(2):
        expected = answers(path, batch[i : i + 1])[source.outputs[0]]
        np.testing.assert_allclose(found[i : i + 1], expected, atol=1e-4)
    assert found.max() > 0.3, "the network finds nobody: the comparison says nothing"


@pytest.mark.kit
def test_an_imported_network_is_described_by_the_artifact_that_has_the_file(kit):
    source = load_source(kit / "models" / "pose" / "pp_tinypose_128x96_fp16.xml")
    assert (source.name, source.task, source.decoder) == ("pp-tinypose-128x96", "pose", "heatmaps")
    assert (source.width_px, source.height_px, source.colour, source.padding) == (96, 128, "rgb", 1.15)
    assert source.mean == (123.675, 116.28, 103.53)
    assert source.outputs == ("conv2d_441.tmp_1",), "the positions of the maxima are left out"
    assert source.licence == "Apache-2.0"


@pytest.mark.kit
def test_shuffles_and_biases_are_recognised(kit):
    module, _ = import_openvino(kit / "models" / "pose" / "pp_tinypose_256x192_fp16.xml", (192, 256))
    layers = list(module.children())
    assert sum(isinstance(layer, ChannelShuffle) for layer in layers) == 49
    assert all(layer.bias is not None for layer in layers if isinstance(layer, torch.nn.Conv2d))
    called = {node.target for node in module.graph.nodes if node.op == "call_function"}
    assert not called & {torch.reshape, torch.permute}


@pytest.mark.kit
def test_an_imported_network_can_be_exported(kit):
    source = load(kit / "models" / "pose" / "pp_tinypose_128x96_fp16.xml", None)
    example = torch.rand(2, 3, 128, 96)
    batch = torch.export.Dim("batch", min=1, max=8)
    exported = torch.export.export(source.module, (example,), dynamic_shapes=({0: batch},))
    assert torch.equal(exported.module()(example[:1]), source.module(example[:1]))


def write_network(folder: Path, make: Any, shape: tuple[int, ...] = (1, 3, 6, 8)) -> Path:
    """A network of OpenVINO's own operations; `make(ops, parameter)` gives its output."""
    ops = openvino.opset13
    parameter = ops.parameter(shape, np.float32, name="image")
    output = make(ops, parameter)
    path = folder / "network.xml"
    openvino.save_model(openvino.Model([output], [parameter], "made"), path, compress_to_fp16=False)
    return path


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def pool(ops: Any, kind: str, x: Any) -> Any:
    size = {"strides": [2, 2], "pads_begin": [0, 1], "pads_end": [1, 1], "kernel_shape": [3, 3], "rounding_type": "floor"}
    if kind == "max":
        return ops.max_pool(x, dilations=[1, 1], **size).output(0)
    return ops.avg_pool(x, exclude_pad=False, **size)


MADE: dict[str, Any] = {
    "uneven padding": lambda ops, x: ops.convolution(x, random(5, 3, 3, 3), [2, 2], [0, 0], [1, 1], [1, 1]),
    "dilated groups": lambda ops, x: ops.group_convolution(x, random(3, 2, 1, 3, 3), [1, 1], [2, 2], [2, 2], [2, 2]),
    "transposed": lambda ops, x: ops.convolution_backprop_data(
        x, random(3, 4, 4, 4), [2, 2], pads_begin=[1, 1], pads_end=[1, 1]
    ),
    "largest": lambda ops, x: pool(ops, "max", x),
    "average": lambda ops, x: pool(ops, "average", x),
    "clamp": lambda ops, x: ops.clamp(x, -0.5, 0.7),
    "hard swish": lambda ops, x: ops.hswish(ops.multiply(x, np.float32(4))),
    "squeeze and excite": lambda ops, x: ops.multiply(
        x, ops.hard_sigmoid(ops.reduce_mean(x, [2, 3], keep_dims=True), np.float32(0.2), np.float32(0.5))
    ),
    "parts": lambda ops, x: ops.concat(
        [ops.subtract(part, np.float32(1)) for part in ops.variadic_split(x, 1, [1, 2]).outputs()][::-1], 1
    ),
    "slice": lambda ops, x: ops.strided_slice(x, [0, 0, 1, 0], [0, 0, 6, 7], [1, 1, 2, 1], [1, 1, 0, 0], [1, 1, 0, 0]),
    "rows": lambda ops, x: ops.matmul(ops.reshape(ops.transpose(x, [0, 2, 3, 1]), [48, 3], False), random(3, 2), False, False),
    "softmax": lambda ops, x: ops.softmax(x, 1),
    "resize": lambda ops, x: ops.interpolate(x, [12, 16], "linear_onnx", "sizes", axes=[2, 3]),
}


@pytest.mark.parametrize("name", MADE)
def test_operations_answer_as_in_openvino(name, tmp_path):
    path = write_network(tmp_path, MADE[name])
    module, _ = import_openvino(path, (8, 6))
    batch = random(1, 3, 6, 8)
    (expected,) = answers_of_unnamed(path, batch)
    np.testing.assert_allclose(run(module, batch)[0], expected, atol=1e-4)
    both = np.concatenate([batch, -batch])
    alone = np.concatenate([run(module, batch)[0], run(module, -batch)[0]])
    np.testing.assert_allclose(run(module, both)[0], alone, atol=1e-5)


def answers_of_unnamed(path: Path, batch: np.ndarray) -> list[np.ndarray]:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({0: batch})
    return [np.array(found[output]) for output in compiled.outputs]


def test_an_operation_that_is_not_supported_is_named_with_its_node(tmp_path):
    path = write_network(tmp_path, lambda ops, x: ops.cum_sum(ops.relu(x), np.int64(1)))
    with pytest.raises(ConversionError, match=r"node 'CumSum_\d+' is a CumSum, which cannot be imported; supported are Add, "):
        import_openvino(path, (8, 6))


def test_a_step_that_mixes_the_pictures_of_a_batch_is_refused(tmp_path):
    path = write_network(tmp_path, lambda ops, x: ops.reduce_mean(x, [0, 1], keep_dims=True))
    with pytest.raises(ConversionError, match="reduces the batch: networks must treat each picture of a batch alike"):
        import_openvino(path, (8, 6))


def test_a_file_that_no_manifest_describes_is_refused_with_what_to_do(tmp_path):
    path = write_network(tmp_path, lambda ops, x: ops.relu(x))
    assert reads(path)
    with pytest.raises(ConversionError, match=r"put a manifest\.toml beside it, or name an artifact that has one"):
        load(path, None)
    with pytest.raises(ConversionError, match=r"'pp-tinypose' is not known; did you mean"):
        load(path, "pp-tinypose")
