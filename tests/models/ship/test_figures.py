"""Drawn figures are people to every reader of the project."""

from __future__ import annotations

import numpy as np

from models.data.readers.coco import read_coco as read_for_training
from models.data.sample import check
from models.evaluation.coco import read_coco
from models.ship.figures import SIZE_PX, write_figures


def test_trainers_and_evaluations_read_the_same_people(tmp_path):
    folder = write_figures(tmp_path / "f", 8, seed=3)
    samples = read_for_training(folder / "annotations" / "people.json", folder / "images")
    people = read_coco(folder)
    assert len(samples) == len(people.pictures) == 8
    for sample, picture in zip(samples, people.pictures, strict=True):
        check(sample)
        assert len(sample.people) == len(picture.boxes) in (1, 2)
        for person, box, keypoints in zip(sample.people, picture.boxes, picture.keypoints, strict=True):
            assert np.allclose(person.box_xyxy_px, box, atol=1e-3)
            assert np.allclose(person.keypoints[:, :2], keypoints[:, :2], atol=1e-3)


def test_keypoints_lie_in_their_box_and_the_box_in_the_picture(tmp_path):
    for picture in read_coco(write_figures(tmp_path / "f", 12, seed=4)).pictures:
        for box, keypoints in zip(picture.boxes, picture.keypoints, strict=True):
            assert (keypoints[:, :2] >= box[:2] - 0.5).all()
            assert (keypoints[:, :2] <= box[2:] + 0.5).all()
            assert (box[:2] >= 0).all()
            assert (box[2:] <= SIZE_PX).all()


def test_a_seed_gives_the_same_pictures_and_another_one_others(tmp_path):
    first, same, other = (write_figures(tmp_path / name, 2, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    content = [(folder / "annotations" / "people.json").read_text() for folder in (first, same, other)]
    assert content[0] == content[1] != content[2]
    name = "images/figures_1_001.png"
    assert (first / name).read_bytes() == (same / name).read_bytes()


def test_some_stand_and_some_lie(tmp_path):
    postures = {p for picture in read_coco(write_figures(tmp_path / "f", 16, seed=5)).pictures for p in picture.postures}
    assert postures == {"upright", "lying"}
