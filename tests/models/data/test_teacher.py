from __future__ import annotations

import numpy as np
import pytest

from common.skeleton import INDEX
from models.data.teacher import PEAK_MIN, weights


def of(peak: float, distance: float) -> np.ndarray:
    return weights(np.full(17, peak, np.float32), np.full(17, distance, np.float32))


def test_teachers_that_agree_leave_the_peak_and_others_its_square():
    assert of(0.8, 0.0) == pytest.approx(0.8)
    assert of(0.8, 2.0) == pytest.approx(0.64)
    assert of(1.09, 0.0) == pytest.approx(1.0), "peaks overshoot"
    assert not of(PEAK_MIN - 0.01, 0.0).any()


def test_weights_rise_with_the_peak_and_fall_with_the_distance():
    peaks = np.linspace(PEAK_MIN, 1.1, 30, dtype=np.float32)[:, None] * np.ones((1, 17), np.float32)
    assert (np.diff(weights(peaks, np.full_like(peaks, 0.05)), axis=0) >= 0).all()
    distances = np.linspace(0, 1, 30, dtype=np.float32)[:, None] * np.ones((1, 17), np.float32)
    falling = weights(np.full_like(distances, 0.7), distances)
    assert (np.diff(falling, axis=0) <= 0).all()
    assert falling.min() >= 0
    assert falling.max() <= 1


def test_a_distance_counts_more_for_an_eye_than_for_a_hip():
    found = of(0.7, 0.08)
    assert found[INDEX["left_eye"]] < found[INDEX["left_wrist"]] < found[INDEX["left_hip"]]
