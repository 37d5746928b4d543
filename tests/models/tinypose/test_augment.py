"""Pictures change, labels follow: a dot painted on a keypoint is found where the crop says that the keypoint is."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from common.skeleton import FLIP
from models.data.sample import Person
from models.tinypose.augment import NONE, Augmentation, crop_sample, spoil

SIZE = (144, 192)
GEOMETRY = replace(Augmentation(), hide=0, small=0, blur=0, colour=0, grey=0, dark=0, noise=0, jpeg=0)


def a_person(keypoint: int = 9) -> tuple[np.ndarray, Person]:
    """A grey picture with one white dot of 5 x 5 pixels whose middle is the keypoint."""
    image = np.full((200, 160, 3), 60, np.uint8)
    image[118:123, 88:93] = 255
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[:, :2] = np.random.default_rng(1).uniform((40, 20), (120, 180), (17, 2))
    keypoints[:, 2] = 0.5
    keypoints[keypoint, :2] = 90.5, 120.5
    return image, Person(np.array([30, 10, 130, 190], np.float32), keypoints)


def middle_of_white(crop: np.ndarray) -> np.ndarray:
    weight = np.clip(crop[..., 0].astype(float) - 120, 0, None)
    rows, columns = np.indices(weight.shape) + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_the_dot_stays_on_its_keypoint_however_the_crop_is_turned_scaled_shifted_and_cut(cut: float) -> None:
    image, person = a_person()
    seen = 0
    for seed in range(60):
        how = replace(GEOMETRY, flip=1e-9, cut=cut)
        crop, keypoints = crop_sample(image, person, SIZE, how, np.random.default_rng(seed))
        place = keypoints[9, :2]
        if keypoints[9, 2] == 0 or not ((place > 6) & (place < np.array(SIZE) - 6)).all():
            continue
        x, y = place.astype(int)
        if cut:  # seen so large that its middle is not to be measured in a window
            assert crop[y, x, 0] > 120, f"seed {seed}"
        else:  # the border may be filled with white, so look near the place only
            corner = np.array([max(0, x - 8), max(0, y - 8)])
            window = crop[corner[1] : y + 9, corner[0] : x + 9]
            np.testing.assert_allclose(middle_of_white(window) + corner, place, atol=0.6, err_msg=f"seed {seed}")
        seen += 1
    assert seen >= (20 if cut else 45), "most seeds keep the dot in the crop"


def test_a_flip_swaps_left_and_right_and_mirrors_the_picture() -> None:
    image, person = a_person(keypoint=9)
    how = replace(NONE, flip=1.0)
    flipped, keypoints = crop_sample(image, person, SIZE, how, np.random.default_rng(0))
    straight, before = crop_sample(image, person, SIZE, NONE, np.random.default_rng(0))
    np.testing.assert_allclose(keypoints[FLIP[9], :2], middle_of_white(flipped), atol=0.2)
    np.testing.assert_allclose(keypoints[list(FLIP), 0], SIZE[0] - before[:, 0], atol=1e-4)
    assert (flipped == straight[:, ::-1]).mean() > 0.99


def test_without_augmentation_the_crop_is_the_padded_box() -> None:
    """Box 100 x 180 padded 1.25 and widened to 3:4: 168.75 x 225, its middle in the middle of the crop."""
    image, person = a_person()
    _, keypoints = crop_sample(image, person, SIZE, NONE, np.random.default_rng(0))
    assert person.keypoints is not None
    expected = (person.keypoints[:, :2] - (80, 100)) * (192 / 225) + (72, 96)
    np.testing.assert_allclose(keypoints[:, :2], expected, atol=1e-3)
    np.testing.assert_array_equal(keypoints[:, 2], person.keypoints[:, 2])


def test_somebody_else_stands_beside_and_the_labels_stay() -> None:
    image, person = a_person()
    red = np.zeros((200, 160, 3), np.uint8)
    red[..., 0] = 255
    alone, before = crop_sample(image, person, SIZE, NONE, np.random.default_rng(0))
    for seed in range(8):
        both, keypoints = crop_sample(image, person, SIZE, NONE, np.random.default_rng(seed), (red, person))
        np.testing.assert_array_equal(keypoints, before)
        reddish = both[..., 0].astype(int) - both[..., 1] > 120
        assert 0.03 < reddish.mean() < 0.6
        columns = np.nonzero(reddish)[1]
        assert abs(columns.mean() - 72) > 20, "beside, not on top"
        assert (both == alone).all(axis=2).mean() > 0.3


def test_a_picture_that_ends_within_the_person_shows_the_rest_alone_and_asks_for_nothing_else() -> None:
    """The crop is about what is left of the box, and beyond the picture's new edge there is nothing to see."""
    image, person = a_person()
    white = np.full_like(image, 255)
    ends = 0
    for seed in range(40):
        crop, keypoints = crop_sample(white, person, SIZE, replace(NONE, cut=1.0), np.random.default_rng(seed))
        is_seen = keypoints[:, 2] > 0
        assert is_seen.sum() >= 3
        x, y = np.floor(keypoints[is_seen, :2]).astype(int).T
        assert ((x >= 0) & (x < SIZE[0]) & (y >= 0) & (y < SIZE[1])).all(), "the crop is about what is left of the box"
        assert (crop[y, x] > 0).all(), "who is asked for is in the picture"
        ends += bool((~is_seen).any())
        whole = crop_sample(white, person, SIZE, NONE, np.random.default_rng(seed))[1]
        zoom = np.ptp(keypoints[:, :2], axis=0) / np.ptp(whole[:, :2], axis=0)
        np.testing.assert_allclose(zoom, zoom[0], rtol=1e-3)
        assert zoom[0] >= 0.999, "less of the person is seen, so it is seen larger"
    assert ends >= 25


def test_the_same_numbers_give_the_same_crop() -> None:
    image, person = a_person()
    first, second = (crop_sample(image, person, SIZE, Augmentation(), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("name", [f.name for f in fields(Augmentation) if f.name not in ("padding", "turn", "full_turn", "scale", "shift", "half", "aspect", "flip", "beside", "cut")])  # fmt: skip # noqa: E501
def test_each_spoiling_changes_the_pixels_and_nothing_else(name: str) -> None:
    crop = np.random.default_rng(2).integers(0, 256, (192, 144, 3), np.uint8).copy()
    before = crop.copy()
    spoiled = spoil(crop, replace(NONE, **{name: 1.0}), np.random.default_rng(3))
    assert spoiled.shape == crop.shape
    assert spoiled.dtype == np.uint8
    assert (spoiled != before).mean() > 0.01
    np.testing.assert_array_equal(crop, before)
    if name == "grey":
        assert (np.ptp(spoiled, axis=2) == 0).all()


def test_a_person_without_keypoints_gives_weights_of_0() -> None:
    image, person = a_person()
    _, keypoints = crop_sample(image, replace(person, keypoints=None), SIZE, NONE, np.random.default_rng(0))
    assert (keypoints[:, 2] == 0).all()
