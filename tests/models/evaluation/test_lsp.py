"""LSP's people as ours, and PCK by hand."""

from __future__ import annotations

import zipfile

import cv2
import numpy as np
import pytest

from common.skeleton import INDEX, KEYPOINTS
from models.evaluation.coco import DataError
from models.evaluation.lsp import JOINTS, pck, pck_counts, read_lsp, torso_px

ORDER = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip


@pytest.fixture
def archive(tmp_path):
    """Two pictures of val, one of them labelled with one joint only, and one of train."""
    joints = np.zeros((3, 14, 3), np.float32)
    joints[0, :, 0], joints[0, :, 1], joints[0, :, 2] = np.arange(14) * 10 + 20, np.arange(14) * 5 + 40, 1
    joints[0, 5, 2] = 0
    joints[2, 0] = 30, 30, 1
    np.savez(tmp_path / "labels.npz", names=np.array(["val/a.png", "train0/b.png", "val/c.png"]), joints=joints)
    with zipfile.ZipFile(tmp_path / "val.zip", "w") as file:
        for name in ("a.png", "c.png"):
            file.writestr(name, cv2.imencode(".png", np.full((120, 200, 3), 7, np.uint8))[1].tobytes())
    return tmp_path


def test_joints_keep_their_names():
    assert [KEYPOINTS[i] for i in JOINTS] == list(ORDER)


def test_people_of_the_archive_are_read_with_boxes_around_all_joints(archive):
    people = read_lsp(archive / "val.zip", archive / "labels.npz")
    assert [picture.name for picture in people.pictures] == ["a.png"], "one joint makes no person"
    picture = people.pictures[0]
    assert picture.read().shape == (120, 200, 3)
    assert picture.keypoints[0, INDEX["right_knee"]].tolist() == [30, 45, 2]
    assert picture.keypoints[0, INDEX["left_ankle"], 2] == 0
    assert picture.keypoints[0, INDEX["nose"], 2] == 0
    np.testing.assert_allclose(picture.boxes[0], [20 - 13, 40 - 6.5, 150 + 13, 105 + 6.5], rtol=1e-5)


def test_an_archive_that_is_absent_broken_or_another_is_refused(archive):
    labels = archive / "labels.npz"
    with pytest.raises(DataError, match=r"train0\.zip: is missing"):
        read_lsp(archive / "train0.zip", labels)
    (archive / "other.zip").write_bytes((archive / "val.zip").read_bytes())
    with pytest.raises(DataError, match=r"none of its 2 files is labelled as other/"):
        read_lsp(archive / "other.zip", labels)
    (archive / "val.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        read_lsp(archive / "val.zip", labels)


def torso(length: float = 50.0) -> np.ndarray:
    truth = np.zeros((1, 17, 3))
    truth[0, INDEX["left_shoulder"]] = 100, 100, 2
    truth[0, INDEX["right_hip"]] = 100, 100 + length, 2
    return truth


def test_a_torso_is_from_the_left_shoulder_to_the_right_hip():
    assert torso_px(torso()).tolist() == [50]
    hidden = torso()
    hidden[0, INDEX["right_hip"], 2] = 0
    assert np.isnan(torso_px(hidden)).all()
    assert np.isnan(torso_px(torso(0))).all(), "no length to measure by"


def test_joints_within_a_fifth_of_the_torso_are_right():
    truth = torso()
    truth[0, INDEX["left_knee"]] = 100, 200, 1
    predicted = truth.copy()
    predicted[0, INDEX["left_shoulder"], 0] += 10
    predicted[0, INDEX["left_knee"], 0] += 10.1
    counts = pck_counts(predicted, truth, torso_px(truth))
    assert counts.tolist() == [[2, 3]]
    assert pck(counts) == pytest.approx(2 / 3)
    assert pck(pck_counts(truth, truth, torso_px(truth))) == 1


def test_people_without_a_torso_do_not_count():
    truth = np.concatenate([torso(), torso()])
    truth[1, INDEX["right_hip"], 2] = 0
    assert pck_counts(truth, truth, torso_px(truth)).tolist() == [[2, 2], [0, 0]]
    assert np.isnan(pck(np.zeros((3, 2))))


@pytest.mark.kit
def test_the_kit_has_a_thousand(kit):
    folder = kit / "data" / "lspet"
    people = read_lsp(folder / "val.zip", folder / "labels.npz")
    assert len(people.pictures) == 1000
    image, box = people.pictures[0].read(), people.pictures[0].boxes[0]
    assert box[0] < image.shape[1]
    assert box[1] < image.shape[0]
