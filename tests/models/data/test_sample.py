from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.data.picture import FilePicture, MemoryPicture, ZipPicture, decode, header_size
from models.data.sample import DataError, Report, add, check, forget_outside, summary
from tests.models.data.people import jpeg, person, photo, sample


def moved(index: int, x: float, y: float, weight: float = 1.0) -> np.ndarray:
    keypoints = person().keypoints
    assert keypoints is not None
    keypoints[index] = x, y, weight
    return keypoints


def test_right_labels_pass():
    check(sample(person(), person(keypoints=None), person(uncertain=True)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"box_xyxy_px": np.array([40, 20, 40, 100], np.float32)}, "40.0, 20.0, 40.0, 100.0.* empty or inside out"),
        ({"box_xyxy_px": np.array([80, 20, 40, 100], np.float32)}, "inside out"),
        ({"box_xyxy_px": np.array([np.nan, 20, 40, 100], np.float32)}, "nan.*not finite"),
        ({"box_xyxy_px": np.array([140, 20, 180, 100], np.float32)}, "outside the picture of 160x120"),
        ({"box_xyxy_px": np.array([400, 20, 440, 100], np.float32)}, "outside the picture of 160x120"),
        ({"box_xyxy_px": np.zeros(5, np.float32)}, r"shape \(5,\)"),
        ({"keypoints": np.zeros((14, 3), np.float32)}, r"shape \(14, 3\)"),
        ({"keypoints": moved(9, -30, 50)}, "left_wrist .-30.0, 50.0, 1.0. lies more than 8.0 px outside"),
        ({"keypoints": moved(0, 50, 50, 1.5)}, "nose .* weight outside 0..1"),
        ({"keypoints": moved(0, 50, 50, np.nan)}, "nose .* weight outside 0..1"),
        ({"keypoints": moved(3, np.inf, 50, 0.0)}, "left_ear .* not finite"),
        ({"posture": "flying"}, "posture 'flying'.*upright"),
        ({"score": 1.2}, "score 1.2"),
        ({"area_px": float("nan")}, "area nan"),
    ],
)
def test_a_label_that_cannot_be_right_is_named_with_picture_person_and_value(wrong, says):
    with pytest.raises(DataError, match=f"a.jpg: person 1: .*{says}"):
        check(sample(person(), person(**wrong)))


def test_a_keypoint_just_outside_or_not_known_is_allowed():
    check(sample(person(keypoints=moved(9, -7, 50))))
    check(sample(person(keypoints=moved(9, -700, 50, weight=0.0))))


def test_keypoints_guessed_far_outside_are_forgotten_and_near_ones_kept():
    keypoints = moved(9, -30, 50)
    keypoints[10, :2] = -7, 50
    kept, count = forget_outside(keypoints, person().box_xyxy_px, (160, 120))
    assert count == 1
    assert kept[9, 2] == 0
    assert kept[10, 2] == 1
    assert keypoints[9, 2] == 1, "the argument is not changed"


def test_a_picture_of_another_size_than_its_labels_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(photo(0)))
    check(sample(person(), picture=FilePicture(tmp_path / "a.jpg", (160, 120))))
    with pytest.raises(DataError, match=r"a\.jpg: the picture has 160x120 pixels, its labels were made for 320x240"):
        check(sample(person(), picture=FilePicture(tmp_path / "a.jpg", (320, 240))))


def test_pixels_of_another_kind_are_refused():
    with pytest.raises(DataError, match=r"float32 of shape \(120, 160, 3\)"):
        check(sample(person(), picture=MemoryPicture(photo(0).astype(np.float32))))  # type: ignore[arg-type]


def test_missing_and_broken_pictures_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg cannot be read"):
        FilePicture(tmp_path / "gone.jpg", (160, 120)).read()
    with pytest.raises(DataError, match=r"gone\.zip:a\.jpg cannot be read"):
        ZipPicture(tmp_path / "gone.zip", "a.jpg", (160, 120)).read()
    whole = jpeg(photo(0))
    with pytest.raises(DataError, match=r"b\.jpg: the JPEG was cut off"):
        decode(whole[: len(whole) // 2], "b.jpg")
    with pytest.raises(DataError, match=r"c\.jpg: 9 bytes that are no picture"):
        decode(b"not a jpg", "c.jpg")
    with pytest.raises(DataError, match=r"d\.jpg: 0 bytes"):
        decode(b"", "d.jpg")


def test_the_size_is_read_from_the_header():
    assert header_size(jpeg(photo(0, 48, 20)), "a") == (48, 20)


def test_colours_are_rgb():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert decode(jpeg(red), "red").mean(axis=(0, 1)).argmax() == 0


def test_a_strict_report_raises_and_another_collects():
    wrong = sample(person(score=2.0))
    with pytest.raises(DataError, match="score"):
        add([], wrong, Report())
    report, kept = Report(strict=False), []
    add(kept, wrong, report)
    add(kept, replace(wrong, people=(person(),)), report)
    assert len(kept) == 1
    assert "1 refused: a.jpg: person 0: score 2.0" in str(report)
    report.note("something", 0)
    report.note("left out", 2)
    assert "2 x left out" in str(report)
    assert "something" not in str(report)


def test_the_summary_counts_by_source_and_names_the_licence():
    samples = [sample(person(), person(uncertain=True)), sample(person(keypoints=None)), sample(source="other", licence="MIT")]
    assert summary(samples).splitlines() == [
        "other: 1 pictures, 0 people, 0 with keypoints, licence MIT",
        "test: 2 pictures, 2 people, 1 with keypoints, licence CC0",
    ]
