"""What is done to training pictures keeps labels true, whatever the draw."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.geometry import Floats
from models.tinydet.augment import Chances, decoy, lay, mosaic, overlap, pasted, picture, placed, view
from models.tinydet.cutouts import Cutout
from models.tinydet.light import blurred, compressed, exposed, grey, noisy, photograph
from models.tinydet.scene import NO_BOXES, Scene

SIZE = (208, 128)
GREEN = np.array([20, 200, 30], np.uint8)


def room(seed: int = 0, people: int = 2) -> Scene:
    """A grey picture with green people, which is how the tests tell where they are."""
    random = np.random.default_rng(seed)
    image = random.integers(90, 110, (150, 200, 3), np.uint8)
    found = []
    for i in range(people):
        x, y = 20 + 90 * i, int(random.integers(20, 60))
        image[y : y + 70, x : x + 30] = GREEN
        found.append((x, y, x + 30, y + 70))
    return Scene(f"room{seed}", image, np.array(found, np.float32).reshape(-1, 4), NO_BOXES)


def figure() -> Cutout:
    alpha = np.zeros((90, 40), np.uint8)
    cv2.ellipse(alpha, (20, 45), (19, 44), 0, 0, 360, 255, -1)
    return Cutout("figure", np.broadcast_to(GREEN, (90, 40, 3)).copy(), alpha, "upright")


def is_green(image: np.ndarray) -> np.ndarray:
    return np.asarray(image[..., 1].astype(int) > image[..., 0].astype(int) + 60)


def unlabelled(scene: Scene) -> int:
    """Green pixels that no box of people or ignored holds, but for a pixel at its sides."""
    green = is_green(scene.image)
    for x0, y0, x1, y1 in np.concatenate([scene.people, scene.ignored]):
        green[max(0, int(y0) - 1) : int(np.ceil(y1)) + 1, max(0, int(x0) - 1) : int(np.ceil(x1)) + 1] = False
    return int(green.sum())


def empty_people(scene: Scene) -> int:
    """People whose box holds less than a third of green."""
    green = is_green(scene.image)
    shares = [green[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))].mean() for x0, y0, x1, y1 in scene.people]
    return sum(share < 1 / 3 for share in shares)


@pytest.mark.parametrize("seed", range(12))
def test_in_views_people_are_where_the_labels_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    straight = Chances(plain=0.1, slant=0.0)
    seen = view(rng, room(seed), SIZE, straight)
    assert seen.image.shape == (128, 208, 3)
    assert unlabelled(seen) == 0
    assert empty_people(seen) == 0


@pytest.mark.parametrize("seed", range(6))
def test_in_mosaics_people_are_where_the_labels_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = mosaic(rng, SIZE, [room(seed + i) for i in range(4)], Chances(slant=0.0))
    assert seen.image.shape == (128, 208, 3)
    assert unlabelled(seen) == 0
    assert empty_people(seen) == 0
    assert seen.name == f"room{seed}+room{seed + 1}+room{seed + 2}+room{seed + 3}"


def test_a_plain_view_is_what_the_service_sees() -> None:
    from common.geometry import letterbox

    scene = room()
    seen = view(np.random.default_rng(0), scene, SIZE, Chances(plain=1.0))
    fitted = letterbox(scene.image, SIZE)
    assert np.abs(seen.image.astype(int) - fitted.pixels).mean() < 3  # rounding of the size, other sampling
    np.testing.assert_allclose(seen.people, scene.people * 128 / 150, atol=0.1)


@pytest.mark.parametrize("seed", range(8))
def test_a_person_laid_into_a_scene_has_the_box_of_what_is_seen(seed: int) -> None:
    empty = Scene("empty", np.full((128, 208, 3), 100, np.uint8), NO_BOXES, NO_BOXES)
    seen = lay(np.random.default_rng(seed), empty, figure())
    assert len(seen.people) + len(seen.ignored) == 1
    box = np.concatenate([seen.people, seen.ignored])[0]
    rows, columns = np.nonzero(np.abs(seen.image.astype(int) - 100).max(axis=2) > 25)
    np.testing.assert_allclose(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=2)


def test_whom_a_patch_hides_is_ignored_and_whom_it_touches_stays() -> None:
    people = np.array([[40, 40, 60, 60], [100, 40, 120, 80]], np.float32)
    scene = Scene("x", np.zeros((128, 208, 3), np.uint8), people, NO_BOXES)
    image, alpha = np.full((128, 60, 3), 255, np.uint8), np.full((128, 60), 255, np.uint8)

    class Fixed:
        def uniform(self, low: float, high: float) -> float:
            return {208: 65.0, 128: 64.0}.get(int(high), 1.0)  # middle of the patch: x from 35 to 95, all rows

    seen = pasted(Fixed(), scene, image, alpha, is_person=False)  # type: ignore[arg-type]
    np.testing.assert_array_equal(seen.people, people[1:])
    np.testing.assert_array_equal(seen.ignored, people[:1])
    with_person = pasted(Fixed(), scene, image, alpha, is_person=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(with_person.people, [people[1], [35, 0, 95, 128]])


def test_decoys_are_of_nobody_and_label_nobody() -> None:
    empty = Scene("empty", np.full((128, 208, 3), 100, np.uint8), NO_BOXES, NO_BOXES)
    changed = 0
    for seed in range(10):
        seen = decoy(np.random.default_rng(seed), empty, figure(), room(seed))
        assert not is_green(seen.image).any()
        assert len(seen.people) + len(seen.ignored) == 0
        changed += not np.array_equal(seen.image, empty.image)
    assert changed >= 5


def test_a_placed_figure_fills_its_box() -> None:
    for seed in range(6):
        image, alpha = placed(np.random.default_rng(seed), figure(), 60.0)
        assert image.shape[:2] == alpha.shape
        for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert edge.max() > 127


def test_overlap_by_hand() -> None:
    boxes: Floats = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    assert overlap(boxes, np.array([5, 5, 25, 25], np.float32)).tolist() == [25.0, 25.0]


def test_the_same_seed_gives_the_same_picture_and_another_another() -> None:
    def made(seed: int) -> Scene:
        rng = np.random.default_rng(seed)
        return picture(rng, SIZE, lambda: room(int(rng.integers(5))), figure)

    assert np.array_equal(made(3).image, made(3).image)
    assert np.array_equal(made(3).people, made(3).people)
    assert not np.array_equal(made(3).image, made(4).image)


def test_without_cutouts_scenes_are_as_they_are() -> None:
    rng = np.random.default_rng(0)
    seen = picture(rng, SIZE, lambda: room(1, people=0), lambda: None, Chances(lay=1.0, decoy=1.0))
    assert len(seen.people) == 0


@pytest.mark.parametrize("change", [exposed, grey, blurred, noisy, compressed, photograph], ids=lambda f: f.__name__)
def test_light_changes_colours_and_not_the_form_of_a_picture(change: object) -> None:
    image = room().image
    before = image.copy()
    for seed in range(6):
        seen = change(np.random.default_rng(seed), image)  # type: ignore[operator]
        assert seen.shape == image.shape
        assert seen.dtype == np.uint8
    assert np.array_equal(image, before)


def test_infrared_has_no_colour() -> None:
    seen = grey(np.random.default_rng(0), room().image)
    assert np.array_equal(seen[..., 0], seen[..., 1])
    assert np.array_equal(seen[..., 1], seen[..., 2])
