"""Stills of rendered people as COCO: labels that the reader takes, the same for the same seed, never over an older set."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from models.data import rendered_set
from models.data.errors import DataError
from models.data.readers.coco import read_coco
from models.data.rendered_people import box_mesh
from models.data.rendered_set import SURE_KEYPOINTS, annotation, write
from models.data.sample import POSTURES, check
from models.data.scene import Truth


def truth(**changes) -> Truth:
    marks = np.array([[20.0 + i, 30.0 + 2 * i, 2.0] for i in range(17)])
    return Truth(**{"box": np.array([18.0, 28.0, 40.0, 66.0]), "keypoints": marks, "area_px": 500.0} | changes)


def test_an_annotation_counts_from_pixel_centres_as_coco_does():
    label = annotation(truth(), "lying", 4, 2)
    assert label["bbox"] == [18.0, 28.0, 22.0, 38.0]
    assert label["keypoints"][:3] == [19.5, 29.5, 2]
    assert (label["num_keypoints"], label["posture"], label["iscrowd"], label["area"]) == (17, "lying", 0, 500.0)


def test_joints_that_nobody_could_guess_have_no_label():
    marks = truth().keypoints
    marks[0] = 25, 90, 1  # behind a cupboard, far below what is seen
    marks[1, 2] = 0  # outside the picture
    marks[2] = 25, 68, 1  # hidden just below it
    label = annotation(truth(keypoints=marks), "upright", 1, 1)
    assert label["keypoints"][:9] == [0, 0, 0, 0, 0, 0, 24.5, 67.5, 1]
    assert label["num_keypoints"] == 15


def test_a_person_of_whom_hardly_anything_is_seen_is_uncertain():
    marks = truth().keypoints
    marks[SURE_KEYPOINTS - 1 :, 2] = 1
    assert annotation(truth(keypoints=marks), "", 1, 1)["iscrowd"] == 1


def test_who_is_not_seen_has_no_annotation():
    with pytest.raises(ValueError, match="person 3 of image 2 is not seen"):
        annotation(truth(box=None), "", 3, 2)


def test_the_sides_of_a_box_mesh_look_outward():
    mesh = box_mesh(np.array([0.0, 0.0, 0.0]), np.array([0.3, 0.2, 0.5]), (0.5, 0.5, 0.5), cell_m=0.1)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    outward = (np.cross(b - a, c - a) * ((a + b + c) / 3 - [0.15, 0.1, 0.25])).sum(axis=1)
    assert (outward > 0).all()
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(2 * (0.06 + 0.15 + 0.1))


def test_a_set_is_never_written_over(tmp_path: Path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "people.json").write_text("{}")
    with pytest.raises(DataError, match="exists; give another folder"):
        write(tmp_path, 1, 6)


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="anny is absent: run by .ci/run with the extra convert")
def test_the_reader_takes_every_label_and_a_seed_gives_the_same_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendered_set, "LIGHT_STEP", 16)
    monkeypatch.setattr(rendered_set, "SCALE", 1)
    for name, count in (("a", 4), ("b", 3)):
        write(tmp_path / name, 12, count)
    samples = read_coco(tmp_path / "a" / "annotations" / "people.json", tmp_path / "a" / "images")
    assert len(samples) == 4
    for sample in samples:
        check(sample)
        assert sample.licence == "CC0-1.0"
    assert any(person.keypoints is not None for sample in samples for person in sample.people)
    labels = json.loads((tmp_path / "a" / "annotations" / "people.json").read_text())
    assert {label["posture"] for label in labels["annotations"]} <= set(POSTURES)
    for number in (1, 2, 3):
        name = f"rendered_12_{number:06}.jpg"
        assert (tmp_path / "a" / "images" / name).read_bytes() == (tmp_path / "b" / "images" / name).read_bytes()
