from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.artifact import find_artifact, list_artifacts
from common.manifest import ModelError
from common.runtimes import load
from models.zoo.measure import Truth, average_precision, coco_mini, mean_oks, measure
from services.detector.decode import DECODERS as DETECT
from services.pose.decode import DECODERS as POSE


def truth(boxes: list[list[float]], *, crowd: tuple[bool, ...] | None = None) -> Truth:
    array = np.array(boxes, np.float32)
    sides = array[:, 2:] - array[:, :2]
    keypoints = np.zeros((len(array), 17, 3), np.float32)
    keypoints[:, :, 0] = array[:, None, 0] + np.linspace(0, 1, 17) * sides[:, :1]
    keypoints[:, :, 1] = array[:, None, 1] + np.linspace(0, 1, 17) * sides[:, 1:]
    keypoints[:, :, 2] = 2
    return Truth(Path("none"), array, sides.prod(axis=1), np.array(crowd or (False,) * len(array)), keypoints)


BOXES = [[10.0, 10, 60, 110], [100.0, 20, 150, 120]]


def test_all_people_found_and_nothing_else_is_one():
    found = [(np.array(BOXES, np.float32), np.array([0.9, 0.8], np.float32))]
    assert average_precision(found, [truth(BOXES)]) == (1.0, 2)


def test_half_found_is_half_and_a_false_alarm_before_costs():
    one = np.array(BOXES[:1], np.float32)
    half, n = average_precision([(one, np.array([0.9], np.float32))], [truth(BOXES)])
    assert (half, n) == (pytest.approx(51 / 101), 2), "51 of the 101 recall points are reached"
    with_false = np.array([[300, 10, 350, 110], BOXES[0]], np.float32)
    worse, _ = average_precision([(with_false, np.array([0.95, 0.9], np.float32))], [truth(BOXES)])
    assert worse == pytest.approx(half / 2)


def test_a_second_box_on_the_same_person_is_a_false_alarm():
    twice = np.array([BOXES[0], BOXES[0], BOXES[1]], np.float32)
    value, _ = average_precision([(twice, np.array([0.9, 0.8, 0.7], np.float32))], [truth(BOXES)])
    assert 0.5 < value < 1


def test_a_crowd_counts_neither_for_nor_against():
    found = [(np.array(BOXES, np.float32), np.array([0.9, 0.8], np.float32))]
    assert average_precision(found, [truth(BOXES, crowd=(False, True))]) == (1.0, 1)


def test_keypoints_where_they_are_labelled_score_one_and_far_ones_nothing():
    """COCO labels a pixel; our coordinates of its centre are half a pixel further."""
    labelled = truth(BOXES)
    right = labelled.keypoints.copy()
    right[:, :, :2] += 0.5
    assert mean_oks([right], [labelled]) == (pytest.approx(1.0), 2)
    value, n = mean_oks([right + np.float32(500)], [labelled])
    assert (value, n) == (pytest.approx(0.0, abs=1e-6), 2)


@pytest.mark.parametrize("name", [artifact.name for artifact in list_artifacts()])
def test_every_network_of_the_zoo_has_decoders_that_exist(name):
    manifest = find_artifact(name).manifest
    if manifest.detect is not None:
        assert manifest.detect.decoder in DETECT
    if manifest.pose is not None:
        assert manifest.pose.decoder in POSE


@pytest.mark.kit
def test_the_kit_has_the_people_that_the_manifests_speak_of(kit):
    truths = list(coco_mini(kit))
    labelled = sum(int(t.keypoints[i, :, 2].any() and not t.crowd[i]) for t in truths for i in range(len(t.boxes)))
    counted = sum(int((~t.crowd).sum()) for t in truths)
    numbers = {m.metric: m.n for a in list_artifacts() for m in a.manifest.measured if m.dataset == "coco-mini"}
    assert labelled == numbers["OKS"]
    assert counted == numbers["AP50"]


@pytest.mark.kit
def test_a_few_pictures_are_measured_from_end_to_end(kit):
    artifact = find_artifact("fake-person")
    engine = load(artifact, task="detect", runtime="fake")
    scores = measure(artifact, "detect", list(coco_mini(kit))[:3], engine, repeats=1)
    engine.close()
    assert scores.metrics["AP50"][1] > 0
    assert scores.runtime == "fake"
    assert "AP50" in str(scores)


def test_a_task_that_is_not_measured_is_said():
    artifact = find_artifact("fake-person")
    engine = load(artifact, task="detect", runtime="fake")
    try:
        with pytest.raises(ModelError, match="the accuracy of the task 'bottom_up' is not measured; detect and pose are"):
            measure(artifact, "bottom_up", [], engine)
    finally:
        engine.close()
