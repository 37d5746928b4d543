"""Average precision: by hand, and equal to the official code on random data."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation import official
from models.evaluation.coco import Picture
from models.evaluation.coco_ap import (
    SIZES,
    Found,
    average_precision,
    box_similarity,
    keypoint_similarity,
    match,
    match_boxes,
    match_keypoints,
)
from models.evaluation.official import official_ap


def plain(similarity, scores, *, ignored=None, crowd=None):
    count = len(similarity[0]) if similarity else 0
    return match(
        np.array(similarity, float).reshape(len(scores), count), np.array(scores, float),
        np.array(ignored or [False] * count, np.bool_), np.array(crowd or [False] * count, np.bool_),
    )  # fmt: skip


def test_everybody_found_exactly_is_one_at_every_threshold():
    np.testing.assert_array_equal(average_precision([plain([[1, 0], [0, 1]], [0.9, 0.2])]), np.ones(10))


def test_half_found_reaches_51_of_101_recalls():
    assert average_precision([plain([[1, 0]], [0.9])]) == pytest.approx(51 / 101)


def test_an_iou_of_point_72_counts_for_five_of_ten_thresholds():
    assert average_precision([plain([[0.72]], [0.9])]).tolist() == [1] * 5 + [0] * 5


def test_a_false_alarm_costs_only_what_comes_after_it():
    before = average_precision([plain([[0, 0], [1, 0], [0, 1]], [0.9, 0.8, 0.7])])
    after = average_precision([plain([[0, 0], [1, 0], [0, 1]], [0.1, 0.8, 0.7])])
    assert before[0] == pytest.approx(2 / 3), "the precision at full recall, and at no recall is it better"
    assert after[0] == 1


def test_the_second_box_of_a_person_is_a_false_alarm_and_of_a_crowd_is_not():
    twice = plain([[1.0], [0.9]], [0.9, 0.8])
    assert twice.hit[0].tolist() == [True, False]
    crowd = plain([[1.0], [0.9]], [0.9, 0.8], crowd=[True])
    assert crowd.hit[0].tolist() == crowd.ignored[0].tolist() == [True, True]
    assert crowd.counted == 0


def test_a_person_who_counts_is_preferred_to_one_who_does_not():
    found = plain([[0.6, 0.9]], [0.5], ignored=[False, True])
    assert found.ignored[0].tolist() == [False]
    assert found.ignored[3].tolist() == [True], "at .65 only the other fits"


def test_nobody_to_find_is_nan_and_nothing_found_is_zero():
    assert np.isnan(average_precision([plain([], [])])).all()
    assert np.isnan(average_precision([])).all()
    nothing = match(np.empty((0, 2)), np.empty(0), np.zeros(2, np.bool_), np.zeros(2, np.bool_))
    np.testing.assert_array_equal(average_precision([nothing]), np.zeros(10))


def test_a_picture_that_is_drawn_twice_counts_twice():
    good, bad = plain([[1.0]], [0.9]), plain([[0.0]], [0.8])
    for weights in ([2, 1], [1, 3], [0, 2]):
        repeated = [good] * weights[0] + [bad] * weights[1]
        np.testing.assert_allclose(average_precision([good, bad], np.array(weights)), average_precision(repeated))


def test_overlap_with_a_crowd_is_the_share_of_the_box():
    box, large = np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 105, 100]])
    assert box_similarity(box, large, np.array([True]))[0, 0] == pytest.approx(0.5)
    assert box_similarity(box, large, np.array([False]))[0, 0] == pytest.approx(50 / (100 + 10_000 - 50))


def test_who_is_found_but_not_labelled_is_told_by_their_box():
    truth = np.zeros((1, 17, 3))
    box = np.array([[100.0, 100, 140, 180]])
    inside, far = np.full((1, 17, 3), 120.0), np.full((1, 17, 3), 900.0)
    near = np.full((1, 17, 3), 65.0)  # 35 px left of it and above, less than its own width and height
    values = keypoint_similarity(np.concatenate([inside, near, far]), truth, np.array([3000.0]), box)[:, 0]
    assert values == pytest.approx([1, 1, 0], abs=1e-6)


def random_pictures(seed: int, count: int = 25) -> tuple[list[Picture], list[Found], list[Found]]:
    """Pictures with crowds, unlabelled and ignored people of all sizes; boxes and skeletons near them."""
    random = np.random.default_rng(seed)
    pictures, boxes, poses = [], [], []
    for number in range(count):
        people = int(random.integers(0, 7))
        low, side = random.uniform(0, 300, (people, 2)), np.exp(random.uniform(2.5, 5.5, (people, 2)))
        true = np.concatenate([low, low + side], axis=1).astype(np.float32)
        points = np.zeros((people, 17, 3), np.float32)
        points[:, :, :2] = low[:, None] + random.uniform(0, 1, (people, 17, 2)) * side[:, None]
        points[:, :, 2] = random.integers(0, 3, (people, 17)) * (random.random((people, 1)) > 0.2)
        areas = (side.prod(axis=1) * random.uniform(0.3, 0.9, people)).astype(np.float32)
        crowd = random.random(people) < 0.15
        pictures.append(Picture(f"{number}", lambda: np.zeros((1, 1, 3), np.uint8), true, areas, crowd, points, ("",) * people))
        copies = np.concatenate([np.arange(people)] * 2 + [random.permutation(people)[:1]]).astype(int)
        size = side[copies].repeat(2, axis=0).reshape(-1, 4) * random.choice([0.02, 0.1, 0.5], (len(copies), 1))
        near = (true[copies] + random.normal(0, 1, (len(copies), 4)) * size).astype(np.float32)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        boxes.append(Found(near, random.random(len(near)).astype(np.float32)))
        moved = points[copies].copy()
        moved[:, :, :2] += random.normal(0, 1, moved[:, :, :2].shape) * size[:, None, :2] * 0.3
        poses.append(Found(moved, random.random(len(moved)).astype(np.float32)))
    return pictures, boxes, poses


def own_ap(kind: str, pictures: list[Picture], found: list[Found], **size) -> float:
    rows = [
        match_boxes(f.values, f.scores, p.boxes, p.areas, p.crowd, **size) if kind == "bbox"
        else match_keypoints(f.values, f.scores, p.keypoints, p.areas, p.boxes, p.crowd, **size)
        for p, f in zip(pictures, found, strict=True)
    ]  # fmt: skip
    return float(average_precision(rows).mean())


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_official_number(kind, seed):
    if official.version() is None:
        pytest.skip("pycocotools is absent: run by .ci/run with the extra train")
    pictures, boxes, poses = random_pictures(seed)
    found = boxes if kind == "bbox" else poses
    theirs = official_ap(kind, pictures, found)
    assert 0.05 < theirs["ap"] < 0.95, "a case that tells nothing"
    assert own_ap(kind, pictures, found) == pytest.approx(theirs["ap"], abs=1e-6)
    for name in ("medium", "large") if kind == "keypoints" else SIZES:
        assert own_ap(kind, pictures, found, size=SIZES[name]) == pytest.approx(theirs[name], abs=1e-6, nan_ok=True), name


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
def test_finding_nothing_is_zero_officially_too(kind):
    if official.version() is None:
        pytest.skip("pycocotools is absent: run by .ci/run with the extra train")
    pictures, _, _ = random_pictures(0, 3)
    shape = (0, 4) if kind == "bbox" else (0, 17, 3)
    nothing = [Found(np.empty(shape, np.float32), np.empty(0, np.float32))] * 3
    assert official_ap(kind, pictures, nothing)["ap"] == 0


def test_without_the_official_code_there_is_no_official_number(monkeypatch):
    monkeypatch.setattr(official, "version", lambda: None)
    pictures, boxes, _ = random_pictures(0, 3)
    assert official_ap("bbox", pictures, boxes) is None
