"""Scores by posture and size, and the way of trainers: crops in, scores out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.coco import read_coco
from models.evaluation.oks import ap_tilde, oks
from models.evaluation.scores import crop_samples, evaluate_keypoints, group, score_keypoints
from tests.models.evaluation import folders


def crowd_of(count: int = 12):
    random = np.random.default_rng(0)
    truth = random.uniform(0, 100, (count, 17, 3))
    truth[:, :, 2] = 2
    area = np.array([500.0, 5000, 50_000] * (count // 3))
    return truth + random.normal(0, 5, truth.shape), truth, area


def test_groups_hold_their_own_people_only():
    predicted, truth, area = crowd_of()
    postures = ["lying", "upright", "upright"] * 4
    scores = score_keypoints(predicted, truth, area, postures)
    values = oks(predicted, truth, area)
    assert list(scores.by_posture) == ["upright", "lying"]
    assert scores.by_posture["lying"].oks == pytest.approx(values[::3].mean())
    assert scores.by_posture["upright"].n == 8
    assert {name: each.n for name, each in scores.by_size.items()} == {"small": 4, "medium": 4, "large": 4}
    assert scores.by_size["large"].ap_tilde == pytest.approx(ap_tilde(values[2::3]))
    assert scores.people.ap_tilde_95[0] <= scores.people.ap_tilde <= scores.people.ap_tilde_95[1]


def test_nobody_is_null_in_json():
    text = json.dumps(group(np.array([np.nan])).as_json(), allow_nan=False)
    assert json.loads(text) == {"n": 0, "oks": None, "oks_95": [None] * 2, "ap_tilde": None, "ap_tilde_95": [None] * 2}


@pytest.fixture
def samples(tmp_path):
    return list(crop_samples(read_coco(folders.people(tmp_path)).pictures, (48, 64)))


def in_crop(sample) -> np.ndarray:
    return (sample.keypoints[:, :2] - sample.offset) / sample.scale


def test_crops_show_the_person_and_lead_back_to_the_picture(samples):
    assert [sample.crop.shape for sample in samples] == [(64, 48, 3)] * 2
    for sample, (x, y, width, height) in zip(samples, folders.BOXES, strict=True):
        rows, columns = np.nonzero(sample.crop[:, :, 0] > 128)
        low = np.array([columns.min(), rows.min()]) * sample.scale + sample.offset
        high = np.array([columns.max() + 1, rows.max() + 1]) * sample.scale + sample.offset
        np.testing.assert_allclose([*low, *high], [x, y, x + width, y + height], atol=float(sample.scale.max()))


def test_crops_are_rgb(tmp_path):
    picture = read_coco(folders.people(tmp_path)).pictures[0]
    blue = np.zeros((240, 320, 3), np.uint8)
    blue[:, :, 0] = 250
    sample = next(crop_samples([replace(picture, read=lambda: blue)], (48, 64)))
    assert sample.crop[32, 24].tolist() == [0, 0, 250]


@pytest.mark.parametrize("batch", [1, 32])
def test_a_network_that_is_right_has_one(samples, batch):
    rest = iter(samples)
    sizes = []

    def predict(crops):
        sizes.append(len(crops))
        return np.stack([in_crop(next(rest)) for _ in crops])

    scores = evaluate_keypoints(predict, samples, batch=batch)
    assert scores.people.ap_tilde == 1
    assert scores.people.oks == pytest.approx(1)
    assert sizes == ([1, 1] if batch == 1 else [2])
    assert list(scores.by_posture) == ["upright"]


def test_a_network_that_is_off_has_what_the_formula_says(samples):
    def predict(crops):
        return np.stack([in_crop(sample) for sample in samples]) + np.array([2.0, 0.0])

    shifted = np.stack([sample.keypoints for sample in samples])
    shifted[:, :, 0] += 2 * np.array([sample.scale[0] for sample in samples])[:, None]
    expected = oks(shifted, np.stack([s.keypoints for s in samples]), np.array([s.area_px for s in samples]))
    np.testing.assert_allclose(evaluate_keypoints(predict, samples).values, expected, rtol=1e-4)
    assert (expected < 0.9).all(), "a case that tells nothing"


def test_answers_of_another_shape_are_refused(samples):
    with pytest.raises(ValueError, match=r"predict answered \(2, 14, 2\) to 2 crops"):
        evaluate_keypoints(lambda crops: np.zeros((2, 14, 2), np.float32), samples)


def test_a_network_that_gives_no_numbers_is_refused(samples):
    with pytest.raises(ValueError, match="predicted keypoints of person 0 of 2: not finite"):
        evaluate_keypoints(lambda crops: np.full((2, 17, 3), np.nan, np.float32), samples)


def test_no_samples_are_an_error_and_not_a_score():
    with pytest.raises(ValueError, match="no samples"):
        evaluate_keypoints(lambda crops: np.zeros((len(crops), 17, 3), np.float32), [])
