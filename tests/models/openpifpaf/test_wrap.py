"""Wrapping an exported OpenPifPaf. The real network cannot be had here: a small one takes its place, which gives the fields of
known people, moved to the right by as many cells as the mean of its normalised input says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from common.config import PoseSettings
from common.manifest import ModelError
from models.convert.source import ConversionError
from models.openpifpaf.exported import read_export
from models.openpifpaf.wrap import MEAN, STD, wrap
from services.pose.bottom_up import load_bottom_up
from tests.conftest import REPO
from tests.services.cifcaf_parts import fields, standing

WIDTH, HEIGHT, STRIDE = 321, 241, 8
BOXES = [(40, 30, 50, 170), (150, 50, 60, 150)]  # x, y, width, height
PEOPLE = [standing(*box) for box in BOXES]


def export(
    path: Path, *, layout: str = "0.13", change=lambda outputs: outputs, sized: bool = True, constants_as_inputs: bool = False
) -> Path:
    """An .onnx such as the exporter of OpenPifPaf leaves: `input_batch` (dynamic, 3, h, w), `cif` and `caf`.

    sized: whether it tells the outputs' sizes; constants_as_inputs: as OpenPifPaf 0.11 lists them.
    """
    outputs = change(fields(PEOPLE, width=WIDTH, height=HEIGHT, stride=STRIDE, layout=layout))
    nodes = [helper.make_node("ReduceMean", ["input_batch"], ["mean"], keepdims=0)]
    initializers, results = [], []
    for name, values in outputs.items():
        moves = np.zeros_like(values)
        first = 2 if layout == "0.13" else 1
        if values.ndim == 5:
            moves[:, :, first] = 1
            if values.shape[1] == 19:
                moves[:, :, first + 2] = 1
        initializers += [numpy_helper.from_array(values, f"{name}_base"), numpy_helper.from_array(moves, f"{name}_moves")]
        nodes += [
            helper.make_node("Mul", ["mean", f"{name}_moves"], [f"{name}_moved"]),
            helper.make_node("Add", [f"{name}_base", f"{name}_moved"], [name]),
        ]
        shape = list(values.shape) if sized else ["dynamic", *(f"{name}_{i}" for i in range(1, values.ndim))]
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    inputs = [helper.make_tensor_value_info("input_batch", TensorProto.FLOAT, ["dynamic", 3, HEIGHT, WIDTH])]
    if constants_as_inputs:
        inputs += [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, list(t.dims)) for t in initializers]
    graph = helper.make_graph(nodes, "pifpaf", inputs, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=3 if constants_as_inputs else 6)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def grey(value: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def assert_people(keypoints: np.ndarray, moved_px: float, scale: float = 1.0) -> None:
    assert len(keypoints) == len(PEOPLE)
    for person in PEOPLE:
        wanted = (person[:, :2] + (moved_px, 0)) * scale
        error = np.linalg.norm(keypoints[:, :, :2] - wanted, axis=2)
        assert error.max(axis=1).min() < 0.05


@pytest.mark.parametrize("layout", ["0.13", "0.12"])
def test_an_export_becomes_an_artifact_that_finds_the_people_where_they_are(tmp_path, layout):
    artifact = wrap(export(tmp_path / "Shuffle Net.onnx", layout=layout), tmp_path / "made")
    assert artifact.name == "shuffle-net"
    assert artifact.tasks == ("bottom_up",)
    assert {file.name for file in (tmp_path / "made").iterdir()} == {".conversion", "manifest.toml", "model.onnx"}
    estimator = load_bottom_up(PoseSettings(approach="bottom_up", model=str(tmp_path / "made")))
    # The normalisation is inside: a grey picture of 150 moves everybody by its normalised mean, in cells.
    mean = float(np.mean((150 - np.array(MEAN)) / np.array(STD)))
    boxes, scores, keypoints = estimator.estimate_frame(grey(150))
    assert_people(keypoints, mean * STRIDE)
    assert (scores > 0.5).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    estimator.close()


def test_a_larger_frame_comes_back_in_its_own_pixels(tmp_path):
    wrap(export(tmp_path / "a.onnx"), tmp_path / "made")
    estimator = load_bottom_up(PoseSettings(approach="bottom_up", model=str(tmp_path / "made"), runtime="onnx"))
    mean = float(np.mean((150 - np.array(MEAN)) / np.array(STD)))
    assert_people(estimator.estimate_frame(grey(150, 2 * WIDTH, 2 * HEIGHT))[2], mean * STRIDE, scale=2.0)
    estimator.close()


@pytest.mark.parametrize("odd", [{"sized": False}, {"constants_as_inputs": True}])
def test_what_older_and_newer_exporters_leave_is_read(tmp_path, odd):
    path = export(tmp_path / "a.onnx", layout="0.12", **odd)
    found = read_export(path)
    assert (found.width_px, found.height_px, found.stride, found.source) == (WIDTH, HEIGHT, STRIDE, "input_batch")
    wrap(path, tmp_path / "made")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda o: {**o, "cif": np.repeat(o["cif"], 8, axis=1)[:, :133]}, "'cif': 133 keypoints, those of wholebody; cocokp"),
        (lambda o: {**o, "caf": o["caf"][:, :13]}, "'caf': 13 associations; cocokp has 19"),
        (lambda o: {"cif": o["cif"]}, "output 'caf' is missing"),
        (lambda o: {**o, "tcaf": o["caf"]}, r"output 'tcaf': \(1, 19, 8, 31, 41\) is not known"),
        (lambda o: {**o, "caf": o["caf"][:, :, :7]}, "'caf': 7 values a cell; OpenPifPaf 0.11 to 0.13 gives 8 or 9"),
        (lambda o: {**o, "cif": o["cif"][:, :, 0]}, r"'cif': \(1, 17, 31, 41\), needed is \(1, 17, 5, height, width\)"),
        (lambda o: {**o, "cif": o["cif"][..., ::2]}, r"different grids: \(21, 31\) and \(41, 31\)"),
        (lambda o: {k: v[..., ::2, :] for k, v in o.items()}, "fields of 41x16 cells do not cover an input of 321x241"),
    ],
)
def test_other_networks_are_refused_with_the_differences_and_nothing_is_left(tmp_path, change, words):
    path = export(tmp_path / "other.onnx", change=change)
    with pytest.raises(ConversionError, match=words) as raised:
        wrap(path, tmp_path / "made")
    assert "other.onnx is no OpenPifPaf network that posebus can run" in str(raised.value)
    assert "openpifpaf.export_onnx" in str(raised.value)
    assert [file.name for file in tmp_path.iterdir()] == ["other.onnx"]


def test_all_differences_are_named_at_once(tmp_path):
    path = export(tmp_path / "a.onnx", change=lambda o: {"cif": o["cif"][:, :14], "caf": o["caf"][:, :16]})
    with pytest.raises(ConversionError, match="14 keypoints, those of crowdpose") as raised:
        read_export(path)
    assert "16 associations" in str(raised.value)


def test_files_that_are_no_network_are_refused(tmp_path):
    with pytest.raises(ConversionError, match=r"none\.onnx does not exist"):
        wrap(tmp_path / "none.onnx", tmp_path / "made")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ConversionError, match=r"text\.onnx is no valid ONNX file"):
        wrap(tmp_path / "text.onnx", tmp_path / "made")


def test_a_network_without_a_fixed_size_is_refused(tmp_path):
    model = onnx.load(export(tmp_path / "a.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(model, tmp_path / "free.onnx")
    with pytest.raises(ConversionError, match=r"\(any, 3, any, 321\) has no fixed size; export with --input-width"):
        read_export(tmp_path / "free.onnx")


def test_a_folder_with_other_things_is_not_touched(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "diary.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"diary\.txt"):
        wrap(export(tmp_path / "a.onnx"), tmp_path / "made")
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["diary.txt"]


def test_the_command_says_what_it_made_or_what_is_wrong(tmp_path):
    export(tmp_path / "a.onnx")
    command = [sys.executable, "-m", "models.openpifpaf.wrap", str(tmp_path / "a.onnx"), "--out", str(tmp_path / "made")]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "input 321x241" in done.stdout
    assert "approach: bottom_up" in done.stdout
    done = subprocess.run([*command[:3], "no.onnx", *command[4:]], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no.onnx does not exist" in done.stderr
