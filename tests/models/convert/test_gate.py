from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.convert.agreement import DetectAgreement, PoseAgreement
from models.convert.gate import DETECT, MIN_BOXES, MIN_DECIDED, POSE, judge_detect, judge_pose
from models.convert.output_error import OutputError

PRECISIONS = tuple(POSE)
EXACT = OutputError(1e-7, 1e-8, 1e-7)
POSES = PoseAgreement(40, 680, 600, EXACT, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0)
BOXES = DetectAgreement(40, 100, 1.0, 0.0, 1.0, 1.0, 0.0, EXACT)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_networks_that_agree_pass(precision):
    assert judge_pose(POSES, precision).passed
    assert judge_detect(BOXES, precision).passed


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("oks", 0.9, "OKS"),
        ("oks", float("nan"), "OKS"),
        ("shift_median_px", 1.5, "median keypoint shift is 1.5 px"),
        ("shift_p95_px", 9.0, "95th percentile"),
        ("score_drift", -0.2, "drop of keypoint scores"),
    ],
)
def test_each_loss_is_a_reason_of_its_own(precision, field, value, reason):
    verdict = judge_pose(replace(POSES, **{field: value}), precision)
    assert not verdict.passed
    (found,) = verdict.reasons
    assert reason in found


def test_what_int8_may_lose_a_float_file_may_not():
    found = replace(POSES, oks=0.985, shift_median_px=0.5, shift_p95_px=2.0)
    assert judge_pose(found, "int8").passed
    assert not judge_pose(found, "float32").passed
    assert not judge_pose(found, "float16").passed


def test_higher_scores_are_no_loss_of_a_pose_network_but_count_for_a_detector():
    assert judge_pose(replace(POSES, score_drift=0.2), "int8").passed
    assert not judge_detect(replace(BOXES, score_drift=0.2), "int8").passed


def test_flat_heatmaps_are_judged_by_the_raw_outputs_and_it_is_said():
    flat = PoseAgreement(40, 680, 3, OutputError(0.1, 0.01, 0.1))
    verdict = judge_pose(flat, "int8")
    assert verdict.passed
    assert "OKS says nothing here" in verdict.notes[0]
    assert "3 of 680" in verdict.notes[0]


@pytest.mark.parametrize("noise", [0.21, 1.0, np.inf, np.nan])
def test_flat_heatmaps_do_not_pass_blindly(noise):
    verdict = judge_pose(PoseAgreement(40, 680, 0, OutputError(0.1, 0.01, noise)), "int8")
    assert not verdict.passed
    assert "noise of the raw outputs" in verdict.reasons[0]


def test_a_float_file_with_flat_heatmaps_must_equal_the_reference_at_every_single_value():
    assert judge_pose(PoseAgreement(40, 680, 0, OutputError(1e-4, 1e-6, 1e-5)), "float32").passed
    assert not judge_pose(PoseAgreement(40, 680, 0, OutputError(5e-3, 1e-6, 1e-5)), "float32").passed


def test_neither_keypoints_nor_outputs_means_no():
    assert not judge_pose(PoseAgreement(40, 680, 0, None), "int8").passed
    assert not judge_detect(DetectAgreement(40, 0, None, None, None, None, None, None), "int8").passed


def test_too_few_people_or_keypoints_or_boxes_never_pass_on_their_own():
    assert not judge_pose(replace(POSES, people=3), "int8").passed
    few = replace(POSES, decided=MIN_DECIDED - 1, error=None)
    assert not judge_pose(few, "int8").passed
    assert not judge_detect(replace(BOXES, boxes=MIN_BOXES - 1, error=None), "int8").passed


def test_few_keypoints_or_boxes_are_no_reason_to_look_at_raw_outputs_only():
    """Raw outputs of a network that finds nobody any more can look alike: most of their numbers are no scores."""
    quiet = OutputError(0.3, 0.01, 0.03)
    gone = judge_detect(replace(BOXES, boxes=8, recall=0.0, score_drift=-0.6, error=quiet), "int8")
    assert not gone.passed
    assert "finds 8 boxes" in gone.reasons[0]
    lost = judge_pose(replace(POSES, keypoints=136, decided=99, oks=0.1, shift_median_px=20.0, error=quiet), "int8")
    assert {reason.split(" is ")[0] for reason in lost.reasons} >= {"OKS against the reference", "median keypoint shift"}
    assert judge_pose(replace(POSES, keypoints=136, decided=99, error=quiet), "int8").passed


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_detector_that_finds_nobody_is_judged_by_raw_outputs_in_floats_only(precision):
    nobody = DetectAgreement(40, 0, None, None, None, None, None, OutputError(1e-5, 1e-6, 1e-5))
    assert judge_detect(nobody, precision).passed == precision.startswith("float")


def test_keypoints_that_do_not_count_are_reported():
    assert judge_pose(POSES, "int8").notes == (
        "80 of 680 keypoints do not count: the reference has no single clear maximum for them",
    )


@pytest.mark.parametrize(
    ("field", "value"), [("recall", 0.9), ("ap50", 0.9), ("invented", 0.2), ("score_drift", -0.2), ("score_drift", None)]
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_loss_of_a_detector_is_a_reason(precision, field, value):
    assert len(judge_detect(replace(BOXES, **{field: value}), precision).reasons) == 1


def test_tolerances_grow_with_what_a_precision_gives_up():
    for wide, narrow in (("float16", "float32"), ("int8", "float16"), ("dynamic_int8", "float16")):
        assert POSE[wide].oks_min <= POSE[narrow].oks_min
        assert POSE[wide].shift_p95_px >= POSE[narrow].shift_p95_px
        assert POSE[wide].noise >= POSE[narrow].noise
        assert DETECT[wide].recall <= DETECT[narrow].recall
        assert DETECT[wide].noise >= DETECT[narrow].noise


def test_agreement_bounds_the_loss_of_oks_for_shifts_without_direction():
    """The reason for 0.98: simulated, errors of the reference and independent shifts, of any size."""
    rng = np.random.default_rng(0)
    for error, shift in ((0.3, 0.1), (0.5, 0.2), (1.0, 0.2), (2.0, 0.5)):
        x = rng.normal(0, error, (200_000, 2))
        u = rng.normal(0, shift, (200_000, 2))
        before = np.exp(-(x**2).sum(1) / 2).mean()
        after = np.exp(-((x + u) ** 2).sum(1) / 2).mean()
        agreement = np.exp(-(u**2).sum(1) / 2).mean()
        assert before - after <= before * (1 - agreement) + 2e-3
