"""`posebus models check`, as people run it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest

from models.edgetpu.graph import COMPILED_OP
from models.tensorrt import rtx
from tests.models.edgetpu.build import Net
from tests.models.edgetpu.test_compiler import REFUSED, stand_in
from tests.models.edgetpu.test_placement import broken_in_the_middle, mnist, simple_baseline
from tests.models.tensorrt.build import Net as OnnxNet
from tests.posebus.conftest import Command


@pytest.fixture(autouse=True)
def _no_compiler_and_wide_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "240")


def test_a_fully_placed_network_ends_with_0(posebus: Command, tmp_path: Path) -> None:
    done = posebus("models", "check", "--target", "edgetpu", mnist(True).write(tmp_path / "digits.tflite"))
    assert done.code == 0, done.err
    assert "8 of 8 operators on the Edge TPU" in done.out
    assert "all fit on the chip" in done.out
    assert "never measured" in done.out


def test_where_nothing_is_placed_nothing_is_said_of_parameters_on_the_chip(posebus: Command, tmp_path: Path) -> None:
    net = Net()
    net.unary("RELU", net.input([1, 8, 8, 4], "FLOAT32"), "FLOAT32")
    done = posebus("models", "check", "--target", "edgetpu", net.write(tmp_path / "float.tflite"))
    assert done.code == 1
    assert "0 of 1 operators on the Edge TPU" in done.out
    assert "fit on the chip" not in done.out
    assert "MiB" not in done.out


def test_one_that_is_cut_ends_with_1_and_names_the_culprit(posebus: Command, tmp_path: Path) -> None:
    done = posebus("models", "check", "--target", "edgetpu", broken_in_the_middle().write(tmp_path / "cut.tflite"))
    assert done.code == 1
    assert "first to fall off: 2 LEAKY_RELU" in done.out
    assert "use RELU or PRELU" in done.out
    assert "3 of 5 operators" in done.out


def test_with_all_runs_more_is_placed(posebus: Command, tmp_path: Path) -> None:
    path = broken_in_the_middle().write(tmp_path / "cut.tflite")
    assert "4 of 5 operators" in posebus("models", "check", "--target", "edgetpu", path, "--all-runs").out


def test_transposed_convolutions_are_named_with_the_command_that_rewrites_them(posebus: Command, tmp_path: Path) -> None:
    done = posebus("models", "check", "--target", "edgetpu", simple_baseline().write(tmp_path / "pose.tflite"))
    for number in (1, 2, 3):
        assert f"TRANSPOSE_CONV head/deconv{number}" in done.out
    assert "not to be relied on" in done.out
    assert "posebus models convert" in done.out
    assert "--target edgetpu" in done.out


def test_limits_without_a_number_are_noted(posebus: Command, tmp_path: Path) -> None:
    done = posebus("models", "check", "--target", "edgetpu", mnist(True).write(tmp_path / "digits.tflite"))
    assert "note on 1 operator(s): certain reshapes of large tensors" in done.out


def test_every_operator_is_shown_when_asked_for(posebus: Command, tmp_path: Path) -> None:
    path = mnist(True).write(tmp_path / "digits.tflite")
    assert "t5" not in posebus("models", "check", "--target", "edgetpu", path).out
    assert posebus("models", "check", "--target", "edgetpu", path, "--ops").out.count("CONV_2D") == 3


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x1c\0\0\0TFL3" + b"\xff" * 40])
def test_a_bad_file_ends_with_2_and_one_line(posebus: Command, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    done = posebus("models", "check", "--target", "edgetpu", path)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert "bad.tflite" in done.err


def test_json_goes_to_a_file_or_alone_to_stdout(posebus: Command, tmp_path: Path) -> None:
    path = mnist(False).write(tmp_path / "digits.tflite")
    alone = posebus("models", "check", "--target", "edgetpu", path, "--json", "-")
    data = json.loads(alone.out)
    assert (data["placed"], data["total"], data["fully_placed"]) == (8, 10, False)
    assert data["first_off"]["op"] == "QUANTIZE"
    assert [op["op"] for op in data["ops"]][:2] == ["QUANTIZE", "CONV_2D"]
    assert data["latency_ms"]["low"] < data["latency_ms"]["estimate"] < data["latency_ms"]["high"]
    assert data["compiler"] is None
    posebus("models", "check", "--target", "edgetpu", path, "--json", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == data


def test_the_graph_is_drawn(posebus: Command, tmp_path: Path) -> None:
    path = broken_in_the_middle().write(tmp_path / "cut.tflite")
    posebus("models", "check", "--target", "edgetpu", path, "--svg", tmp_path / "g.svg", "--png", tmp_path / "g.png")
    assert ElementTree.parse(tmp_path / "g.svg").getroot().tag.endswith("svg")
    picture = cv2.imread(str(tmp_path / "g.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 400


def test_a_picture_that_cannot_be_written_is_named(posebus: Command, tmp_path: Path) -> None:
    path = mnist(True).write(tmp_path / "digits.tflite")
    done = posebus("models", "check", "--target", "edgetpu", path, "--svg", tmp_path / "no" / "g.svg")
    assert done.code == 2
    assert "g.svg cannot be written" in done.err


def test_a_compiled_pair_is_compared(posebus: Command, kit: Path) -> None:
    folder = kit / "models" / "coral"
    model, twin = (folder / f"movenet_single_pose_lightning_ptq{end}.tflite" for end in ("", "_edgetpu"))
    done = posebus("models", "check", "--target", "edgetpu", model, "--against", twin)
    assert done.code == 1
    assert "the network is cut at: 89 ARG_MAX" in done.out
    assert "the prediction is what the compiler did" in done.out
    other = posebus("models", "check", "--target", "edgetpu", twin, "--against", model, "--json", "-")
    assert json.loads(other.out)["differences"]


def test_the_compiler_is_run_where_it_is_on_the_path(posebus: Command, tmp_path: Path) -> None:
    text = (
        "Edge TPU Compiler version 16.0.384591198\n\nModel compiled successfully in 3 ms.\nTotal number of operations: 5\n\n"
        "CONV_2D  2  Mapped to Edge TPU\nCONV_2D  2  More than one subgraph is not supported\n"
        "LEAKY_RELU  1  Operation not supported\n"
    )
    stand_in(tmp_path, text)
    path = broken_in_the_middle().write(tmp_path / "cut.tflite")
    done = posebus("models", "check", "--target", "edgetpu", path)
    assert "edgetpu_compiler 16.0.384591198: 2 of 5 operators mapped" in done.out
    assert "prediction and compiler differ" in done.out
    data = json.loads(posebus("models", "check", "--target", "edgetpu", path, "--json", "-").out)
    assert data["compiler"]["placed"] == 2
    assert data["differences"][0]["kind"] == "CONV_2D"
    without = posebus("models", "check", "--target", "edgetpu", path, "--no-compiler")
    assert "edgetpu_compiler" not in without.out


def test_the_compilers_word_counts_where_it_ran(posebus: Command, tmp_path: Path) -> None:
    """A newer compiler that maps everything: what was predicted is named as wrong, and the command ends with 0."""
    whole = Net()
    whole.op("CUSTOM", [whole.input([1, 8, 8, 4])], [1, 8, 8, 8], custom=COMPILED_OP, name="all", custom_options=b"x" * 64)
    text = "Edge TPU Compiler version 17.0\nModel compiled successfully in 3 ms.\nTotal number of operations: 5\n"
    table = "CONV_2D  4  Mapped to Edge TPU\nLEAKY_RELU  1  Mapped to Edge TPU\n"
    path = broken_in_the_middle().write(tmp_path / "cut.tflite")
    stand_in(tmp_path, text + table, whole.write(tmp_path / "made.tflite"))
    done = posebus("models", "check", "--target", "edgetpu", path)
    assert done.code == 0
    assert "prediction and compiler differ" in done.out
    stand_in(tmp_path, text + table)  # it says so, but makes no file
    done = posebus("models", "check", "--target", "edgetpu", path)
    assert done.code == 1
    assert "exit code 0" in done.out


def test_a_compiler_that_refuses_is_told(posebus: Command, tmp_path: Path) -> None:
    stand_in(tmp_path, REFUSED, code=1)
    net = Net()
    net.transposed(net.input([1, 4, 4, 3]), 4, version=4)
    done = posebus("models", "check", "--target", "edgetpu", net.write(tmp_path / "new.tflite"))
    assert done.code == 1
    assert "the compiler would refuse this file" in done.out
    assert "Didn't find op for builtin opcode" in done.out
    assert "posebus models convert" in done.out


def onnx_net() -> OnnxNet:
    net = OnnxNet([1, 3, 16, 16])
    net.node("Relu", net.conv(net.input, 4, 3))
    return net


def test_an_onnx_network_is_checked_for_tensorrt(
    posebus: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtx, "PACKAGE", "tensorrt_that_is_not_there")
    done = posebus("models", "check", "--target", "tensorrt", onnx_net().write(tmp_path / "good.onnx"))
    assert done.code == 0, done.err
    assert "no error found" in done.out
    assert "skipped" in done.out
    assert "pip install posebus[tensorrt-check]" in done.out


def test_one_that_needs_a_plugin_ends_with_1(posebus: Command, tmp_path: Path) -> None:
    net = onnx_net()
    net.node("Fancy", net.nodes[-1].output[0], name="mine", domain="my.ops")
    path = net.write(tmp_path / "plugin.onnx")
    done = posebus("models", "check", "--target", "tensorrt", path, "--no-compiler")
    assert done.code == 1
    assert "Fancy 'mine'" in done.out
    data = json.loads(posebus("models", "check", "--target", "tensorrt", path, "--no-compiler", "--json", "-").out)
    assert (data["good"], data["findings"][0]["level"]) == (False, "error")


def test_wrong_pairs_of_target_and_file_are_told(posebus: Command, tmp_path: Path) -> None:
    path = mnist(True).write(tmp_path / "digits.tflite")
    done = posebus("models", "check", "--target", "tensorrt", path)
    assert (done.code, "give an .onnx file" in done.err) == (2, True)
    done = posebus("models", "check", "--target", "edgetpu", onnx_net().write(tmp_path / "good.onnx"))
    assert (done.code, "give a .tflite file" in done.err) == (2, True)
    done = posebus("models", "check", "--target", "tensorrt", path, "--svg", tmp_path / "x.svg")
    assert (done.code, "--svg" in done.err) == (2, True)
