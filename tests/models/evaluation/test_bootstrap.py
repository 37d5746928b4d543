from __future__ import annotations

import math

import numpy as np
import pytest

from models.evaluation.bootstrap import bootstrap


def mean(values: np.ndarray) -> float:
    return float(np.mean(values))


def test_the_interval_of_a_mean_is_what_the_normal_distribution_says():
    values = np.random.default_rng(5).normal(0.6, 0.2, 400)
    low, high = bootstrap(values, mean)
    error = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - error, abs=0.004)
    assert high == pytest.approx(values.mean() + error, abs=0.004)


def test_the_same_seed_draws_the_same():
    values = np.random.default_rng(5).random(30)
    assert bootstrap(values, mean, 3) == bootstrap(values, mean, 3) != bootstrap(values, mean, 4)


def test_equal_values_leave_no_doubt():
    assert bootstrap(np.full(10, 0.25), mean) == (0.25, 0.25)


def test_rows_are_drawn_whole():
    rows = np.array([[1, 2], [10, 20], [100, 200]])

    def ratio(drawn: np.ndarray) -> float:
        assert (drawn[:, 1] == 2 * drawn[:, 0]).all()
        return float(drawn[:, 1].sum() / drawn[:, 0].sum())

    assert bootstrap(rows, ratio, draws=50) == (2, 2)


def test_a_wider_level_is_a_wider_interval():
    values = np.random.default_rng(5).random(30)
    narrow, wide = bootstrap(values, mean, level=0.5), bootstrap(values, mean, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_nobody_has_no_interval():
    assert np.isnan(bootstrap(np.empty(0), mean)).all()


def test_draws_that_say_nothing_do_not_spoil_the_rest():
    low, high = bootstrap(np.array([0.0, 1.0]), lambda drawn: float(drawn.mean()) if drawn.any() else float("nan"))
    assert (low, high) == (0.5, 1.0)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_in_percent_is_refused(level):
    with pytest.raises(ValueError, match=f"between 0 and 1, not {level}"):
        bootstrap(np.ones(3), mean, level=level)
