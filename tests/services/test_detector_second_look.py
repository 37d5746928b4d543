"""Geometry of the second look, and the network that knows upright people only."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.geometry import Image, iou_matrix
from common.messages import Keypoint, Track
from services.detector import second_look
from services.detector.detect import Detections, PersonDetector
from services.detector.second_look import Gap
from tests.services.second_look_parts import SIZE, lying_room, seen, skeleton, track, upright_only

UPRIGHT = (280.0, 100.0, 360.0, 340.0)  # 240 px tall
FLOOR = (200, 300, 440, 370)  # the same person, lying


def gap(box: tuple[float, float, float, float] = UPRIGHT, body_px: float = 240.0, *, lies: bool = False) -> Gap:
    return Gap(3, np.array(box, np.float32), body_px, None, lies)


@pytest.fixture(scope="module")
def model() -> PersonDetector:
    return upright_only()


def test_the_network_of_these_tests_sees_a_lying_person_only_when_turned(model):
    image = lying_room(FLOOR)
    assert len(model.detect(image)) == 0
    assert len(model.detect(np.ascontiguousarray(np.rot90(image)))) == 1


@pytest.mark.parametrize("turn", [90, -90])
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("floor", [FLOOR, (20, 390, 260, 470), (400, 20, 639, 90)])
def test_a_turned_look_finds_who_lies_in_pixels_of_the_frame_as_captured(model, turn, scale, floor):
    image = lying_room(floor)
    if scale != 1.0:
        image = np.ascontiguousarray(image[::2, ::2])
    centre = ((floor[0] + floor[2]) / 2, (floor[1] + floor[3]) / 2)
    box = (centre[0] - 40, centre[1] - 160, centre[0] + 40, centre[1] + 80)
    window = second_look.region_of(gap(box), SIZE)
    boxes, scores = second_look.look(image, window, SIZE, turn, model.detect)
    assert len(scores) == 1
    assert iou_matrix(boxes, np.array([floor], np.float32))[0, 0] > 0.85


@given(
    x=st.floats(-700, 1300), y=st.floats(-700, 1300), body=st.floats(1, 5000), turn=st.sampled_from([0, 90, -90, 180]),
    scale=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_any_gap_gives_a_window_inside_the_frame_and_a_picture_that_is_not_empty(x, y, body, turn, scale):
    window = second_look.region_of(gap((x, y, x + 10, y + 10), body), SIZE)
    x0, y0, x1, y1 = window
    assert 0 <= x0 < x1 <= SIZE[0]
    assert 0 <= y0 < y1 <= SIZE[1]
    shapes: list[tuple[int, ...]] = []

    def detect(image: Image) -> Detections:
        shapes.append(image.shape)
        height, width = image.shape[:2]
        return Detections(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))

    image = np.zeros((SIZE[1] // scale, SIZE[0] // scale, 3), np.uint8)
    boxes, _ = second_look.look(image, window, SIZE, turn, detect)
    assert min(shapes[0]) >= 1
    np.testing.assert_allclose(boxes[0], window, atol=2 * scale)  # the whole part is the window, to within a pixel


def test_the_window_shows_a_body_that_toppled_to_any_side():
    x0, y0, x1, y1 = second_look.region_of(gap(), SIZE)
    feet_x, feet_y, body = 320, 340, 240
    assert x0 <= feet_x - body
    assert x1 >= feet_x + body
    assert y0 <= 220 - body / 2
    assert y1 >= feet_y + body / 2


def unseen(tracks: list[Track], since_s: float, *boxes: tuple[float, float, float, float], score: float = 0.9) -> list[int]:
    bodies = np.full(len(tracks), 240.0, np.float32)
    return [tracks[i].track_id for i in second_look.unseen(tracks, bodies, since_s, *seen(*boxes, score=score))]


def test_of_somebody_known_to_lie_there_the_window_shows_any_turn_of_the_body():
    x0, y0, x1, y1 = second_look.region_of(gap((200, 200, 440, 260), lies=True), SIZE)
    assert x0 <= 200 - 30
    assert x1 >= 440 + 30
    assert y0 <= 230 - 120
    assert y1 >= 230 + 120


def test_each_detection_explains_one_track_and_the_best_pair_comes_first():
    stands, fell = track(1, (300, 100, 380, 340)), track(2, (310, 110, 390, 350), state="falling")
    assert unseen([fell, stands], 0.1, (300, 100, 380, 340)) == [2]


def test_a_certain_box_nearby_explains_a_track_and_a_weak_or_far_or_much_larger_one_does_not():
    person = track(1, UPRIGHT)
    beside = (370, 150, 450, 350)  # 90 px of 240 away, no overlap
    assert unseen([person], 0.1, beside) == []
    assert unseen([person], 0.1, beside, score=0.3) == [1]
    assert unseen([person], 0.1, (0, 100, 80, 340)) == [1]
    assert unseen([person], 0.1, (300, 200, 340, 240)) == [1]


def test_who_was_missed_for_longer_may_be_farther_away_but_never_more_than_a_body_length():
    away = (480, 100, 560, 340)  # 200 px of 240
    assert unseen([track(1, UPRIGHT)], 0.1, away) == [1]
    assert unseen([track(1, UPRIGHT, missed_s=0.6)], 0.1, away) == []
    assert unseen([track(1, UPRIGHT, missed_s=100.0)], 0.1, (570, 100, 650, 340)) == [1]


def test_a_weak_box_at_the_same_place_explains_a_track_unless_it_shows_a_part_of_the_body_only():
    assert unseen([track(1, UPRIGHT)], 0.1, UPRIGHT, score=0.26) == []
    lying, head = (200, 300, 440, 370), (200, 300, 260, 370)
    assert unseen([track(1, lying)], 0.1, head, score=0.3) == [1]
    assert unseen([track(1, lying)], 0.1, head, score=0.5) == [], "a certain one is a change of shape"


def test_who_is_behind_somebody_is_not_looked_for_unless_that_person_fell():
    in_front = (250, 60, 400, 400)
    behind = (270, 200, 340, 330)
    assert unseen([track(1, in_front), track(2, behind)], 0.1, in_front) == []
    assert unseen([track(1, in_front), track(2, behind, state="fallen")], 0.1, in_front) == [2]
    assert unseen([track(1, in_front), track(2, (380, 200, 450, 330))], 0.1, in_front) == [2]


@pytest.mark.parametrize(
    ("box", "state", "left"),
    [
        ((0, 100, 80, 340), "normal", True),
        ((561, 100, 638, 340), "normal", True),
        ((280, 240, 360, 480), "normal", False),  # feet below the picture: near the camera they always are
        ((280, 0, 360, 240), "normal", False),
        ((0, 300, 230, 370), "normal", False),  # who lies does not walk out
        ((0, 100, 80, 340), "falling", False),  # who falls does not walk out
        ((0, 100, 80, 340), "fallen", False),
    ],
)
def test_who_touched_a_side_of_the_frame_may_have_left_unless_that_person_fell(box, state, left):
    assert second_look.may_have_left(track(1, box, state=state), 640) is left


def test_a_skeleton_that_leant_says_which_turn_sets_it_upright():
    assert second_look.leaning(track(1, UPRIGHT, keypoints=skeleton(head=(400, 300), feet=(240, 320)))) == 90
    assert second_look.leaning(track(1, UPRIGHT, keypoints=skeleton(head=(240, 320), feet=(400, 300)))) == -90
    assert second_look.leaning(track(1, UPRIGHT, keypoints=skeleton(head=(320, 340), feet=(330, 200)))) == 180
    assert second_look.leaning(track(1, UPRIGHT, keypoints=skeleton(head=(320, 100), feet=(330, 340)))) is None


@pytest.mark.parametrize(
    "keypoints",
    [
        (),
        tuple((0.0, 0.0, 0.9) for _ in range(16)),
        skeleton(head=(400, 300), feet=(240, 320), score=0.1),
        tuple((math.nan, 0.0, 0.9) for _ in range(17)),
        tuple((1e300, 0.0, 0.9) for _ in range(17)),
        tuple((5.0, 5.0, 0.9) for _ in range(17)),
    ],
)
def test_a_skeleton_that_says_nothing_asks_for_no_turn(keypoints: tuple[Keypoint, ...]):
    assert second_look.leaning(track(1, UPRIGHT, keypoints=keypoints)) is None


@pytest.mark.parametrize(
    "box",
    [(math.nan, 0, 10, 10), (0, 0, math.inf, 10), (10, 0, 0, 10), (5, 5, 5, 9), (-90, -90, -10, -10), (700, 0, 800, 90),
     (-1e9, 0, 1e9, 10)],
)  # fmt: skip
def test_a_track_without_a_real_box_is_not_used(box):
    bad: Track = track(1, box)
    assert not second_look.usable(bad, SIZE)
    assert second_look.usable(track(1, UPRIGHT), SIZE)


def chosen(boxes: list[tuple[float, ...]], scores: list[float], already: tuple[float, ...] | None = None) -> int | None:
    seen_boxes = np.array([already] if already else np.zeros((0, 4)), np.float32)
    return second_look.choose(gap(), np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), seen_boxes, 0.4)


def test_the_most_certain_new_box_near_the_gap_is_the_person():
    floor = (200, 290, 440, 370)
    assert chosen([], []) is None
    assert chosen([floor, (210, 290, 450, 370)], [0.5, 0.8]) == 1
    assert chosen([floor], [0.39]) is None
    assert chosen([(0, 20, 90, 60)], [0.9]) is None, "too far"
    assert chosen([(300, 200, 330, 260)], [0.9]) is None, "too small"
    assert chosen([floor], [0.9], already=(205, 290, 445, 370)) is None, "somebody else, seen by the first look"
    assert chosen([(250, 120, 400, 200)], [0.9], already=(240, 100, 340, 340)) is None, "the better part of somebody seen"
    assert chosen([floor], [0.9], already=(150, 150, 230, 370)) == 0, "who kneels beside"


def test_an_uncertain_box_will_do_for_somebody_known_to_lie_there():
    floor, nobody = np.array([(200, 290, 440, 370)], np.float32), np.zeros((0, 4), np.float32)
    weak = np.array([0.3], np.float32)
    assert second_look.choose(gap((205, 290, 445, 370), lies=True), floor, weak, nobody, 0.4) == 0
    assert second_look.choose(gap((205, 290, 445, 370)), floor, weak, nobody, 0.4) is None
    assert second_look.choose(gap((280, 290, 520, 370), lies=True), floor, weak, nobody, 0.4) is None, "another place"
