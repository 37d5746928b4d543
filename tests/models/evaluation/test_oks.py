"""OKS against values by hand and against the one-person form; AP~ at and around its thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common import skeleton
from common.skeleton import NUM_KEYPOINTS, SIGMAS
from models.evaluation.oks import THRESHOLDS, ap_tilde, mean_oks, oks


def _people(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    truth = random.uniform(10, 200, (count, NUM_KEYPOINTS, 3))
    truth[:, :, 2] = random.integers(0, 3, (count, NUM_KEYPOINTS))
    truth[:, 0, 2] = 2
    return truth


def test_a_perfect_prediction_has_one_whatever_is_said_of_unlabelled_keypoints() -> None:
    truth = _people(5)
    predicted = truth.copy()
    predicted[truth[:, :, 2] == 0, :2] += 500
    np.testing.assert_array_equal(oks(predicted, truth, np.full(5, 900.0)), 1.0)


def test_a_shift_costs_what_the_formula_says() -> None:
    truth = np.zeros((1, NUM_KEYPOINTS, 3))
    truth[0, [0, 11], 2] = 1, 2  # nose, left hip
    predicted = truth + np.array([3.0, 4.0, 0.0])  # 5 px
    nose, hip = 0.157376, 0.896566  # exp(-25 / (2 * 2500 * .052^2)), exp(-25 / (2 * 2500 * .214^2))
    np.testing.assert_allclose(oks(predicted, truth, np.array([2500.0])), (nose + hip) / 2, atol=1e-5)


def test_it_is_the_one_person_form_for_each_person() -> None:
    truth, area = _people(20), np.random.default_rng(1).uniform(300, 9000, 20)
    predicted = truth + np.random.default_rng(2).normal(0, 6, truth.shape)
    single = [
        skeleton.oks(p[:, :2].astype(np.float32), t[:, :2].astype(np.float32), t[:, 2] > 0, float(a))
        for p, t, a in zip(predicted, truth, area, strict=True)
    ]
    np.testing.assert_allclose(oks(predicted, truth, area), single, rtol=1e-4)


def test_two_sigmas_off_keep_exp_of_minus_a_half() -> None:
    truth = np.full((1, NUM_KEYPOINTS, 3), 100.0)
    predicted = truth.copy()
    predicted[0, :, 0] += 2 * SIGMAS * 50  # sqrt(area) = 50
    np.testing.assert_allclose(oks(predicted, truth, np.array([2500.0])), math.exp(-0.5), rtol=1e-5)


def test_who_has_nothing_labelled_does_not_count() -> None:
    truth = _people(3)
    truth[1, :, 2] = 0
    values = oks(truth, truth, np.full(3, 100.0))
    assert np.isnan(values).tolist() == [False, True, False]
    assert ap_tilde(values) == mean_oks(values) == 1.0


def test_nobody_gives_nan_and_not_zero() -> None:
    empty = oks(np.empty((0, NUM_KEYPOINTS, 3)), np.empty((0, NUM_KEYPOINTS, 3)), np.empty(0))
    assert empty.shape == (0,)
    assert math.isnan(ap_tilde(empty))
    assert math.isnan(mean_oks(empty))


def test_ap_tilde_counts_thresholds_that_are_reached() -> None:
    assert len(THRESHOLDS) == 10
    assert ap_tilde(np.array([0.5])) == pytest.approx(0.1)
    assert ap_tilde(np.array([0.4999])) == 0.0
    assert ap_tilde(np.array([0.95])) == 1.0
    assert ap_tilde(np.array([0.72, 0.0, 1.0])) == pytest.approx((0.5 + 0 + 1) / 3)


@pytest.mark.parametrize("broken", ["predicted", "labelled", "area"])
def test_what_is_not_finite_is_refused_by_number(broken: str) -> None:
    truth, area = _people(3), np.full(3, 100.0)
    predicted = truth.copy()
    {"predicted": predicted[:, :, 0], "labelled": truth[:, :1, 0], "area": area[:, None]}[broken][2] = np.nan
    with pytest.raises(ValueError, match=rf"{broken}.*person 2 of 3"):
        oks(predicted, truth, area)


def test_unlabelled_truths_may_be_anything() -> None:
    truth = _people(2)
    predicted = truth.copy()
    truth[:, 3] = np.nan, np.nan, 0
    np.testing.assert_array_equal(oks(predicted, truth, np.full(2, 50.0)), 1.0)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 17, 3\), \(3, 17, 3\) and \(3,\)"):
        oks(_people(2), _people(3), np.ones(3))
