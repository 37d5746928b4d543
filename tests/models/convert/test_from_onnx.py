from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
onnx = pytest.importorskip("onnx", reason="onnx is absent: install the extra convert")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is absent: install the extra onnx")

from common import geometry  # noqa: E402
from models.convert.from_onnx import import_onnx, load, reads  # noqa: E402
from models.convert.graph_source import check_batches  # noqa: E402
from models.convert.source import ConversionError, load_source  # noqa: E402
from tests.model_parts import expected, tiny_artifact, walking_person  # noqa: E402

pytestmark = pytest.mark.torch

node = onnx.helper.make_node


def constant(name: str, values: Any, kind: type = np.float32) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values, kind), name)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def write_network(
    path: Path, nodes: Sequence[Any], constants: Sequence[Any] = (), *, opset: int = 17, shape: Sequence[Any] = (1, 3, 6, 8)
) -> Path:
    """A graph from `x` to `y`."""
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        list(nodes), "made", [onnx.helper.make_tensor_value_info("x", kind, list(shape))],
        [onnx.helper.make_tensor_value_info("y", kind, None)], list(constants),
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def answer(path: Path, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return found


def run(module: Any, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = module(torch.from_numpy(batch)).numpy()
    return found


Made = tuple[Sequence[Any], Sequence[Any], int]
MADE: dict[str, Callable[[], Made]] = {
    "convolution, norm, relu": lambda: (
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"], epsilon=1e-3),
            node("Relu", ["n"], ["y"]),
        ],
        [constant("w", random(4, 3, 3, 3)), constant("scale", [1, 2, 3, 4]), constant("shift", [0, 1, 0, -1]),
         constant("mean", [0.1, 0.2, 0.3, 0.4]), constant("var", [1, 2, 1, 0.5])],
        17,
    ),
    "uneven padding": lambda: (
        [node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[0, 0, 1, 1])],
        [constant("w", random(4, 3, 3, 3)), constant("b", [1, 2, 3, 4])],
        17,
    ),
    "transposed, output padding, norm": lambda: (
        [
            node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
            node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["y"]),
        ],
        [constant("w", random(3, 2, 3, 3)), constant("scale", [1, 2]), constant("shift", [0, 1]), constant("mean", [0.1, 0.2]),
         constant("var", [1, 2])],
        17,
    ),
    "focus": lambda: (
        [
            node("Slice", ["x", "start", "end", "axes", "step"], ["a"]),
            node("Slice", ["x", "zero", "end", "axes", "step"], ["b"]),
            node("Concat", ["a", "b"], ["y"], axis=1),
        ],
        [constant("start", [0, 1], np.int64), constant("zero", [0, 0], np.int64), constant("end", [2**31, 2**31], np.int64),
         constant("axes", [2, 3], np.int64), constant("step", [2, 2], np.int64)],
        11,
    ),
    "nearest": lambda: (
        [node("Resize", ["x", "", "s"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric",
              nearest_mode="floor")],
        [constant("s", [1, 1, 2, 2])],
        13,
    ),
    "linear, half pixels": lambda: (
        [node("Resize", ["x", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel")],
        [constant("s", [1, 3, 12, 12], np.int64)],
        13,
    ),
    "linear, corners": lambda: (
        [node("Resize", ["x", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners")],
        [constant("s", [1, 3, 12, 16], np.int64)],
        13,
    ),
    "upsample of opset 9": lambda: ([node("Upsample", ["x", "s"], ["y"], mode="nearest")], [constant("s", [1, 1, 2, 2])], 9),
    "pools": lambda: (
        [
            node("MaxPool", ["x"], ["a"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
            node("AveragePool", ["a"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        ],
        [],
        17,
    ),
    "squeeze and excite": lambda: (
        [
            node("GlobalAveragePool", ["x"], ["g"]),
            node("HardSigmoid", ["g"], ["h"], alpha=1 / 6, beta=0.5),
            node("Mul", ["x", "h"], ["m"]),
            node("HardSwish", ["m"], ["y"]),
        ],
        [],
        14,
    ),
    "swish, clip, divide": lambda: (
        [
            node("Sigmoid", ["x"], ["s"]),
            node("Mul", ["x", "s"], ["m"]),
            node("Clip", ["m", "low", "high"], ["c"]),
            node("Div", ["c", "six"], ["d"]),
            node("Sub", ["six", "d"], ["y"]),
        ],
        [constant("low", 0), constant("high", 6), constant("six", 6)],
        17,
    ),
    "flatten and gemm": lambda: (
        [
            node("Flatten", ["x"], ["f"]),
            node("Gemm", ["f", "w", "b"], ["g"], transB=1),
            node("Softmax", ["g"], ["y"], axis=-1),
        ],
        [constant("w", random(5, 144) / 10), constant("b", [1, 2, 3, 4, 5])],
        17,
    ),
    "shape in the graph": lambda: (
        [
            node("Shape", ["x"], ["all"]),
            node("Gather", ["all", "first"], ["batch"], axis=0),
            node("Unsqueeze", ["batch", "zero"], ["b1"]),
            node("Concat", ["b1", "rest"], ["to"], axis=0),
            node("Reshape", ["x", "to"], ["r"]),
            node("Transpose", ["r"], ["y"], perm=[0, 2, 1]),
        ],
        [constant("first", 0, np.int64), constant("zero", [0], np.int64), constant("rest", [3, 48], np.int64)],
        13,
    ),
    "split, pad, squeeze": lambda: (
        [
            node("Split", ["x", "sizes"], ["a", "b"], axis=1),
            node("Pad", ["a", "pads"], ["p"]),
            node("ReduceMean", ["p"], ["m"], axes=[3], keepdims=1),
            node("Squeeze", ["m", "axis"], ["y"]),
        ],
        [constant("sizes", [2, 1], np.int64), constant("pads", [0, 0, 1, 0, 0, 0, 0, 2], np.int64),
         constant("axis", [3], np.int64)],
        13,
    ),
    "pixel shuffle": lambda: (
        [node("Conv", ["x", "w"], ["c"]), node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD")],
        [constant("w", random(8, 3, 1, 1))],
        13,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_operations_answer_as_in_onnx_runtime(name, tmp_path):
    nodes, constants, opset = MADE[name]()
    path = write_network(tmp_path / "network.onnx", nodes, constants, opset=opset)
    module, outputs = import_onnx(path, (8, 6))
    batch = random(1, 3, 6, 8)
    assert outputs == ("y",)
    np.testing.assert_allclose(run(module, batch), answer(path, batch), atol=1e-4)
    alone = np.concatenate([run(module, batch), run(module, -batch)])
    np.testing.assert_allclose(run(module, np.concatenate([batch, -batch])), alone, atol=1e-5)


def test_norms_are_folded_into_their_convolutions(tmp_path):
    nodes, constants, opset = MADE["transposed, output padding, norm"]()
    module, _ = import_onnx(write_network(tmp_path / "network.onnx", nodes, constants, opset=opset), (8, 6))
    assert [type(layer).__name__ for layer in module.children()] == ["ConvTranspose2d"]


@pytest.mark.kit
def test_yolox_answers_as_in_onnx_runtime_on_a_real_picture(kit):
    path = kit / "models" / "det" / "yolox_nano.onnx"
    source = load_source(path)
    assert (source.name, source.task, source.decoder, source.colour) == ("yolox-nano", "detect", "yolox", "bgr")
    pixels = geometry.letterbox(walking_person(), (416, 416)).pixels
    batch = np.ascontiguousarray(pixels[None].transpose(0, 3, 1, 2), np.float32)
    found = run(source.module, batch)
    right = answer(path, batch)
    np.testing.assert_allclose(found[..., 4:], right[..., 4:], atol=1e-4)  # objectness and classes
    np.testing.assert_allclose(found[..., :4], right[..., :4], atol=1e-3)  # boxes, in steps of 8 to 32 px: 0.03 px at most
    assert (found[0, :, 4] * found[0, :, 5]).max() > 0.5, "the network finds nobody: the comparison says nothing"


def test_a_tiny_network_takes_its_manifest_from_its_folder(tmp_path):
    folder = tiny_artifact(tmp_path / "tiny", "onnx").folder
    path = next(folder.glob("*.onnx"))
    assert reads(path)
    source = load(path, None)
    assert (source.name, source.mean, source.std) == ("tiny-onnx", (10.0, 20.0, 30.0), (2.0, 4.0, 5.0))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 4, 6, 3)).astype(np.uint8)
    planes = ((pixels.astype(np.float32) - source.mean) / source.std).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(run(source.module, planes), expected(pixels).transpose(0, 3, 1, 2), atol=1e-4)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Relu", ["x"], ["r"]), node("CumSum", ["r", "one"], ["y"], name="sum")], "node 'sum' is a CumSum, which cannot"),
        ([node("Softmax", ["x"], ["y"], axis=0, name="soft")], "node 'soft' normalises along the batch: networks must"),
        ([node("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3], name="turn")], "node 'turn' moves the batch axis: networks must"),
        (
            [node("Resize", ["x", "", "two"], ["y"], mode="linear", coordinate_transformation_mode="asymmetric", name="big")],
            r"node 'big': resizing \(6, 8\) to \(12, 16\) by 'linear' with coordinates 'asymmetric'",
        ),
    ],
)
def test_what_cannot_be_imported_is_named_with_its_node(nodes, words, tmp_path):
    constants = [constant("one", 1, np.int64), constant("two", [1, 1, 2, 2])]
    used = {name for entry in nodes for name in entry.input}
    path = write_network(tmp_path / "network.onnx", nodes, [c for c in constants if c.name in used])
    with pytest.raises(ConversionError, match=words):
        import_onnx(path, (8, 6))


def test_a_picture_of_another_size_than_the_graph_takes_is_refused(tmp_path):
    path = write_network(tmp_path / "network.onnx", [node("Relu", ["x"], ["y"])])
    words = r"input 'x' is \[1, 3, 6, 8\] \(0: free\), the manifest's picture is \[1, 3, 8, 8\]"
    with pytest.raises(ConversionError, match=words):
        import_onnx(path, (8, 8))
    free = write_network(tmp_path / "free.onnx", [node("Relu", ["x"], ["y"])], shape=("n", 3, "h", "w"))
    assert run(import_onnx(free, (8, 8))[0], random(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07garbage that is no protobuf")
    with pytest.raises(ConversionError, match=r"broken.onnx: is not an ONNX network that can be read"):
        import_onnx(path, (8, 6))


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_damaged_file_is_called_so_and_no_manifest_is_asked_for(content, tmp_path):
    """Without a manifest beside it: one would not help."""
    whole = write_network(tmp_path / "whole.onnx", *MADE["convolution, norm, relu"]()[:2]).read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: len(whole) // 2] if content else b"")
    with pytest.raises(ConversionError, match=r"cut.onnx: is not an ONNX network that can be read, or a damaged one") as raised:
        load(path, None)
    assert "manifest" not in str(raised.value)


def external(folder: Path, **changed: str) -> Path:
    """A network whose weights lie in weights.bin beside it."""
    path = write_network(folder / "network.onnx", [node("Conv", ["x", "w"], ["y"])], [constant("w", random(4, 3, 3, 3))])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = changed.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_a_second_file_are_read(tmp_path):
    path, batch = external(tmp_path), random(1, 3, 6, 8)
    np.testing.assert_allclose(run(import_onnx(path, (8, 6))[0], batch), answer(path, batch), atol=1e-4)


def test_a_second_file_that_is_missing_is_asked_for(tmp_path):
    path = external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    words = r"network.onnx: its weights lie in a second file that is missing; copy 'weights.bin' beside it"
    with pytest.raises(ConversionError, match=words):
        load(path, None)


def test_a_second_file_outside_the_folder_or_cut_short_is_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret").write_bytes(bytes(1000))
    with pytest.raises(ConversionError, match=r"its weights in a second file cannot be read: .*outside the directory"):
        import_onnx(external(tmp_path / "inner", location="../secret"), (8, 6))
    path = external(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(ConversionError, match=r"network.onnx: .*cannot be read"):
        import_onnx(path, (8, 6))


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Relu", ["gone"], ["y"], name="r")], r"node 'r' \(Relu\) takes 'gone', which nothing before it makes"),
        ([node("Relu", ["x"], ["z"])], "the network's output takes 'y', which nothing before it makes"),
        ([node("Concat", ["x"], ["y"], name="c")], r"node 'c' \(Concat\) does not fit its inputs: it lacks 'axis'"),
        ([node("Conv", ["x"], ["y"], name="c")], r"node 'c' \(Conv\) does not fit its inputs: list index out of range"),
        ([node("Relu", [""], ["y"], name="r")], r"node 'r' \(Relu\) does not fit its inputs: .*NoneType"),
        ([node("Gather", ["x"], ["y"], name="g")], r"node 'g' \(Gather\) does not fit its inputs: not enough values"),
        ([node("Conv", ["x", "w"], ["y"], name="c")], r"node 'c' \(Conv\) does not fit its inputs: Given groups=1, weight"),
    ],
)
def test_a_node_that_does_not_fit_the_graph_is_named_with_its_file(nodes, words, tmp_path):
    constants = [constant("w", random(4, 5, 3, 3))] if "w" in nodes[0].input else []
    with pytest.raises(ConversionError, match=rf"network.onnx: {words}"):
        import_onnx(write_network(tmp_path / "network.onnx", nodes, constants), (8, 6))


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (node("PRelu", ["x", "live"], ["y"], name="n"), "its slope"),
        (node("Clip", ["x", "", "number"], ["y"], name="n"), "its max"),
        (node("Clip", ["x", "number"], ["y"], name="n"), "its min"),
        (node("Pad", ["x", "pads", "number"], ["y"], name="n"), "its value"),
        (node("Conv", ["x", "w", "three"], ["y"], name="n"), "its bias"),
        (node("BatchNormalization", ["x", "three", "c", "c", "c"], ["y"], name="n"), "its scale"),
        (node("BatchNormalization", ["x", "c", "c", "three", "c"], ["y"], name="n"), "its mean"),
        (node("BatchNormalization", ["x", "c", "c", "c", "three"], ["y"], name="n"), "its variance"),
    ],
)
def test_what_the_picture_decides_is_never_frozen_to_the_examples_value(last, words, tmp_path):
    before = [
        node("GlobalAveragePool", ["x"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Squeeze", ["pooled", "spatial"], ["three"]),
        node("Relu", ["pooled"], ["live"]),
        node("ReduceMean", ["flat"], ["number"], axes=[1]),
    ]
    constants = [constant("spatial", [2, 3], np.int64), constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64),
                 constant("w", random(3, 3, 1, 1)), constant("c", [1, 2, 3])]  # fmt: skip
    path = write_network(tmp_path / "network.onnx", [*before, last], constants, opset=13)
    with pytest.raises(ConversionError, match=f"network.onnx: node 'n': {words} depends on the picture; a constant"):
        import_onnx(path, (8, 6))


@pytest.mark.parametrize("changed", [{"raw_data": b"xxx"}, {"data_type": 99}, {"dims": [4, 3, 3, 4]}])
def test_a_constant_that_is_damaged_is_named(changed, tmp_path):
    path = write_network(tmp_path / "network.onnx", [node("Conv", ["x", "w"], ["y"])], [constant("w", random(4, 3, 3, 3))])
    model = onnx.load(path)
    stored = model.graph.initializer[0]
    for key, value in changed.items():
        if key == "dims":
            stored.dims[:] = value
        else:
            setattr(stored, key, value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match=r"network.onnx: the constant 'w' of type \d+ and shape \[4, .*cannot be read"):
        import_onnx(path, (8, 6))


class Mixing(torch.nn.Module):
    """Answers depend on the other pictures of the batch."""

    def forward(self, x: Any) -> Any:
        return x - x.mean()


class OneOnly(torch.nn.Module):
    """Its shapes were exported for one picture."""

    def forward(self, x: Any) -> Any:
        return x.reshape(1, 144)


class Number(torch.nn.Module):
    """One number for the whole batch."""

    def forward(self, x: Any) -> Any:
        return x.mean()


class Narrow(torch.nn.Module):
    """Takes what is not there of its input."""

    def forward(self, x: Any) -> Any:
        return x.select(1, 5)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Mixing(), "gives other answers than its pictures alone"),
        (OneOnly(), "refuses a batch of two"),
        (Number(), "an output is a single number whatever the batch"),
        (Narrow(), "refuses a batch of two: select"),
    ],
)
def test_a_network_that_cannot_take_batches_is_refused_before_anything_is_converted(module, words):
    with pytest.raises(ConversionError, match=f"made: .*{words}"):
        check_batches(module, "made", (3, 6, 8))
