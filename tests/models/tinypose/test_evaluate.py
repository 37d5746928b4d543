"""The evaluation command from end to end, on made-up people that the runtime `fake` finds."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from models.evaluation import official
from models.evaluation.coco import read_coco
from models.evaluation.lsp import read_lsp
from models.evaluation.scores import score_keypoints
from models.evaluation.variants import Variant, chosen
from models.tinypose.evaluate import compare_precisions, estimate_all, evaluate, main
from services.pose.estimate import PoseEstimator
from tests.models.evaluation import folders
from tests.models.evaluation.folders import BOXES, annotation, content


@pytest.fixture
def folder(tmp_path):
    return folders.people(tmp_path / "set")


def numbers(folder, *more: str) -> dict:
    file = folder.parent / "numbers.json"
    assert main(["--coco", str(folder), "--models", "fake-person", "--json", str(file), "--threads", "1", *more]) == 0
    return json.loads(file.read_text())


def test_a_network_that_is_right_has_one(folder, capsys):
    rows = numbers(folder)
    assert list(rows) == ["fake-person"]
    row = rows["fake-person"]
    assert row["ap_tilde"] == 1
    assert row["oks"] > 0.95, "the crop's pixels are all that is lost"
    assert (row["n"], row["n_timed"]) == (2, 2)
    assert row["ms"] > 0
    assert row["ms_person"] >= row["ms"]
    assert row["by_posture"] == {"upright": {**row["by_posture"]["upright"], "n": 2, "ap_tilde": 1}}
    assert row["by_size"]["small"]["ap_tilde"] is None
    assert row["ap_own"] == 1
    shown = capsys.readouterr().out
    assert "2 people with a labelled keypoint in 2 pictures" in shown
    assert "| fake-person | fake float32 | 1.000 |" in shown


def test_official_ap_is_there_where_the_official_code_is(folder, capsys):
    row = numbers(folder)["fake-person"]
    if official.version() is None:
        assert (row["ap"], row["ap_by"]) == (None, None)
        assert "pycocotools is not installed" in capsys.readouterr().out
    else:
        assert (row["ap"], row["ap50"], row["ap_by"]) == (1, 1, f"pycocotools {official.version()}")


def test_without_the_official_code_ap_is_null(folder, monkeypatch):
    monkeypatch.setattr(official, "version", lambda: None)
    row = numbers(folder)["fake-person"]
    assert (row["ap"], row["ap_own"]) == (None, 1)


def test_a_person_is_ranked_by_the_mean_score_of_the_keypoints(folder):
    keypoints = np.zeros((2, 17, 3), np.float32)
    keypoints[0, 0, 2], keypoints[1, :, 2] = 1, 0.5
    estimator = SimpleNamespace(estimate=lambda image, boxes: keypoints)
    found = estimate_all(estimator, read_coco(folder).pictures)
    assert found[0].scores.tolist() == pytest.approx([1 / 17, 0.5])
    assert found[1].values.shape == (0, 17, 3), "nobody is in the second picture"


def test_labels_that_are_elsewhere_cost_what_the_formula_says(folder):
    moved = annotation(1, BOXES[0])
    moved["keypoints"] = [v + 12 if i % 3 == 0 else v for i, v in enumerate(moved["keypoints"])]
    folders.write(folder, content([moved, annotation(2, BOXES[1], posture="lying")]))
    row = numbers(folder)["fake-person"]
    first = read_coco(folder).pictures[0]
    expected = first.keypoints[:1].copy()
    expected[:, :, 0] -= 12
    wanted = score_keypoints(expected, first.keypoints[:1], first.areas[:1]).people
    assert 0.2 < wanted.oks < 0.8
    assert row["by_posture"]["upright"]["oks"] == pytest.approx(wanted.oks, abs=0.05)
    assert row["by_posture"]["lying"]["ap_tilde"] == 1
    assert row["oks"] == pytest.approx((row["by_posture"]["upright"]["oks"] + row["by_posture"]["lying"]["oks"]) / 2, abs=1e-4)


def test_what_a_further_file_loses_is_measured_on_the_same_people():
    artifact = chosen(["fake-person"], (), "pose")[0][0].artifact
    both = [Variant(key, artifact, "fake", "float32", "fake") for key in ("net", "net:int8")]
    rows = {"net": {"ap_tilde": 0.8}, "net:int8": {"ap_tilde": 0.7}}
    values = {"net": np.array([0.9, 0.8, np.nan]), "net:int8": np.array([0.8, 0.5, np.nan])}
    compare_precisions(rows, values, both, seed=0)
    assert rows["net:int8"]["oks_lost"] == pytest.approx(0.2)
    assert rows["net:int8"]["oks_lost_95"] == pytest.approx([0.1, 0.3])
    assert rows["net:int8"]["ap_tilde_lost"] == pytest.approx(0.1)
    assert "oks_lost" not in rows["net"]


def test_what_the_default_loses_is_measured_where_it_is_the_coarser_file():
    """As our own networks come: int8 first."""
    artifact = chosen(["fake-person"], (), "pose")[0][0].artifact
    kinds = {"net": "int8", "net:float16": "float16", "net:float16:onnx": "float16"}
    files = [Variant(key, artifact, "fake", precision, "fake") for key, precision in kinds.items()]
    rows = {"net": {"ap_tilde": 0.7}, "net:float16": {"ap_tilde": 0.8}, "net:float16:onnx": {"ap_tilde": 0.8}}
    values = {"net": np.array([0.8, 0.5]), "net:float16": np.array([0.9, 0.8]), "net:float16:onnx": np.array([0.9, 0.8])}
    compare_precisions(rows, values, files, seed=0)
    assert (rows["net"]["oks_lost"], rows["net"]["ap_tilde_lost"]) == pytest.approx((0.2, 0.1))
    assert "oks_lost" not in rows["net:float16"]
    assert rows["net:float16:onnx"]["oks_lost"] == 0


BROKEN = {
    "no folder": (lambda folder: str(folder / "absent"), "has no folder annotations/"),
    "nobody": (lambda folder: str(folders.write(folder, content([]))), "nobody has a labelled keypoint"),
    "no JSON": (lambda folder: str(folders.write(folder, "{")), "cannot be read as JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_wrong_data_is_a_line_and_code_2(folder, case, capsys):
    make, message = BROKEN[case]
    assert main(["--coco", make(folder), "--models", "fake-person"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")


def test_a_picture_that_is_broken_is_a_line_and_code_2(folder, capsys):
    (folder / "images" / "a.png").write_bytes(b"no picture")
    assert main(["--coco", str(folder), "--models", "fake-person"]) == 2
    assert "a.png: cannot be read as a picture" in capsys.readouterr().err


def test_an_unknown_model_and_a_missing_kit_are_a_line_and_code_2(folder, tmp_path, capsys):
    assert main(["--coco", str(folder), "--models", "tinypsoe"]) == 2
    assert "'tinypsoe' is not known" in capsys.readouterr().err
    assert main(["--kit", str(tmp_path / "absent"), "--models", "fake-person"]) == 2
    assert "give data with --coco DIR" in capsys.readouterr().err


@pytest.mark.kit
def test_the_kit_is_evaluated_with_lsp(kit):
    data = kit / "data"
    people = read_coco(data / "coco-mini", split="val2017")
    assert people.labelled == 68
    lsp = read_lsp(data / "lspet" / "val.zip", data / "lspet" / "labels.npz")
    few = type(lsp)(lsp.name, lsp.pictures[:20])
    variant = chosen(["fake-person"], (), "pose")[0][0]
    estimator = PoseEstimator(variant.load("pose", 1), variant.artifact)
    row, values = evaluate(estimator, type(people)(people.name, people.pictures[:12]), few, seed=0)
    estimator.close()
    assert row["n"] == len(values) > 0
    assert 0 < row["lsp"]["n"] <= 20
    assert sum(each["n"] for each in row["lsp"]["by_posture"].values()) == row["lsp"]["n"]
    json.dumps(row, allow_nan=False)
