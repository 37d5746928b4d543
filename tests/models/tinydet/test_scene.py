"""Boxes follow their picture: turned, mirrored, moved, cut. All by hand, and by bright patches."""

from __future__ import annotations

import numpy as np
import pytest

from common.geometry import Floats
from models.data.sample import MemoryPicture, Person, Sample
from models.tinydet.scene import NO_BOXES, Scene, around, clipped, moved_boxes, scene_of, surrounds, warp

QUARTER = np.array([[0.0, -1.0, 40.0], [1.0, 0.0, 0.0]])  # of a picture 40 pixels high, clockwise as seen


def boxes(*rows: tuple[float, float, float, float]) -> Floats:
    return np.array(rows, np.float32).reshape(-1, 4)


def patch(box: tuple[int, int, int, int], width: int = 60, height: int = 40) -> Scene:
    """A white patch, its box the only person."""
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return Scene("patch", image, boxes(box), NO_BOXES)


def extent(image: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(("matrix", "size"), [
    (QUARTER, (40, 60)),
    (np.array([[-1.0, 0, 60], [0, 1.0, 0]]), (60, 40)),
    (np.array([[2.0, 0, 3], [0, 1.5, -5]]), (140, 60)),
    (np.array([[0.5, 0, 10], [0, 0.25, 4]]), (60, 40)),
    (np.array([[1.0, 0, -20], [0, 1.0, 0]]), (60, 40)),
], ids=["quarter turn", "mirror", "enlarge and cut", "shrink", "shift"])  # fmt: skip
def test_a_box_stays_around_its_patch(matrix: Floats, size: tuple[int, int]) -> None:
    moved = warp(patch((12, 8, 44, 32)), matrix, size, (0, 0, 0))
    assert moved.image.shape == (size[1], size[0], 3)
    np.testing.assert_allclose(moved.people[0], extent(moved.image), atol=0.51)


def test_a_slanted_box_is_that_of_the_inscribed_ellipse() -> None:
    angle = np.pi / 4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    moved = moved_boxes(boxes((-10, -10, 10, 10)), turn)
    np.testing.assert_allclose(moved, boxes((-10, -10, 10, 10)), atol=1e-4)  # a circle stays; the turned square would be 14


def test_the_box_of_a_slanted_ellipse_holds_it() -> None:
    t = np.linspace(0, 2 * np.pi, 400)
    ellipse = np.stack([30 * np.cos(t), 10 * np.sin(t)], axis=1)
    matrix = np.array([[0.9, -0.5, 7.0], [0.4, 1.1, -3.0]])
    points = ellipse @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(
        moved_boxes(boxes((-30, -10, 30, 10)), matrix)[0], [*points.min(axis=0), *points.max(axis=0)], atol=0.01
    )


def test_a_person_cut_to_less_than_a_quarter_is_ignored_and_gone_when_outside() -> None:
    kept, lost = clipped(boxes((10, 10, 30, 30), (-16, 0, 4, 20), (-10, 0, 10, 20), (70, 0, 90, 20), (5, 5, 8, 30)), (60, 40))
    np.testing.assert_array_equal(kept, boxes((10, 10, 30, 30), (0, 0, 10, 20)))
    np.testing.assert_array_equal(lost, boxes((0, 0, 4, 20), (5, 5, 8, 30)))  # a fifth is left; 3 pixels wide


def test_ignored_boxes_stay_ignored_however_small() -> None:
    scene = Scene("x", np.zeros((40, 60, 3), np.uint8), NO_BOXES, boxes((0, 0, 20, 20)))
    moved = warp(scene, np.array([[0.1, 0, 0], [0, 0.1, 0]]), (60, 40), (0, 0, 0))
    np.testing.assert_allclose(moved.ignored, boxes((0, 0, 2, 2)))
    assert len(moved.people) == 0


def test_what_surrounds_a_sure_person_is_a_bad_box_of_it_and_not_a_second_person() -> None:
    sure = boxes((20, 10, 30, 30))
    unsure = boxes((5, 0, 50, 40), (20, 10, 31, 31), (22, 12, 26, 20), (40, 10, 50, 30))
    assert surrounds(unsure, sure).tolist() == [True, False, False, False]


def test_around_covers_all_but_the_box() -> None:
    seen = np.zeros((40, 60), int)
    for x0, y0, x1, y1 in around(boxes((10, 5, 30, 20))[0], 60, 40).astype(int):
        seen[y0:y1, x0:x1] += 1
    assert (seen[5:20, 10:30] == 0).all()
    seen[5:20, 10:30] = 1
    assert (seen == 1).all()


def sample(*people: Person, complete: bool = True) -> Sample:
    return Sample("s", MemoryPicture(np.zeros((40, 60, 3), np.uint8)), people, "made", "", complete=complete)


def test_uncertain_people_are_ignored_and_the_others_found() -> None:
    sure, unsure = boxes((10, 5, 30, 20), (40, 5, 50, 20))
    scene = scene_of(sample(Person(sure), Person(unsure, uncertain=True)))
    np.testing.assert_array_equal(scene.people, [sure])
    np.testing.assert_array_equal(scene.ignored, [unsure])


def test_around_the_person_of_a_crop_nothing_is_background() -> None:
    scene = scene_of(sample(Person(boxes((10, 5, 30, 20))[0]), complete=False))
    assert len(scene.people) == 1
    assert len(scene.ignored) == 4
