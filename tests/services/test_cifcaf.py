"""The decoder of composite fields on fields of known people."""

from __future__ import annotations

import numpy as np
import pytest

from common.runtimes.base import ModelError
from common.runtimes.fake import STANDING
from common.skeleton import INDEX, SIGMAS
from services.pose.cifcaf import boxes_around, cifcaf, person_scores, suppress
from services.pose.cifcaf_fields import PAIRS_MAX, POINTS_MAX, read_fields
from services.pose.cifcaf_grow import Joint, Links, grow
from tests.services.cifcaf_parts import HEIGHT, STRIDE, WIDTH, body_size, fields, lying, standing, with_flags, without

SIZE = WIDTH, HEIGHT
# Ideal fields regress the exact position; what is left is float32 at hundreds of pixels.
EXACT_PX = 0.01


def row(count: int) -> list[np.ndarray]:
    """People side by side, each a little taller than the one before."""
    return [standing(20 + 120 * i, 60 - 8 * i, 70, 300 + 20 * i) for i in range(count)]


def errors_px(keypoints: np.ndarray, people: list[np.ndarray]) -> tuple[list[int], np.ndarray]:
    """Which row is which person, and the distance of each visible keypoint (P, 17), 0 where it is not visible."""
    distance = np.stack([np.linalg.norm(keypoints[:, :, :2] - person[:, :2], axis=2) for person in people])  # (P, N, 17)
    seen = np.stack([(person[:, 2] > 0) for person in people])[:, None]
    mean = np.where(seen, distance, 0).sum(axis=2) / seen.sum(axis=2)
    best = mean.argmin(axis=1)
    return best.tolist(), np.where(seen[:, 0], distance[np.arange(len(people)), best], 0)


def assert_each_once(outputs: dict, people: list[np.ndarray], *, within_px: float, size=SIZE) -> np.ndarray:
    """Each person is found once, no keypoint is another's, none is missing; returns their rows."""
    boxes, scores, keypoints = cifcaf(outputs, size)
    assert len(scores) == len(people)
    assert boxes.shape == (len(people), 4)
    assert (np.diff(scores) <= 0).all()
    which, error = errors_px(keypoints, people)
    assert sorted(which) == list(range(len(people)))
    assert error.max() <= within_px
    for person, found in zip(people, keypoints[which], strict=True):
        np.testing.assert_array_equal(found[:, 2] > 0, person[:, 2] > 0)
    return keypoints[which]


@pytest.mark.parametrize("layout", ["0.13", "0.12"])
@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_ideal_fields_give_each_person_once_and_exactly(layout, stride, count):
    people = row(count)
    assert_each_once(fields(people, stride=stride, layout=layout), people, within_px=EXACT_PX)


def test_an_empty_frame_has_nobody():
    boxes, scores, keypoints = cifcaf(fields([]), SIZE)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
    assert keypoints.shape == (0, 17, 3)


def test_people_in_front_of_each_other_keep_their_own_limbs():
    """Two people half behind each other: boxes that overlap by half, joints of the same kind 35 px apart."""
    people = [standing(200, 80, 70, 300), standing(235, 95, 70, 300)]
    assert_each_once(fields(people), people, within_px=EXACT_PX)


def test_crossed_arms_of_two_people_stay_theirs():
    """The left one's left arm and the right one's right arm reach across each other."""
    left, right = standing(150, 80, 90, 300), standing(300, 80, 90, 300)
    left[INDEX["left_elbow"], :2], left[INDEX["left_wrist"], :2] = (270, 180), (320, 250)
    right[INDEX["right_elbow"], :2], right[INDEX["right_wrist"], :2] = (270, 220), (225, 160)
    assert_each_once(fields([left, right]), [left, right], within_px=EXACT_PX)


def test_a_person_who_lies_across_one_who_stands():
    people = [standing(280, 60, 80, 320), lying(150, 330, 330, 90)]
    assert_each_once(fields(people), people, within_px=EXACT_PX)


@pytest.mark.parametrize("turn_deg", [45, 90, 135, 180])
def test_people_in_any_direction(turn_deg):
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    person = with_flags((STANDING - 0.5) * np.array([90, 280]) @ turn.T + np.array([320, 240]))
    assert_each_once(fields([person]), [person], within_px=EXACT_PX)


def test_missing_keypoints_are_said_to_be_missing_and_the_others_found():
    """One sits behind a desk: no hips, knees and ankles; another's arm is hidden, the head is out of the picture."""
    desk = without(standing(100, 60, 90, 320), *range(11, 17))
    hidden = without(standing(350, 60, 90, 320), INDEX["left_elbow"], INDEX["left_wrist"], 0, 1, 2, 3, 4)
    found = assert_each_once(fields([desk, hidden]), [desk, hidden], within_px=EXACT_PX)
    assert (found[0, 11:, 2] == 0).all()
    boxes, _, keypoints = cifcaf(fields([desk]), SIZE)
    centre = (boxes[0, :2] + boxes[0, 2:]) / 2
    np.testing.assert_allclose(keypoints[0, 11:, :2], np.broadcast_to(centre, (6, 2)))


def test_a_gap_in_the_skeleton_is_bridged_by_the_way_round():
    """Without its left hip, the left leg hangs on nothing but the knee: it is no part of a person who has no way to it."""
    person = without(standing(200, 60, 90, 320), INDEX["left_hip"])
    _, scores, keypoints = cifcaf(fields([person]), SIZE)
    best = keypoints[0]
    reachable = [k for k in range(17) if k not in (INDEX["left_hip"], INDEX["left_knee"], INDEX["left_ankle"])]
    assert (best[reachable, 2] > 0).all()
    assert best[INDEX["left_hip"], 2] == 0
    assert len(scores) <= 2  # the rest of the leg may be somebody of its own, of little certainty
    assert (scores[1:] < 0.25).all()


def test_a_hidden_arm_is_not_borrowed_from_a_neighbour():
    """Two left shoulders 1.4 of their sizes apart, one arm: it belongs to the one that it leads back to, though the other is
    the more certain person."""
    arm = INDEX["left_elbow"], INDEX["left_wrist"]
    whole = standing(150, 80, 90, 300)
    apart = 1.4 * SIGMAS[INDEX["left_shoulder"]] * body_size(whole)
    behind = standing(150 + apart, 80, 90, 300)
    behind = without(behind, *(k for k in range(17) if k not in (INDEX["left_shoulder"], *arm)))
    _, _, keypoints = cifcaf(fields([without(whole, *arm), behind]), SIZE)
    assert (keypoints[0, [11, 12, 13, 14, 15, 16], 2] > 0).all()  # the whole one comes first
    assert (keypoints[0, list(arm), 2] == 0).all()


def one_way(x: float, y: float, to_x: float, to_y: float, score: float) -> Links:
    return Links(np.array([x], np.float32), np.array([y], np.float32), np.array([[to_x, to_y, 5.0, score]], np.float32))


def test_the_most_certain_way_to_a_keypoint_is_taken_first():
    """From the left shoulder to the right one: weakly straight to a wrong place, surely by the hips to the right place."""
    ways = {
        (5, 6): (0, 0, 90, 9, 0.3),
        (5, 11): (0, 0, 0, 100, 0.9),
        (11, 12): (0, 100, 50, 100, 0.9),
        (12, 6): (50, 100, 50, 0, 0.9),
    }
    network = {kind: {} for kind in range(17)}
    for (start, end), (x, y, to_x, to_y, score) in ways.items():
        network[start][end] = one_way(x, y, to_x, to_y, score)
        network[end][start] = one_way(to_x, to_y, x, y, score)
    person = grow(network, 5, Joint(0, 0, 5, 0.9), 4.0)
    assert set(person) == {5, 6, 11, 12}
    assert (person[6].x, person[6].y) == (50, 0)
    assert person[6].score == pytest.approx(0.9)  # the geometric mean of the connection's and the keypoint's before


@pytest.mark.parametrize("noise_px", [1.0, 2.0, 3.0])
def test_noise_moves_keypoints_by_less_than_it_moves_a_cell(noise_px):
    """Each keypoint is the mean of several cells: its median error is below the cells' own, median 1.18 sigma in two axes."""
    worst = []
    for seed in range(4):
        people = row(5)
        _, scores, keypoints = cifcaf(fields(people, noise_px=noise_px, seed=seed), SIZE)
        assert (scores >= 0.25).sum() == 5
        which, error = errors_px(keypoints[:5], people)
        assert sorted(which) == list(range(5))
        assert (keypoints[:5, :, 2] > 0).all()
        assert np.median(error) < 0.6 * noise_px
        worst.append(error.max())
    assert max(worst) < 4 * noise_px + STRIDE / 4


def test_cells_that_nobody_confirms_are_not_people():
    """Confidences of a fifth at random places, pointing anywhere: never a person above the threshold of the service."""
    outputs = fields([])
    random = np.random.default_rng(5)
    outputs["cif"][:, :, 1] = np.where(random.random(outputs["cif"][:, :, 1].shape) < 0.02, 0.3, outputs["cif"][:, :, 1])
    outputs["caf"][:, :, 1] = np.where(random.random(outputs["caf"][:, :, 1].shape) < 0.02, 0.3, outputs["caf"][:, :, 1])
    assert not (cifcaf(outputs, SIZE)[1] >= 0.25).any()


def test_fields_without_sense_take_bounded_time_and_memory():
    """All cells certain and pointing anywhere, as of an untrained network: few of 178,000 cells are looked at."""
    random = np.random.default_rng(6)
    outputs = fields([])
    for values in outputs.values():
        values[:, :, 1] = random.uniform(0.5, 1, values[:, :, 1].shape)
    points, pairs, _ = read_fields(outputs, SIZE)
    assert len(points.kinds) == POINTS_MAX
    assert len(pairs.fields) == PAIRS_MAX
    assert points.confidences.min() > 0.85  # the most certain of them
    assert (np.diff(pairs.fields) >= 0).all()
    assert len(cifcaf(outputs, SIZE)[1]) <= 64


def test_a_crowd_of_twenty_small_people():
    people = [standing(12 + 62 * (i % 10), 30 + 220 * (i // 10), 32, 150) for i in range(20)]
    assert_each_once(fields(people), people, within_px=EXACT_PX)


def test_boxes_hold_head_and_feet_and_little_more():
    person = standing(200, 60, 90, 320)
    (box,), _, _ = cifcaf(fields([person]), SIZE)
    low, high = person[:, :2].min(axis=0), person[:, :2].max(axis=0)
    height = high[1] - low[1]
    for margin in (low[0] - box[0], low[1] - box[1], box[2] - high[0], box[3] - high[1]):
        assert 0.02 * height < margin < 0.1 * height


def test_a_person_scores_by_the_best_three_keypoints_most():
    people = np.zeros((2, 17, 4), np.float32)
    people[0, :3, 3] = people[1, :, 3] = 0.9
    np.testing.assert_allclose(person_scores(people), [0.9 * 9 / 23, 0.9], rtol=1e-6)


def loop_suppress(people: np.ndarray, stride: float) -> np.ndarray:
    people = people[np.argsort(-person_scores(people), kind="stable")].copy()
    for i in range(len(people)):
        for k in range(17):
            for better in range(i):
                x, y, size, score = people[better, k]
                close = np.hypot(people[i, k, 0] - x, people[i, k, 1] - y) < max(size, stride)
                if score > 0 and close:
                    people[i, k, 3] = 0
    return people


def test_suppression_is_that_of_plain_loops():
    random = np.random.default_rng(1)
    people = random.uniform(0, 40, (7, 17, 4)).astype(np.float32)
    people[:, :, 2] = random.uniform(1, 14, (7, 17))
    people[:, :, 3] = np.where(random.random((7, 17)) < 0.2, 0, random.random((7, 17)))
    np.testing.assert_array_equal(suppress(people.copy(), 8.0), loop_suppress(people, 8.0))


def test_boxes_of_no_people():
    assert boxes_around(np.empty((0, 17, 4), np.float32)).shape == (0, 4)


def test_wrong_outputs_are_refused_with_what_came():
    good = fields(row(1))
    wrong = {
        "another number of keypoints": {"cif": good["cif"][:, :14], "caf": good["caf"]},
        "another skeleton": {"cif": good["cif"], "caf": good["caf"][:, :16]},
        "only one head": {"cif": good["cif"]},
        "an unknown layout": {"cif": good["cif"], "caf": good["caf"][:, :, :7]},
        "two grids": {"cif": good["cif"], "caf": good["caf"][..., 1:]},
        "a heat map": {"cif": good["cif"][:, :, 0], "caf": good["caf"]},
    }
    for what, outputs in wrong.items():
        with pytest.raises(ModelError, match=r"decoder 'cifcaf' expects .* trained on cocokp; the network gave") as raised:
            cifcaf(outputs, SIZE)
        assert str(next(iter(outputs.values())).shape) in str(raised.value), what


def test_fields_that_are_not_finite_are_refused():
    outputs = fields(row(1))
    outputs["caf"][0, 3, 2, 5, 5] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        cifcaf(outputs, SIZE)


def test_fields_that_do_not_cover_the_input_are_refused():
    with pytest.raises(ModelError, match="81x61 cells do not cover an input of 1000x481"):
        cifcaf(fields(row(1)), (1000, 481))
