from __future__ import annotations

import numpy as np
import pytest

from common.skeleton import INDEX
from models.evaluation.postures import postures_of

JOINTS = ("shoulder", "hip", "knee", "ankle")


def person(**places: tuple[float, float]) -> np.ndarray:
    """Both sides of each joint at one place, pixels, y down; what is not named is not labelled."""
    points = np.zeros((17, 3))
    for joint, place in places.items():
        for side in ("left", "right"):
            points[INDEX[f"{side}_{joint}"]] = *place, 2
    return points


PEOPLE = {
    "upright": {"shoulder": (100, 50), "hip": (100, 110), "knee": (100, 160), "ankle": (100, 210)},
    "sitting, seen from the side": {"shoulder": (100, 50), "hip": (100, 110), "knee": (150, 112), "ankle": (150, 160)},
    "sitting, seen from the front": {"shoulder": (100, 50), "hip": (100, 110), "knee": (100, 125), "ankle": (100, 175)},
    "sitting on the floor": {"shoulder": (100, 50), "hip": (95, 110), "knee": (145, 105), "ankle": (190, 112)},
    "lying, stretched": {"shoulder": (50, 200), "hip": (110, 205), "knee": (160, 207), "ankle": (210, 207)},
    "lying, knees up": {"shoulder": (50, 200), "hip": (110, 200), "knee": (140, 165), "ankle": (160, 200)},
    "lying, legs behind something": {"shoulder": (50, 200), "hip": (110, 205)},
    "other: bends over": {"shoulder": (160, 105), "hip": (100, 110), "knee": (100, 160), "ankle": (100, 210)},
    "other: stands on the hands": {"shoulder": (100, 200), "hip": (100, 140), "knee": (100, 90), "ankle": (100, 40)},
    "unknown: upper body only": {"shoulder": (100, 50), "hip": (100, 110)},
    "unknown: no hips": {"shoulder": (100, 50), "knee": (100, 160)},
    "unknown: nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("name", PEOPLE)
def test_a_body_is_called_what_one_would_call_it(name):
    assert postures_of(person(**PEOPLE[name])[None]) == [name.split(",")[0].split(":")[0].split(" ")[0]]


@pytest.mark.parametrize("name", PEOPLE)
def test_neither_side_nor_size_nor_place_matter(name):
    points = person(**PEOPLE[name])
    mirrored = points * (-3, 3, 1) + (500, 20, 0)
    mirrored[points[:, 2] == 0] = 0
    assert postures_of(mirrored[None]) == postures_of(points[None])


def test_who_lifts_one_knee_walks_and_does_not_sit():
    points = person(**PEOPLE["upright"])
    points[INDEX["left_knee"], :2] = 150, 112
    assert postures_of(points[None]) == ["upright"]


def test_one_side_is_enough():
    points = person(**PEOPLE["lying, stretched"])
    for joint in JOINTS:
        points[INDEX[f"left_{joint}"]] = 0
    assert postures_of(points[None]) == ["lying"]


def test_many_are_told_apart_at_once_and_nobody_is_fine():
    rows = np.stack([person(**PEOPLE["upright"]), person(**PEOPLE["lying, stretched"])])
    assert postures_of(rows) == ["upright", "lying"]
    assert postures_of(np.empty((0, 17, 3))) == []
