from __future__ import annotations

import numpy as np
import pytest

from common.runtimes.fake import STANDING
from common.skeleton import ANKLES, HIPS, KNEES, SHOULDERS
from models.data.posture import posture_of


def standing() -> np.ndarray:
    return np.concatenate([STANDING * [60, 180] + [20, 10], np.ones((17, 1))], axis=1).astype(np.float32)


def turned(degrees: float) -> np.ndarray:
    keypoints, angle = standing(), np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    keypoints[:, :2] = (keypoints[:, :2] - 50) @ turn.T + 50
    return keypoints


@pytest.mark.parametrize(("degrees", "posture"), [(0, "upright"), (20, "upright"), (90, "lying"), (-80, "lying"), (180, "")])
def test_a_turned_person_lies_and_an_upside_down_one_does_not(degrees, posture):
    assert posture_of(turned(degrees)) == posture


def test_a_drawn_up_thigh_is_sitting_and_a_level_torso_on_legs_is_bending():
    sitting = standing()
    sitting[list(KNEES), :2] = sitting[list(HIPS), :2] + [40, 5]
    sitting[list(ANKLES), :2] = sitting[list(KNEES), :2] + [0, 45]
    assert posture_of(sitting) == "sitting"
    bending = standing()
    bending[list(SHOULDERS), :2] = bending[list(HIPS), :2] + [50, 10]
    assert posture_of(bending) == "bending"


def test_without_legs_it_is_an_upper_body_and_without_a_torso_nothing():
    upper = standing()
    upper[list(KNEES + ANKLES), 2] = 0.1
    assert posture_of(upper) == "upper-body"
    upper[list(HIPS), 2] = 0
    assert posture_of(upper) == ""


def test_one_side_is_enough():
    half = standing()
    half[::2, 2] = 0
    assert posture_of(half) == "upright"
