from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.artifact import find_artifact
from common.config import DetectorSettings, PoseSettings
from common.geometry import boxes_from_rotated, points_from_rotated
from common.manifest import ModelError
from common.runtimes.base import Request
from common.runtimes.fake import STANDING, FakeEngine, bright_people
from common.skeleton import INDEX, oks
from services.detector.detect import load_detector
from services.pose.estimate import PoseEstimator, load_estimator
from tests.model_parts import pulled, walking_person


def estimator() -> PoseEstimator:
    return load_estimator(PoseSettings(model="fake-person"))


def answering(answer) -> PoseEstimator:
    artifact = find_artifact("fake-person")
    return PoseEstimator(FakeEngine(Request(artifact, "pose", "auto", 1, (64, 64)), answer), artifact)


def test_skeletons_lie_in_the_picture_where_the_people_are():
    image = np.full((480, 640, 3), 30, np.uint8)
    boxes = np.array([[100, 100, 180, 300], [300, 350, 560, 430], [600, 10, 620, 60]], np.float32)
    for x0, y0, x1, y1 in boxes.astype(int):
        image[y0:y1, x0:x1] = 255
    found = estimator().estimate(image, boxes)
    assert found.shape == (3, 17, 3)
    assert found.dtype == np.float32
    for person, box, template in zip(found, boxes, (STANDING, STANDING[:, ::-1], STANDING), strict=True):
        wanted = box[:2] + template * (box[2:] - box[:2])
        assert np.abs(person[:, :2] - wanted).max() <= 0.05 * max(box[2:] - box[:2])
        np.testing.assert_allclose(person[:, 2], 0.9, rtol=1e-5)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Three bright boxes, wide, tall and wide, in a picture that is no square."""
    image = np.full((480, 640, 3), 30, np.uint8)
    boxes = np.array([[100, 100, 300, 180], [420, 200, 500, 430], [30, 350, 260, 440]], np.float32)
    for x0, y0, x1, y1 in boxes.astype(int):
        image[y0:y1, x0:x1] = 255
    return image, boxes


@pytest.mark.parametrize("turn", [90, -90, 180, 270])
def test_somebody_seen_in_a_turned_picture_is_shown_to_the_network_turned(turn):
    image, boxes = scene()
    k = turn // 90
    turned = np.ascontiguousarray(np.rot90(image, k))
    there = boxes_from_rotated(boxes, -k, (turned.shape[1], turned.shape[0]))
    wanted = estimator().estimate(turned, there)
    wanted[:, :, :2] = points_from_rotated(wanted[:, :, :2], k, (640, 480))
    found = estimator().estimate(image, boxes, np.full(3, turn))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert np.abs(found[0] - estimator().estimate(image, boxes)[0]).max() > 20  # another skeleton than of the picture as it is


def test_people_seen_in_different_turns_are_one_batch_in_their_own_order():
    image, boxes = scene()
    turns = np.array([90, 0, -90])
    batches = []

    def answer(batch: np.ndarray):
        batches.append(len(batch))
        return bright_people(batch)

    found = answering(answer).estimate(image, boxes, turns)
    assert batches == [3]
    for i, turn in enumerate(turns):
        alone = answering(bright_people).estimate(image, boxes[i : i + 1], np.array([turn]))
        np.testing.assert_allclose(found[i], alone[0], atol=1e-3)


def test_no_people_no_work():
    engine = answering(lambda batch: pytest.fail("the network ran"))
    assert engine.estimate(np.zeros((48, 64, 3), np.uint8), np.empty((0, 4), np.float32)).shape == (0, 17, 3)


def test_all_people_of_a_frame_are_one_batch():
    seen = []

    def answer(batch: np.ndarray):
        seen.append(batch.shape)
        return {"people": np.zeros((len(batch), 6, 56), np.float32)}

    boxes = np.array([[0, 0, 30, 40], [10, 0, 40, 40], [20, 5, 60, 45]], np.float32)
    found = answering(answer).estimate(np.zeros((48, 64, 3), np.uint8), boxes)
    assert seen == [(3, 64, 64, 3)]
    np.testing.assert_allclose(found[:, 0], [[15, 20, 0], [25, 20, 0], [40, 25, 0]], atol=1e-3)


@pytest.mark.parametrize("boxes", [np.zeros((2, 5)), np.zeros(4), np.array([[0, 0, np.nan, 5]])])
def test_senseless_boxes_are_refused(boxes):
    with pytest.raises(ValueError, match=r"boxes are \(N, 4\) finite numbers"):
        estimator().estimate(np.zeros((48, 64, 3), np.uint8), boxes)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"a picture is \(H, W, 3\) uint8"):
        estimator().estimate(np.zeros((48, 64), np.uint8), np.zeros((1, 4), np.float32))


def test_numbers_that_are_not_finite_are_refused():
    def answer(batch: np.ndarray):
        rows = np.zeros((len(batch), 1, 56), np.float32)
        rows[:, 0, 51:] = (0, 0, 1, 1, 0.9)
        rows[:, 0, 3] = np.nan
        return {"people": rows}

    with pytest.raises(ModelError, match="'fake-person' gave keypoints that are not finite"):
        answering(answer).self_check()


def test_outputs_of_another_shape_fail_the_self_check():
    with pytest.raises(ModelError, match=r"expects an output \(2, K, 56\), got \(2, 6, 55\)"):
        answering(lambda batch: {"people": np.zeros((len(batch), 6, 55), np.float32)}).self_check()


def test_a_detector_is_no_pose_network():
    with pytest.raises(ModelError, match="artifact 'rtmdet-nano' does not pose; it is for: detect"):
        load_estimator(PoseSettings(model="rtmdet-nano"))


PP_TINYPOSE = ("pp-tinypose-256x192", "pp-tinypose-128x96")
PAIRS = {
    "the defaults": (DetectorSettings(), PoseSettings()),
    "movenet": (DetectorSettings(model="movenet-multipose"), PoseSettings(model="movenet-multipose")),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_two_networks_find_the_skeleton_of_the_walking_person(pair):
    for settings in PAIRS[pair]:
        pulled(settings.model)
    detector, poses = load_detector(PAIRS[pair][0]), load_estimator(PAIRS[pair][1])
    poses.self_check()
    image = walking_person()
    box = detector.detect(image).boxes[:1]
    (person,) = poses.estimate(image, box)
    assert np.median(person[:, 2]) > 0.3
    head, hips, ankles = person[:5, 1].mean(), person[11:13, 1].mean(), person[15:, 1].mean()
    assert head < hips < ankles
    height = box[0, 3] - box[0, 1]
    assert ankles - head > 0.6 * height
    assert (person[:, :2] > box[0, :2] - 0.2 * height).all()
    assert (person[:, :2] < box[0, 2:] + 0.2 * height).all()
    detector.close()
    poses.close()


@pytest.mark.kit
@pytest.mark.parametrize("name", sorted({PoseSettings().model, "movenet-multipose", *PP_TINYPOSE}))
def test_real_networks_find_the_pitchers_skeleton(name, kit: Path):
    import json

    pulled(name)
    people = json.loads((kit / "data/coco-mini/annotations/person_keypoints_val2017.json").read_text())
    (truth,) = (a for a in people["annotations"] if a["image_id"] == 153797)
    x, y, width, height = truth["bbox"]
    image = cv2.imread(str(kit / "data/coco-mini/val2017/000000153797.jpg"))
    found = load_estimator(PoseSettings(model=name))
    found.self_check()
    (person,) = found.estimate(image, np.array([[x, y, x + width, y + height]], np.float32))
    points = np.array(truth["keypoints"], np.float32).reshape(17, 3)
    assert oks(person[:, :2], points[:, :2] + 0.5, points[:, 2] > 0, truth["area"]) > 0.75
    assert person[INDEX["nose"], 1] < person[INDEX["left_hip"], 1]
    found.close()
