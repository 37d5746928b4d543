"""The evaluation command from end to end, on made-up people that the runtime `fake` finds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from common.config import DetectorSettings
from models.evaluation import official
from models.evaluation.coco import read_coco
from models.evaluation.coco_ap import Found
from models.tinydet.evaluate import ap50_interval, box_scores, main, match_all, recall_by_posture
from tests.models.evaluation import folders
from tests.models.evaluation.folders import BOXES, annotation, content


@pytest.fixture
def folder(tmp_path):
    return folders.people(tmp_path / "set")


def numbers(folder, *more: str) -> dict:
    file = folder.parent / "numbers.json"
    assert main(["--coco", str(folder), "--models", "fake-person", "--json", str(file), "--threads", "1", *more]) == 0
    return json.loads(file.read_text())["fake-person"]


def test_a_network_that_is_right_has_one(folder, capsys):
    row = numbers(folder)
    assert (row["ap50"], row["n"], row["n_timed"]) == (1, 2, 2)
    assert row["ap"] > 0.8, "edges are found to a pixel of the network's input"
    assert row["ap50_95"] == [1, 1]
    assert row["ms_frame"] >= row["ms"] > 0
    assert row["recall_by_posture"] == {"upright": {"recall": 1, "n": 2}}
    assert (row["lying_recall"], row["n_lying"]) == (None, 0)
    assert row["by_size"]["large"]["n"] == 0
    assert row["by_size"]["large"]["ap50"] is None
    assert (row["ap_official"] is None) == (official.version() is None)
    assert row["ap_official"] in (None, row["ap"])
    assert "2 people in 2 pictures" in capsys.readouterr().out


def test_who_lies_by_the_annotation_counts_as_lying(folder):
    rows = [annotation(1, BOXES[0]), annotation(2, BOXES[1], posture="lying"), annotation(3, (0, 200, 60, 30), posture="lying")]
    folders.write(folder, content(rows, ("a.png", "b.png")))
    row = numbers(folder)
    assert (row["lying_recall"], row["n_lying"]) == (0.5, 2)
    assert row["recall_by_posture"]["upright"] == {"recall": 1, "n": 1}


def found(folder, boxes, scores) -> tuple[list[Found], object]:
    people = read_coco(folder)
    nothing = Found(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    return [Found(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)), nothing], people


def test_half_found_is_half_and_pictures_decide_the_interval(folder):
    half, people = found(folder, [[40, 20, 120, 180]], [0.9])
    assert box_scores(half, people)["ap50"] == pytest.approx(51 / 101, abs=1e-4)
    assert ap50_interval(match_all(half, people.pictures), 0) == [pytest.approx(51 / 101, abs=1e-4)] * 2, "one with people"


def test_a_false_alarm_where_nobody_is_counts(folder):
    people = read_coco(folder)
    right = Found(people.pictures[0].boxes, np.array([0.6, 0.5], np.float32))
    wrong = Found(np.array([[0, 0, 50, 90]], np.float32), np.array([0.9], np.float32))
    assert box_scores([right, wrong], people)["ap50"] == pytest.approx(2 / 3, abs=1e-4)


def test_recall_counts_what_the_service_would_publish(folder):
    boxes = [[180, 60, 280, 200], [40, 20, 120, 180]]
    both, people = found(folder, boxes, [0.9, 0.3])
    assert recall_by_posture(both, people, DetectorSettings())["upright"]["recall"] == 1
    assert recall_by_posture(both, people, DetectorSettings(score_min=0.4))["upright"]["recall"] == 0.5
    assert recall_by_posture(both, people, DetectorSettings(max_people=1))["upright"]["recall"] == 0.5


def test_wrong_data_is_a_line_and_code_2(folder, tmp_path, capsys):
    folders.write(folder, content([]))
    for arguments, message in (
        (["--coco", str(folder)], "nobody is annotated"),
        (["--coco", str(folder), "--split", "val2099"], "no file annotations/*val2099*.json"),
        (["--kit", str(tmp_path / "absent")], "give data with --coco DIR"),
        (["--coco", str(folder), "--precision", "int8"], "has no file of the precision int8"),
    ):
        assert main([*arguments, "--models", "fake-person"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.kit
def test_the_kit_has_all_its_people(kit):
    folder = kit / "data" / "coco-mini"
    both = read_coco(folder, split="person_keypoints")
    assert read_coco(folder, split="person_keypoints_val2017").boxed == 117
    assert (both.boxed, both.missing_people) == (284, 0)
