from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.data.readers.video import Teachers, load_teachers, read_video
from models.data.sample import DataError, check


@pytest.fixture
def clip(tmp_path):
    """12 frames of a dark room in which a bright person, as `fake-person` takes one, appears with the 5th."""
    path = tmp_path / "room.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for i in range(12):
        frame = np.full((240, 320, 3), 30, np.uint8)
        if i >= 4:
            frame[60:200, 130:190] = 250
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def teachers():
    found = load_teachers("fake-person", "fake-person", "fake-person")
    yield found
    found.close()


def test_every_nth_frame_has_the_teachers_labels(clip, teachers):
    samples = read_video(clip, teachers, every=4, licence="ours")
    assert [sample.name for sample in samples] == ["room.avi:0", "room.avi:4", "room.avi:8"]
    assert [len(sample.people) for sample in samples] == [0, 1, 1]
    person = samples[1].people[0]
    assert np.abs(person.box_xyxy_px - [130, 60, 190, 200]).max() < 8
    assert person.posture == "upright"
    assert (person.keypoints[:, 2] > 0.2).all()
    assert {(sample.source, sample.group, sample.licence) for sample in samples} == {("room", "room.avi", "ours")}
    for sample in samples:
        check(sample)


def test_large_frames_are_shrunk_with_their_labels(clip, teachers):
    sample = read_video(clip, teachers, every=5, long_side_px=160)[1]
    assert sample.picture.read().shape == (120, 160, 3)
    assert np.abs(sample.people[0].box_xyxy_px - [65, 30, 95, 100]).max() < 6


def test_without_a_pose_teacher_there_are_boxes_only(clip, teachers):
    samples = read_video(clip, Teachers(teachers.detector), every=8)
    assert samples[1].people[0].keypoints is None


def test_what_is_no_video_is_named(tmp_path, teachers, clip):
    with pytest.raises(DataError, match=r"gone\.mp4 is missing"):
        read_video(tmp_path / "gone.mp4", teachers)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4 has no frame that can be decoded"):
        read_video(tmp_path / "text.mp4", teachers)
    with pytest.raises(DataError, match="every 0-th frame"):
        read_video(clip, teachers, every=0)


def test_the_zoo_s_networks_label_a_real_clip(kit):
    """A man stands, then falls."""
    teachers = load_teachers()
    samples = read_video(kit / "data" / "gmdcsa24" / "S1" / "Fall" / "13.mp4", teachers, every=80)
    teachers.close()
    (standing,) = (person for person in samples[0].people if not person.uncertain)
    assert standing.posture == "upright"
    assert standing.keypoints[5:, 2].mean() > 0.5
