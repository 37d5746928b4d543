from __future__ import annotations

import numpy as np
import pytest

from models.convert.agreement import decided, detect_agreement, pose_agreement
from models.convert.output_error import ErrorMeter

BOX = np.array([[0, 0, 100, 200]], np.float32)
ALL = np.ones((1, 17), np.bool_)
NONE: tuple[np.ndarray, np.ndarray] = (np.empty((0, 4), np.float32), np.empty(0, np.float32))


def bump(rows: int = 64, columns: int = 48, *, at: tuple[int, int] = (20, 20), height: float = 0.9) -> np.ndarray:
    """A Gaussian of sigma 2 cells, what pose networks are trained on."""
    y, x = np.mgrid[:rows, :columns]
    return (height * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8)).astype(np.float32)


def skeleton(x: float = 50, score: float = 0.9) -> np.ndarray:
    points = np.zeros((1, 17, 3), np.float32)
    points[0, :, 0], points[0, :, 1], points[0, :, 2] = x, np.arange(17) * 10, score
    return points


def test_a_single_peak_is_decided_wherever_it_lies_and_its_own_slope_is_no_rival():
    maps = np.stack([bump(at=(0, 0)), bump(at=(63, 47)), bump(at=(30, 10))])[None]
    assert decided(maps).tolist() == [[True, True, True]]


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("flat", np.full((64, 48), 0.5, np.float32)),
        ("two equal peaks", np.maximum(bump(), bump(at=(50, 40)))),
        ("a rival just below", np.maximum(bump(), bump(at=(50, 40), height=0.8))),
        ("low", bump(height=0.2)),
        ("noise", np.random.default_rng(0).random((64, 48), np.float32)),
        ("nothing above zero", -bump()),
    ],
)
def test_maps_without_one_clear_high_peak_are_not_decided(name, maps):
    assert not decided(maps[None, None]).any(), name


def test_a_weak_rival_does_not_stop_a_keypoint_from_counting():
    assert decided(np.maximum(bump(), bump(at=(50, 40), height=0.5))[None, None]).all()


def test_shifts_are_in_pixels_of_the_networks_input():
    found = pose_agreement(skeleton(50), skeleton(56), ALL, BOX, np.array([2.0], np.float32), None)
    assert found.shift_median_px == found.shift_p95_px == found.shift_max_px == pytest.approx(3.0)


def test_equal_skeletons_have_an_oks_of_one_and_far_ones_of_nearly_none():
    scale = np.ones(1, np.float32)
    assert pose_agreement(skeleton(), skeleton(), ALL, BOX, scale, None).oks == pytest.approx(1.0)
    assert pose_agreement(skeleton(), skeleton(150), ALL, BOX, scale, None).oks < 0.05


def test_keypoints_that_are_not_decided_count_neither_for_nor_against():
    counts = ALL.copy()
    counts[0, 9:] = False
    moved = skeleton()
    moved[0, 9:, 0] += 500
    found = pose_agreement(skeleton(), moved, counts, BOX, np.ones(1, np.float32), None)
    assert (found.decided, found.keypoints, found.shift_max_px) == (9, 17, 0.0)


def test_nothing_decided_gives_no_numbers_rather_than_good_ones():
    found = pose_agreement(skeleton(), skeleton(), ~ALL, BOX, np.ones(1, np.float32), None)
    assert found.decided == 0
    assert found.oks is None
    assert found.shift_p95_px is None


def test_errors_are_shares_of_the_reference_over_all_batches():
    meter = ErrorMeter()
    meter.add({"a": np.array([[0.0, 10.0]], np.float32)}, {"b": np.array([[1.0, 10.0]], np.float32)})
    meter.add({"a": np.array([[20.0, 10.0]], np.float32)}, {"b": np.array([[20.0, 8.0]], np.float32)})
    found = meter.result()
    assert found.max_of_range == pytest.approx(2 / 20)
    assert found.mean_of_range == pytest.approx((1 + 2) / 4 / 20)
    assert found.noise == pytest.approx(np.sqrt(5 / 4) / np.std([0, 10, 20, 10]))


def test_a_dead_network_has_a_noise_of_about_one():
    meter = ErrorMeter()
    values = np.random.default_rng(0).normal(0, 3, (8, 100)).astype(np.float32)
    meter.add({"a": values}, {"a": np.zeros_like(values)})
    assert meter.result().noise == pytest.approx(1.0, abs=0.01)
    assert meter.result().db == pytest.approx(0.0, abs=0.1)


def test_channels_first_and_last_are_the_same_output():
    maps = np.random.default_rng(0).random((2, 17, 32, 24), np.float32)
    meter = ErrorMeter()
    meter.add({"a": maps}, {"b": maps.transpose(0, 2, 3, 1)})
    assert meter.result().max_of_range == 0


@pytest.mark.parametrize("other", [np.zeros((1, 4), np.float32), np.zeros((1, 2, 3), np.float32)])
def test_outputs_of_other_shapes_are_not_compared(other):
    meter = ErrorMeter()
    meter.add({"a": np.zeros((1, 3), np.float32)}, {"a": other})
    assert meter.result() is None


def test_an_output_that_is_not_a_number_is_an_error_without_bound():
    meter = ErrorMeter()
    meter.add({"a": np.ones((1, 3), np.float32)}, {"a": np.full((1, 3), np.nan, np.float32)})
    assert meter.result().noise == np.inf


def boxes(*rows: tuple[float, float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return table[:, :4], table[:, 4]


def test_the_same_boxes_agree_in_all():
    found = detect_agreement([boxes((0, 0, 10, 10, 0.9))], [boxes((0, 0, 10, 10, 0.8))], firm=0.35, weak=0.25)
    assert (found.boxes, found.recall, found.invented, found.ap50, found.iou) == (1, 1.0, 0.0, 1.0, 1.0)
    assert found.score_drift == pytest.approx(-0.1)


def test_a_box_that_is_not_found_again_or_only_weakly_is_lost():
    reference = [boxes((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.9))]
    candidate = [boxes((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.2))]
    found = detect_agreement(reference, candidate, firm=0.35, weak=0.25)
    assert found.recall == 0.5
    assert found.ap50 == 1.0  # it is there, ranked low


def test_a_box_at_the_threshold_counts_neither_as_lost_nor_as_invented():
    found = detect_agreement(
        [boxes((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.34))], [boxes((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.36))],
        firm=0.35, weak=0.25,
    )  # fmt: skip
    assert (found.boxes, found.recall, found.invented, found.ap50) == (1, 1.0, 0.0, 1.0)


def test_boxes_out_of_nothing_are_invented_and_cost_precision():
    found = detect_agreement(
        [boxes((0, 0, 10, 10, 0.5))], [boxes((0, 0, 10, 10, 0.5), (50, 50, 60, 60, 0.9))], firm=0.35, weak=0.25
    )
    assert found.invented == 1.0
    assert found.ap50 == pytest.approx(0.5)


def test_two_boxes_on_one_person_find_only_one():
    found = detect_agreement(
        [boxes((0, 0, 10, 10, 0.9))], [boxes((0, 0, 10, 10, 0.9), (0, 0, 10, 9, 0.8))], firm=0.35, weak=0.25
    )
    assert (found.recall, found.invented) == (1.0, 1.0)


def test_a_reference_that_finds_nobody_gives_no_numbers():
    found = detect_agreement([NONE], [boxes((0, 0, 10, 10, 0.9))], firm=0.35, weak=0.25)
    assert (found.boxes, found.recall, found.ap50) == (0, None, None)


def test_a_candidate_that_finds_nobody_has_no_recall():
    found = detect_agreement([boxes((0, 0, 10, 10, 0.9))], [NONE], firm=0.35, weak=0.25)
    assert (found.recall, found.ap50, found.iou) == (0.0, 0.0, None)
