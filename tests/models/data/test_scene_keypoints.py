"""Teachers look at scenes both ways round, and who lies also turned; the labels find their way back to their people."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from models.data import scene_keypoints
from models.data.errors import DataError
from models.data.readers import people
from models.data.sample import MemoryPicture, Person, Sample
from services.pose.estimate import PoseEstimator

LEFT_EYE, RIGHT_EYE = 1, 2


def seer(liked: int = 0) -> PoseEstimator:
    """Sees the eyes at .4 and .6 of a box, the person's left eye on the picture's right, and all else in the middle; each a
    pixel too far right. It is surer of pictures turned by `liked`."""

    def estimate(image: Any, boxes: Any, turns: Any) -> Any:
        found = np.zeros((len(boxes), 17, 3), np.float32)
        found[..., 0] = (boxes[:, None, 0] + boxes[:, None, 2]) / 2 + 1
        found[..., 1] = (boxes[:, None, 1] + boxes[:, None, 3]) / 2
        width = boxes[:, 2] - boxes[:, 0]
        found[:, LEFT_EYE, 0] += 0.1 * width
        found[:, RIGHT_EYE, 0] -= 0.1 * width
        found[..., 2] = np.where(abs(turns) == liked, 0.8, 0.4)[:, None]
        return found

    return cast(PoseEstimator, SimpleNamespace(estimate=estimate))


IMAGE = np.zeros((100, 200, 3), np.uint8)
TALL, WIDE = [20, 10, 60, 90], [100, 40, 180, 80]


def test_the_mirror_image_takes_away_what_pulls_to_one_side() -> None:
    found = scene_keypoints.look(seer(), IMAGE, np.array([TALL], np.float32))
    assert found[0, 5, 0] == pytest.approx(40)
    assert found[0, LEFT_EYE, 0] == pytest.approx(44)
    assert found[0, RIGHT_EYE, 0] == pytest.approx(36)


def test_only_wide_boxes_are_turned_and_the_surest_look_counts() -> None:
    found = scene_keypoints.look(seer(liked=90), IMAGE, np.array([TALL, WIDE], np.float32))
    assert found[:, 0, 2] == pytest.approx([0.4, 0.8])


def a_scene() -> Sample:
    boxes = ([5, 5, 25, 35], TALL, WIDE)
    found = tuple(Person(np.array(box, np.float32), uncertain=i == 2) for i, box in enumerate(boxes))
    return Sample("s1.jpg", MemoryPicture(IMAGE), found, "here", "ours")


def test_small_people_get_no_keypoints_and_agreement_makes_weights() -> None:
    index, keypoints = scene_keypoints.label(a_scene(), seer(), seer())
    assert index.tolist() == [1, 2]
    assert keypoints[..., 2] == pytest.approx(0.8)  # equal answers: the peak itself


def test_labels_are_read_back_to_their_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scenes.npz"
    assert scene_keypoints.write(path, [a_scene()], seer(), seer()) == 2
    monkeypatch.setattr(people, "read_scenes", lambda folder, report: [a_scene()])
    (sample,) = people.read_labelled_scenes(tmp_path, path)
    small, tall, wide = sample.people
    assert small.keypoints is None
    assert tall.keypoints is not None
    assert tall.keypoints[5, :2] == pytest.approx([40, 50])
    assert not wide.uncertain
    assert not sample.complete


def test_missing_labels_say_how_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scenes\.npz cannot be read.*scene_keypoints"):
        people.read_labelled_scenes(tmp_path, tmp_path / "scenes.npz")
