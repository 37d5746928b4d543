from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from common import geometry
from models.data.readers.people import camera, read_crops, read_scenes, sources
from models.data.sample import DataError, Report
from tests.models.data.people import jpeg, person, photo

LICENCES = "repo,commit,stated_licence\na/one,1,MIT\nb/two,2,none stated (web)\n"


@pytest.fixture
def folder(tmp_path):
    """Two crops and two scenes of two sources, of which one states no licence."""
    (tmp_path / "SOURCES.csv").write_text(LICENCES)
    keypoints = np.stack([person().keypoints, person().keypoints]).astype(np.float32)
    keypoints[..., 2] = 0.8
    keypoints[1, 9, 0] = -60
    np.savez(
        tmp_path / "crops.npz",
        names=["p0.jpg", "p1.jpg"], shard=[0, 0], boxes=np.float32([[40, 20, 80, 100], [-3, 20, 80, 100]]), keypoints=keypoints,
        agreement=np.zeros((2, 17), np.float32), posture=["lying", "sitting"], source=[1, 0], source_repos=["b/two", "a/one"],
        det_score=np.float32([0.9, 0.5]), crop_size=[[160, 120]] * 2, rotation=[90, 0],
        source_file=["cam_3_17_jpg.rf.0a.jpg", "cam_3_18_jpg.rf.1b.jpg"],
    )  # fmt: skip
    boxes = [
        {"box": [40, 20, 80, 100], "score": 0.7, "uncertain": False},
        {"box": [1, 2, 9, 30], "score": 0.3, "uncertain": True},
    ]
    scenes = [
        {"file": f"s{i}.jpg", "shard": "scenes0.zip", "width": 160, "height": 120, "source": repo, "persons": people}
        for i, (repo, people) in enumerate((("a/one", boxes), ("b/two", [])))
    ]
    (tmp_path / "scenes.json").write_text(json.dumps(scenes))
    for kind, letter in (("crops", "p"), ("scenes", "s")):
        with zipfile.ZipFile(tmp_path / f"{kind}0.zip", "w") as archive:
            for i in range(2):
                archive.writestr(f"{letter}{i}.jpg", jpeg(photo(i)))
    return tmp_path


def test_crops_keep_the_frame_of_the_picture_and_the_teacher_s_trust(folder):
    report = Report()
    first, second = read_crops(folder, report=report)
    (lying,) = first.people
    assert (first.source, first.licence, first.group, first.complete) == ("a/one", "MIT", "a/one/cam_3", False)
    assert (lying.posture, lying.score, lying.uncertain) == ("lying", pytest.approx(0.9), False)
    assert np.allclose(lying.keypoints[:, 2], 0.8), "teachers agree"
    assert np.allclose(lying.keypoints[:, 0], person().keypoints[:, 0]), "rotation says only how the teacher looked"
    assert second.people[0].box_xyxy_px[0] == 0, "cut at the picture's edge"
    assert second.people[0].keypoints[9, 2] == 0
    assert "1 x people: keypoint guessed far outside the crop, weight 0" in str(report)
    assert np.abs(first.picture.read().astype(int) - photo(0)).mean() < 6


def test_scenes_have_boxes_and_uncertain_ones_and_may_be_empty(folder):
    first, second = read_scenes(folder)
    assert [one.uncertain for one in first.people] == [False, True]
    assert first.people[0].keypoints is None
    assert second.people == ()
    assert first.complete


def test_sources_are_left_out_by_name_or_for_want_of_a_licence(folder):
    report = Report()
    assert {sample.source for sample in read_crops(folder, leave_out=["none stated"], report=report)} == {"a/one"}
    assert {sample.source for sample in read_scenes(folder, leave_out=["a/one"], report=report)} == {"b/two"}
    assert "1 x people: crop of b/two, left out" in str(report)
    assert "1 x people: scene of a/one, left out" in str(report)
    with pytest.raises(DataError, match="no source 'c/three' to leave out; there are a/one, b/two"):
        read_crops(folder, leave_out=["c/three"])


def test_missing_tables_are_named(folder):
    for name, read in (("crops.npz", read_crops), ("scenes.json", read_scenes), ("SOURCES.csv", sources)):
        (folder / name).unlink()
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read(folder)


def test_a_camera_is_the_file_s_name_up_to_its_number():
    assert camera("192_168_2_213_neg_10c_159_jpg.rf.wU.jpg") == "192_168_2_213_neg_10c"
    assert camera("frame_64000_jpg.rf.d0.jpg") == "frame"
    assert camera("000000288403_jpg.rf.0f.jpg") == "000000288403"


def test_crops_of_the_kit_lie_in_their_pictures_and_show_people_about_their_box(kit):
    samples = read_crops(kit / "people")
    assert len(samples) == 5116
    boxes = np.stack([sample.people[0].box_xyxy_px for sample in samples])
    keypoints = np.stack([sample.people[0].keypoints for sample in samples])
    near = geometry.expand_to_aspect(boxes, 1.0, 1.1)[:, None]
    inside = ((keypoints[..., :2] >= near[..., :2]) & (keypoints[..., :2] <= near[..., 2:])).all(axis=2)
    assert inside[keypoints[..., 2] > 0.5].mean() > 0.98
    assert len(read_scenes(kit / "people")) == 1308
