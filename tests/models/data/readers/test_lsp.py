from __future__ import annotations

import zipfile

import numpy as np
import pytest

from common.skeleton import INDEX
from models.data.readers.lsp import read_lsp
from models.data.sample import DataError, Report
from tests.models.data.people import jpeg, photo

# A person who faces us: the right side is left in the picture.
RIGHT, LEFT = 60.0, 90.0
JOINTS = [
    (RIGHT, 100), (RIGHT, 80), (RIGHT, 60), (LEFT, 60), (LEFT, 80), (LEFT, 100),
    (RIGHT - 15, 60), (RIGHT - 10, 45), (RIGHT, 30), (LEFT, 30), (LEFT + 10, 45), (LEFT + 15, 60), (75, 25), (75, 10),
]  # fmt: skip


def write(folder, joints=None, name="train0/im00001.jpg", content=None):
    labels = np.array([[(*at, 1) for at in JOINTS]], np.float32) if joints is None else joints
    np.savez(folder / "labels.npz", names=np.array([name]), joints=labels)
    with zipfile.ZipFile(folder / "train0.zip", "w") as archive:
        archive.writestr("im00001.jpg", jpeg(photo(0)) if content is None else content)
    return folder


def test_twelve_joints_become_coco_s_and_the_face_is_not_known(tmp_path):
    (sample,) = read_lsp(write(tmp_path), ["train0"])
    keypoints = sample.people[0].keypoints
    assert not keypoints[:5, 2].any()
    assert keypoints[5:, 2].all()
    for name, at in (("left_shoulder", (LEFT, 30)), ("right_wrist", (RIGHT - 15, 60)), ("left_ankle", (LEFT, 100))):
        assert tuple(keypoints[INDEX[name], :2]) == at
    assert not sample.complete, "others in the picture have no label"
    assert sample.picture.size_px == (160, 120)


def test_the_box_holds_the_visible_joints_head_top_too_and_a_margin(tmp_path):
    (sample,) = read_lsp(write(tmp_path), ["train0"])
    assert sample.people[0].box_xyxy_px.tolist() == [45 - 9, 10 - 9, 105 + 9, 100 + 9]


def test_joints_that_are_not_visible_have_weight_0_wherever_they_lie(tmp_path):
    joints = np.array([[(*at, 1) for at in JOINTS]], np.float32)
    joints[0, 0] = -500, 9000, 0
    (sample,) = read_lsp(write(tmp_path, joints), ["train0"])
    assert sample.people[0].keypoints[INDEX["right_ankle"]].tolist() == [0, 0, 0]
    assert sample.people[0].box_xyxy_px[2] < 120


def test_a_visible_joint_far_outside_is_forgotten_and_counted(tmp_path):
    joints = np.array([[(*at, 1) for at in JOINTS]], np.float32)
    joints[0, 6, 0] = -100
    report = Report()
    (sample,) = read_lsp(write(tmp_path, joints), ["train0"], report=report)
    assert sample.people[0].keypoints[INDEX["right_wrist"], 2] == 0
    assert "1 x lspet: joint labelled far outside the picture, weight 0" in str(report)


def test_too_few_joints_are_counted_and_wrong_ones_refused(tmp_path):
    joints = np.array([[(*at, i < 3) for i, at in enumerate(JOINTS)]], np.float32)
    report = Report()
    assert read_lsp(write(tmp_path, joints), ["train0"], report=report) == []
    assert "1 x lspet: fewer than 4 visible joints, left out" in str(report)
    joints[0, :, 2], joints[0, 3, 0] = 1, np.nan
    with pytest.raises(DataError, match=r"train0/im00001\.jpg: a visible joint is not finite"):
        read_lsp(write(tmp_path, joints), ["train0"])


def test_missing_parts_and_broken_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"labels\.npz cannot be read"):
        read_lsp(tmp_path)
    write(tmp_path)
    with pytest.raises(DataError, match="has no part 'val'; it has train0"):
        read_lsp(tmp_path, ["val"])
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(DataError, match=r"train0\.zip:im00001\.jpg: 20 bytes that are no picture"):
        read_lsp(write(other, content=b"x" * 20), ["train0"])
    np.savez(tmp_path / "labels.npz", names=np.array(["train0/im00001.jpg"]), joints=np.zeros((1, 12, 3)))
    with pytest.raises(DataError, match=r"joints of shape \(1, 12, 3\)"):
        read_lsp(tmp_path)


def test_the_kit_has_its_three_parts(kit):
    folder = kit / "data" / "lspet"
    assert [len(read_lsp(folder, [part])) for part in ("train0", "train1", "val")] == [1062, 1063, 1000]
