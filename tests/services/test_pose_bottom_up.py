"""All skeletons of a picture in one step: the estimator with the fake network, with made-up answers, and with MoveNet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.artifact import find_artifact
from common.config import PoseSettings
from common.geometry import iou_matrix
from common.manifest import ModelError
from common.runtimes.base import Request
from common.runtimes.fake import STANDING, FakeEngine
from common.skeleton import oks
from services.pose.bottom_up import BottomUpEstimator, load_bottom_up, movenet_multipose
from tests.model_parts import pulled, walking_person


def estimator(**settings) -> BottomUpEstimator:
    return load_bottom_up(PoseSettings(approach="bottom_up", model="fake-person", **settings))


def answering(answer, **spec) -> BottomUpEstimator:
    artifact = find_artifact("fake-person")
    manifest = artifact.manifest.model_copy(update={"bottom_up": artifact.manifest.bottom_up.model_copy(update=spec)})
    artifact = replace(artifact, manifest=manifest)
    return BottomUpEstimator(FakeEngine(Request(artifact, "bottom_up", "auto", 1, (256, 256)), answer), artifact)


def rows(*people: tuple[float, float, float, float, float]) -> dict[str, np.ndarray]:
    """MoveNet's answer: a person for each (x0, y0, x1, y1, score), 0..1, with all keypoints at the box's top left corner."""
    out = np.zeros((1, 6, 56), np.float32)
    for row, (x0, y0, x1, y1, score) in zip(out[0], people, strict=False):
        row[0:51:3], row[1:51:3], row[2:51:3] = y0, x0, 0.8
        row[51:] = y0, x0, y1, x1, score
    return {"people": out}


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (480, 640), (200, 150)])
def test_skeletons_lie_in_the_picture_where_the_people_are(size):
    width, height = size
    image = np.full((height, width, 3), 30, np.uint8)
    boxes = (np.array([[0.1, 0.2, 0.25, 0.7], [0.45, 0.7, 0.9, 0.9], [0.8, 0.1, 0.9, 0.5]]) * [*size, *size]).round()
    for x0, y0, x1, y1 in boxes.astype(int):
        image[y0:y1, x0:x1] = 255
    found, scores, keypoints = estimator().estimate_frame(image)
    assert found.dtype == scores.dtype == keypoints.dtype == np.float32
    assert keypoints.shape == (3, 17, 3)
    match = iou_matrix(found, boxes.astype(np.float32)).argmax(axis=1)
    assert sorted(match) == [0, 1, 2]
    cell = max(size) / 256  # one pixel of the network
    for i, box in enumerate(boxes[match]):
        np.testing.assert_allclose(found[i], box, atol=1.5 * cell)
        lies = box[2] - box[0] > box[3] - box[1]
        wanted = box[:2] + (STANDING[:, ::-1] if lies else STANDING) * (box[2:] - box[:2])
        np.testing.assert_allclose(keypoints[i, :, :2], wanted, atol=1.5 * cell)
        np.testing.assert_allclose(keypoints[i, :, 2], 0.9, rtol=1e-5)


def test_an_empty_picture_has_nobody():
    boxes, scores, keypoints = estimator().estimate_frame(np.zeros((480, 640, 3), np.uint8))
    assert (boxes.shape, scores.shape, keypoints.shape) == ((0, 4), (0,), (0, 17, 3))


def test_the_weak_and_the_double_are_left_out_and_the_best_comes_first():
    answer = rows((0, 0, 0.3, 0.9, 0.5), (0.5, 0, 0.8, 0.9, 0.9), (0.5, 0.02, 0.8, 0.9, 0.6), (0.3, 0, 0.5, 0.9, 0.1))
    _, scores, keypoints = answering(lambda batch: answer).estimate_frame(np.zeros((256, 256, 3), np.uint8))
    np.testing.assert_allclose(scores, [0.9, 0.5])
    np.testing.assert_allclose(keypoints[:, 0], [[128, 0, 0.8], [0, 0, 0.8]], atol=1e-3)


def test_scores_are_scaled_and_cut_at_one_and_boxes_at_the_picture():
    answer = rows((-0.2, 0.1, 0.3, 1.3, 0.2), (0.5, 0, 0.8, 0.9, 0.7))
    found = answering(lambda batch: answer, score_scale=2.0).estimate_frame(np.zeros((256, 256, 3), np.uint8))
    np.testing.assert_allclose(found[1], [1, 0.4])
    np.testing.assert_allclose(found[0][1], [0, 25.6, 76.8, 256], atol=1e-3)


def test_the_decoder_leaves_the_outputs_as_they_are():
    answer = rows((0.1, 0.1, 0.3, 0.9, 0.5))
    before = answer["people"].copy()
    movenet_multipose(answer, (256, 192))
    np.testing.assert_array_equal(answer["people"], before)


@pytest.mark.parametrize("shape", [(1, 6, 55), (2, 6, 56), (6, 56)])
def test_outputs_of_another_shape_are_refused_and_fail_the_self_check(shape):
    answer = {"people": np.zeros(shape, np.float32)}
    with pytest.raises(ModelError, match=r"expects one output \(1, K, 56\), the network gave people"):
        movenet_multipose(answer, (256, 256))
    with pytest.raises(ModelError):
        answering(lambda batch: answer).self_check()


def test_numbers_that_are_not_finite_are_refused():
    answer = rows((0.1, 0.1, 0.3, 0.9, 0.5))
    answer["people"][0, 0, 4] = np.nan
    with pytest.raises(ModelError, match="'fake-person' gave skeletons that are not finite"):
        answering(lambda batch: answer).self_check()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_of_nobody_may_hold_anything_but_a_score_that_is_no_number(value):
    good = (0.1, 0.1, 0.3, 0.9, 0.5)
    answer = rows(good)
    answer["people"][0, 3, :55] = value
    boxes, scores, _ = answering(lambda batch: answer).estimate_frame(np.zeros((256, 256, 3), np.uint8))
    np.testing.assert_allclose(boxes, np.array([good[:4]]) * 256, rtol=1e-5)
    np.testing.assert_allclose(scores, [0.5])
    answer["people"][0, 3, :55], answer["people"][0, 3, 55] = 0, value
    with pytest.raises(ModelError, match="not finite"):
        answering(lambda batch: answer).self_check()


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"a picture is \(H, W, 3\) uint8"):
        estimator().estimate_frame(np.zeros((48, 64), np.uint8))


@pytest.mark.parametrize("model", ["rtmdet-nano", "pp-tinypose-128x96"])
def test_a_model_for_another_task_is_refused_with_the_fix(model):
    with pytest.raises(ModelError, match=rf"'{model}' is for: (detect|pose); pose.approach 'bottom_up' needs .* movenet"):
        load_bottom_up(PoseSettings(approach="bottom_up", model=model))


def test_an_unknown_decoder_is_refused_with_those_there_are():
    with pytest.raises(ModelError, match="'magic' is not one of movenet_multipose, cifcaf"):
        answering(lambda batch: rows(), decoder="magic")


def test_movenet_finds_the_walking_person_in_one_step():
    pulled("movenet-multipose")
    found = load_bottom_up(PoseSettings(approach="bottom_up"))
    found.self_check()
    image = walking_person()
    boxes, scores, keypoints = found.estimate_frame(image)
    assert scores[0] > 0.5
    person, box = keypoints[0], boxes[0]
    height = box[3] - box[1]
    head, hips, ankles = person[:5, 1].mean(), person[11:13, 1].mean(), person[15:, 1].mean()
    assert head < hips < ankles
    assert ankles - head > 0.6 * height
    assert np.median(person[:, 2]) > 0.3
    found.close()


@pytest.mark.kit
def test_movenet_finds_the_pitchers_skeleton_without_a_box(kit: Path):
    import json

    pulled("movenet-multipose")
    people = json.loads((kit / "data/coco-mini/annotations/person_keypoints_val2017.json").read_text())
    (truth,) = (a for a in people["annotations"] if a["image_id"] == 153797)
    image = cv2.imread(str(kit / "data/coco-mini/val2017/000000153797.jpg"))
    found = load_bottom_up(PoseSettings(approach="bottom_up"))
    _, _, keypoints = found.estimate_frame(image)
    points = np.array(truth["keypoints"], np.float32).reshape(17, 3)
    best = max(oks(p[:, :2], points[:, :2] + 0.5, points[:, 2] > 0, truth["area"]) for p in keypoints)
    assert best > 0.6
    found.close()
