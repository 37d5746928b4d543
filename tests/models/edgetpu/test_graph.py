"""Reading .tflite files, whole and broken ones."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from common.manifest import ModelError
from models.edgetpu.graph import COMPILED_OP
from models.edgetpu.reader import read_model
from tests.models.edgetpu.build import Net


@pytest.fixture
def net() -> Net:
    made = Net()
    last = made.conv(made.input([1, 8, 8, 3]), 4, 3, 2, name="head/conv", fusedActivationFunction=3)
    made.concat(last, made.resize(made.pool(last), halfPixelCenters=True))
    return made


def test_operators_are_read_in_order_with_their_options(net: Net, tmp_path: Path) -> None:
    (graph,) = read_model(net.write(tmp_path / "m.tflite")).subgraphs
    assert [op.kind for op in graph.ops] == ["CONV_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "CONCATENATION"]
    conv, _, resize, _ = graph.ops
    assert (conv.options["padding"], conv.options["stride_w"], conv.options["dilation_h_factor"]) == ("SAME", 2, 1)
    assert (conv.version, conv.options["fused_activation_function"]) == (3, "RELU6")
    assert (resize.options["half_pixel_centers"], resize.options["align_corners"]) == (True, False)
    assert graph.name_of(conv) == "head/conv"


def test_tensors_carry_shape_type_scales_and_constants(net: Net, tmp_path: Path) -> None:
    (graph,) = read_model(net.write(tmp_path / "m.tflite")).subgraphs
    image, weights, bias = (graph.tensors[index] for index in graph.ops[0].inputs)
    assert (image.name, image.shape, image.dtype, image.constant) == ("image", (1, 8, 8, 3), "INT8", False)
    assert (image.scales, image.per_channel) == (pytest.approx((0.05,)), False)
    assert (weights.per_channel, len(weights.scales), weights.axis) == (True, 4, 0)
    values = bias.values()
    assert values is not None
    assert values.dtype == np.int32
    assert (weights.size_bytes, bias.size_bytes, weights.rank) == (4 * 3 * 3 * 3, 16, 4)


def test_the_wiring_is_known_both_ways(net: Net, tmp_path: Path) -> None:
    (graph,) = read_model(net.write(tmp_path / "m.tflite")).subgraphs
    made = graph.ops[0].outputs[0]
    assert graph.producer[made] == 0
    assert graph.consumers[made] == (1, 3)


def test_custom_operators_keep_their_name_and_size(tmp_path: Path) -> None:
    net = Net()
    net.op("CUSTOM", [net.input([1, 4])], [1, 2], custom=COMPILED_OP, custom_options=b"x" * 100)
    (op,) = read_model(net.write(tmp_path / "m.tflite")).subgraphs[0].ops
    assert (op.kind, op.label, op.custom_bytes) == ("CUSTOM", COMPILED_OP, 100)


@pytest.mark.parametrize(
    ("signature", "dynamic", "open_batch"),
    [(None, False, False), ([1, 8, 8, 3], False, False), ([-1, 8, 8, 3], False, True), ([1, -1, -1, 3], True, False)],
)
def test_sizes_known_only_at_run_time_are_seen(
    signature: list[int] | None, dynamic: bool, open_batch: bool, tmp_path: Path
) -> None:
    net = Net()
    net.conv(net.input([1, 8, 8, 3], signature=signature), 4)
    (graph,) = read_model(net.write(tmp_path / "m.tflite")).subgraphs
    assert (graph.tensors[0].dynamic, graph.tensors[0].open_batch) == (dynamic, open_batch)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"TFL", "bytes 4 to 8"),
        (b"PK\x03\x04" + b"\0" * 40, "looks like a zip archive"),
        (b"<html><body>404</body></html>", "looks like a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "looks like a Git LFS pointer"),
        (b"\x08\x08\x12\x04onnx" + b"\0" * 40, "looks like an ONNX model"),
        (b"\x1c\0\0\0TFL2" + b"\0" * 40, "b'TFL2', not b'TFL3'"),
    ],
)
def test_files_of_another_kind_are_refused_by_name(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"thing\.tflite") as caught:
        read_model(path)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.tflite cannot be read: No such file"):
        read_model(tmp_path / "gone.tflite")


def refusals(contents: list[bytes], path: Path) -> list[str]:
    """What is said of the contents that are refused; anything but ModelError fails the test."""
    said = []
    for content in contents:
        path.write_bytes(content)
        try:
            read_model(path)
        except ModelError as error:
            said.append(str(error))
    return said


def test_a_file_cut_short_is_refused_or_read_but_never_crashes(net: Net, tmp_path: Path) -> None:
    whole = net.bytes()
    contents = [whole[:length] for length in range(8, len(whole), 7)]
    said = refusals(contents, tmp_path / "cut.tflite")
    assert len(said) > len(contents) * 0.9
    assert all("cut.tflite" in text for text in said)


def test_damaged_bytes_are_refused_or_read_but_never_crash(net: Net, tmp_path: Path) -> None:
    numbers, contents = random.Random(3), []
    for _ in range(300):
        content = bytearray(net.bytes())
        for _ in range(4):
            content[numbers.randrange(8, len(content))] = numbers.randrange(256)
        contents.append(bytes(content))
    said = refusals(contents, tmp_path / "bad.tflite")
    assert len(said) > 50
    assert all("bad.tflite" in text for text in said)


def test_an_operator_that_reads_what_is_not_there_is_refused(net: Net, tmp_path: Path) -> None:
    net.ops[1].inputs = [999]
    with pytest.raises(ModelError, match="MAX_POOL_2D names tensor 999"):
        read_model(net.write(tmp_path / "m.tflite"))


def test_operators_out_of_order_are_refused(net: Net, tmp_path: Path) -> None:
    net.ops.reverse()
    with pytest.raises(ModelError, match="before it is made"):
        read_model(net.write(tmp_path / "m.tflite"))


@pytest.mark.parametrize("shape", [[1, 2**31 - 1, 2**31 - 1, 3], [2**31 - 1] * 40, [1, -7, 8, 3]])
def test_a_tensor_of_an_impossible_size_is_damage(net: Net, shape: list[int], tmp_path: Path) -> None:
    """The second one's estimates would leave the range of floats."""
    net.tensors[net.ops[1].outputs[0]].shape = shape
    with pytest.raises(ModelError, match=r"m\.tflite is damaged: tensor \d+ 't\d+' is .*; copy or convert it again"):
        read_model(net.write(tmp_path / "m.tflite"))


def test_a_tensor_as_large_as_there_can_be_is_read(net: Net, tmp_path: Path) -> None:
    net.tensors[net.ops[1].outputs[0]].shape = [1, 2**31 - 1, 1, 1]
    (graph,) = read_model(net.write(tmp_path / "m.tflite")).subgraphs
    assert graph.output(graph.ops[1]).size == 2**31 - 1


def test_real_networks_are_read(kit: Path) -> None:
    counts = {"coral/movenet_single_pose_lightning_ptq": 157, "det/yolox_nano_float16_quantize": 841,
              "det/yolox_nano_only_int8_quantize": 624}  # fmt: skip
    for name, count in counts.items():
        assert len(read_model(kit / "models" / f"{name}.tflite").subgraphs[0].ops) == count
