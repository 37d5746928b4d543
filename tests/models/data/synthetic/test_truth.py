from __future__ import annotations

import numpy as np

from common.skeleton import INDEX
from models.data.synthetic.canvas import SCALE, THING, Canvas
from models.data.synthetic.lens import Lens
from models.data.synthetic.light import draw_light
from models.data.synthetic.truth import HIDDEN_WEIGHT, Mark, label

LENS = Lens((0.0, -4.0, 1.0), 0.0, 0.0, 0.0, 60.0, 0.0, 60, 50)
NOSE, WRIST = INDEX["nose"], INDEX["left_wrist"]
DEPTH_M = 3.0


def scene() -> tuple[Canvas, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """A canvas with person 0 as a rectangle of 10..30 x 5..45 pixels, 3 m away."""
    canvas = Canvas(LENS, draw_light(np.random.default_rng(0), np.ones(3)))
    whole = np.zeros(canvas.shape, bool)
    whole[5 * SCALE : 45 * SCALE, 10 * SCALE : 30 * SCALE] = True
    canvas.owner[whole], canvas.depth[whole] = 0, DEPTH_M
    return canvas, whole


def mark(**places: tuple[float, float]) -> Mark:
    """All keypoints in the rectangle's middle and 2 cm under its surface, but those named."""
    pixels = np.tile(np.array([20.0, 25.0]), (17, 1))
    for name, place in places.items():
        pixels[INDEX[name]] = place
    return Mark(pixels, np.full(17, DEPTH_M + 0.02), 1.0)


def test_the_box_is_that_of_the_silhouette_in_picture_pixels() -> None:
    canvas, whole = scene()
    person = label(canvas, 0, whole, mark(), "lying")
    assert person is not None
    assert person.box_xyxy_px.tolist() == [10.0, 5.0, 30.0, 45.0]
    assert person.box_xyxy_px.dtype == np.float32
    assert person.area_px == 20 * 40
    assert person.posture == "lying"
    assert not person.uncertain


def test_the_box_ends_where_something_hides_the_person() -> None:
    canvas, whole = scene()
    hidden = np.zeros(canvas.shape, bool)
    hidden[30 * SCALE :] = True
    canvas.cover(hidden)
    person = label(canvas, 0, whole, mark(), "upright")
    assert person is not None
    assert person.box_xyxy_px.tolist() == [10.0, 5.0, 30.0, 30.0]


def test_a_keypoint_under_the_surface_is_seen_and_a_deep_one_is_hidden() -> None:
    canvas, whole = scene()
    depth = np.full(17, DEPTH_M + 0.02)
    depth[WRIST] = DEPTH_M + 0.3  # behind the back
    person = label(canvas, 0, whole, Mark(mark().pixels, depth, 1.0), "")
    assert person is not None
    assert person.keypoints is not None
    assert person.keypoints[WRIST, 2] == HIDDEN_WEIGHT
    assert (np.delete(person.keypoints[:, 2], WRIST) == 1.0).all()


def test_a_hidden_face_is_left_out_as_annotators_do() -> None:
    canvas, whole = scene()
    depth = np.full(17, DEPTH_M + 0.02)
    depth[NOSE] = DEPTH_M + 0.2  # who turns the back
    person = label(canvas, 0, whole, Mark(mark().pixels, depth, 1.0), "")
    assert person is not None
    assert person.keypoints is not None
    assert person.keypoints[NOSE].tolist() == [0.0, 0.0, 0.0]


def test_a_keypoint_outside_the_picture_or_behind_the_lens_has_no_weight() -> None:
    canvas, whole = scene()
    places = mark(left_wrist=(60.5, 25.0), right_wrist=(20.0, -0.1))
    places.depth[INDEX["left_ankle"]] = -1.0
    person = label(canvas, 0, whole, places, "")
    assert person is not None
    assert person.keypoints is not None
    for name in ("left_wrist", "right_wrist", "left_ankle"):
        assert person.keypoints[INDEX[name]].tolist() == [0.0, 0.0, 0.0]


def test_what_is_hidden_far_from_everything_seen_is_left_out_and_near_it_kept() -> None:
    canvas, whole = scene()
    hidden = np.zeros(canvas.shape, bool)
    hidden[20 * SCALE :] = True
    canvas.cover(hidden)
    places = mark(left_wrist=(20.0, 22.0), left_ankle=(20.0, 44.0))
    person = label(canvas, 0, whole, places, "")
    assert person is not None
    assert person.keypoints is not None
    assert person.keypoints[WRIST, 2] == HIDDEN_WEIGHT
    assert person.keypoints[INDEX["left_ankle"], 2] == 0.0


def test_somebody_else_hides_a_keypoint_too() -> None:
    canvas, whole = scene()
    canvas.owner[:, 24 * SCALE :], canvas.depth[:, 24 * SCALE :] = 1, 1.0
    person = label(canvas, 0, whole, mark(left_wrist=(25.0, 25.0)), "")
    assert person is not None
    assert person.keypoints is not None
    assert person.keypoints[WRIST, 2] == HIDDEN_WEIGHT


def test_who_is_hardly_seen_is_uncertain_and_who_is_not_seen_has_no_label() -> None:
    canvas, whole = scene()
    canvas.owner[: 40 * SCALE] = THING
    person = label(canvas, 0, whole, mark(), "")
    assert person is not None
    assert person.uncertain
    canvas.owner[:] = THING
    assert label(canvas, 0, whole, mark(), "") is None


def test_who_sits_where_the_picture_ends_above_the_knees_is_an_upper_body() -> None:
    canvas, whole = scene()
    below = {f"{side}_{joint}": (20.0, 60.0) for side in ("left", "right") for joint in ("knee", "ankle")}
    for posture, expected in (("sitting", "upper-body"), ("lying", "lying")):
        person = label(canvas, 0, whole, mark(**below), posture)
        assert person is not None
        assert person.posture == expected
