"""Average precision by hand, and what it does with people who may be there."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.tinydet.measure import Found, average_precision, matched, quarter_turned  # noqa: E402
from models.tinydet.scene import NO_BOXES, Scene  # noqa: E402

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)


def scene(*people: tuple[int, ...], ignored: tuple[tuple[int, ...], ...] = ()) -> Scene:
    as_boxes = [np.array(rows, np.float32).reshape(-1, 4) for rows in (people, ignored)]
    return Scene("s", np.zeros((20, 60, 3), np.uint8), *as_boxes)


def found(*rows: tuple[tuple[int, ...], float]) -> Found:
    return np.array([box for box, _ in rows], np.float32).reshape(-1, 4), np.array([score for _, score in rows], np.float32)


def test_all_found_and_nobody_else_is_one() -> None:
    assert average_precision([found((A, 0.9), (B, 0.2))], [scene(A, B)]) == 1.0


def test_a_false_alarm_between_two_hits_by_hand() -> None:
    # Recall 1/2 at precision 1, recall 1 at precision 2/3.
    assert average_precision([found((A, 0.9), (C, 0.8), (B, 0.7))], [scene(A, B)]) == pytest.approx((1 + 2 / 3) / 2)


def test_scores_are_compared_between_pictures() -> None:
    one, other = found((A, 0.3)), found((C, 0.9))
    assert average_precision([one, other], [scene(A), scene()]) == pytest.approx(0.5)
    assert average_precision([found((A, 0.95)), other], [scene(A), scene()]) == 1.0


def test_who_is_found_twice_is_a_false_alarm_once() -> None:
    hit, counts = matched(*found((A, 0.5), (A, 0.9)), scene(A), 0.5)
    assert hit.tolist() == [False, True]
    assert counts.all()


def test_a_box_where_somebody_may_be_does_not_count() -> None:
    unsure = scene(A, ignored=((20, 0, 60, 20),))
    assert average_precision([found((A, 0.5), (B, 0.9))], [unsure]) == 1.0
    assert average_precision([found((A, 0.5), (B, 0.9))], [scene(A)]) == pytest.approx(0.5)


def test_nobody_to_find_is_no_number_and_nothing_found_is_zero() -> None:
    assert math.isnan(average_precision([found()], [scene()]))
    assert average_precision([found()], [scene(A)]) == 0.0


def test_a_quarter_turn_turns_picture_and_box() -> None:
    upright = Scene("s", np.zeros((40, 60, 3), np.uint8), np.array([[10, 5, 20, 35]], np.float32), NO_BOXES)
    upright.image[5:35, 10:20] = 255
    lying = quarter_turned(upright)
    assert lying.image.shape == (60, 40, 3)
    rows, columns = np.nonzero(lying.image[..., 0] > 127)
    np.testing.assert_allclose(lying.people[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=0.01)
    assert lying.people[0, 2] - lying.people[0, 0] == pytest.approx(30)
