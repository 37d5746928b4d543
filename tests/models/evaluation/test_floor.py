from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from models.evaluation.coco import DataError
from models.evaluation.floor import Floor, recall_on_floor, share
from services.detector.detect import Detections


def test_recall_counts_frames_and_its_interval_clips():
    lying = np.array([[10, 10], [0, 30]], float)
    row = Floor(lying, lying + np.array([[0, 0], [15, 0]]), np.array([[3, 4], [0, 0]], float)).as_json()
    assert row["lying_recall"] == 0.25
    assert row["lying_recall_iou30"] == pytest.approx(25 / 40)
    assert row["upright_recall"] == 0.75
    assert row["lying_recall_95"] == [0, 1], "two clips, one of them missed, tell next to nothing"
    assert (row["n_lying"], row["n_clips"]) == (40, 2)
    json.dumps(row, allow_nan=False)


def test_no_frames_are_not_zero():
    assert np.isnan(share(np.zeros((2, 2))))


def test_clips_that_are_absent_are_named(tmp_path):
    with pytest.raises(DataError, match=r"Fall/13\.mp4 is missing"):
        recall_on_floor(SimpleNamespace(), tmp_path)


@pytest.mark.kit
def test_who_knows_the_truth_finds_everybody_and_who_is_off_finds_nobody(kit, monkeypatch):
    from benchmarks import _lying_clips

    name, fall = next(iter(_lying_clips.FALLS.items()))
    monkeypatch.setattr(_lying_clips, "FALLS", {name: fall})

    def detector(*boxes):
        found = np.array(boxes, np.float32)
        return SimpleNamespace(detect=lambda image: Detections(found, np.ones(len(found), np.float32)))

    right = recall_on_floor(detector(fall.lying, fall.upright), kit / "data").as_json()
    assert (right["lying_recall"], right["upright_recall"]) == (1, 1)
    assert right["n_lying"] > 5
    x0, y0, x1, y1 = fall.lying
    half = recall_on_floor(detector((x0, y0, x0 + 0.4 * (x1 - x0), y1)), kit / "data").as_json()
    assert (half["lying_recall"], half["lying_recall_iou30"]) == (0, 1)
