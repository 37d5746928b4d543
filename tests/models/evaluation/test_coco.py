"""Reading folders in COCO layout, whole and broken."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest

from models.evaluation.coco import DataError, read_coco
from tests.models.evaluation import folders
from tests.models.evaluation.folders import BOXES, annotation, content, write


def test_everybody_is_read_in_our_coordinates(tmp_path):
    data = read_coco(folders.people(tmp_path))
    assert [len(picture.boxes) for picture in data.pictures] == [2, 0]
    assert (data.labelled, data.boxed, data.missing) == (2, 2, ())
    first = data.pictures[0]
    assert first.boxes[0].tolist() == [40, 20, 120, 180], "corners, not sizes"
    np.testing.assert_allclose(first.keypoints[0, 0, :2], (40 + 0.5 * 80, 20 + 0.08 * 160), err_msg="half a pixel further")
    assert first.areas.tolist() == pytest.approx([0.6 * 80 * 160, 0.6 * 100 * 140])
    assert first.postures == ("upright", "upright")
    assert first.read().shape == (240, 320, 3)


@pytest.mark.parametrize("place", ["", "images", "val2017", "deep/er"])
def test_pictures_are_found_by_name_wherever_they_are(tmp_path, place):
    assert len(read_coco(folders.people(tmp_path, pictures=place)).pictures) == 2


def test_pictures_behind_a_link_are_found(tmp_path):
    folder = folders.people(tmp_path / "set", pictures="../elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "val2017")
    assert len(read_coco(folder).pictures) == 2


def test_of_two_pictures_of_a_name_the_folder_of_the_split_counts(tmp_path):
    folder = folders.people(tmp_path, pictures="val")
    (folder / "train").mkdir()
    cv2.imwrite(str(folder / "train" / "a.png"), np.zeros((10, 10, 3), np.uint8))
    assert read_coco(folder).pictures[0].read().shape == (240, 320, 3)
    os.rename(folder / "val", folder / "other")
    with pytest.raises(DataError, match=r"a\.png is ambiguous.*say the folder"):
        read_coco(folder)


def test_missing_pictures_are_named_and_the_rest_is_read(tmp_path):
    folder = folders.people(tmp_path)
    (folder / "images" / "a.png").unlink()
    data = read_coco(folder)
    assert (data.missing, data.missing_people) == (("a.png",), 2)
    assert len(data.pictures) == 1
    (folder / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"none of the 2 pictures .* \(a\.png, b\.png\)"):
        read_coco(folder)


def test_a_posture_that_is_annotated_counts_and_others_are_derived(tmp_path):
    folder = folders.people(tmp_path)
    write(folder, content([annotation(1, BOXES[0], posture="Lying"), annotation(2, BOXES[1])]))
    assert read_coco(folder).pictures[0].postures == ("lying", "upright")


def test_crowds_and_people_without_keypoints_do_not_count_for_keypoints(tmp_path):
    folder = folders.people(tmp_path)
    plain = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 20], "area": 90}
    rows = [annotation(1, BOXES[0], iscrowd=1), annotation(2, BOXES[1], ignore=1), plain, annotation(4, BOXES[0])]
    write(folder, content(rows))
    picture = read_coco(folder).pictures[0]
    assert picture.labelled.tolist() == [False, False, False, True]
    assert picture.crowd.tolist() == [True, True, False, False]
    assert picture.keypoints[2].tolist() == np.zeros((17, 3)).tolist()


@pytest.mark.parametrize("area", [None, 0, float("nan"), "large"])
def test_an_area_that_is_missing_is_a_share_of_the_box(tmp_path, area):
    folder = folders.people(tmp_path)
    write(folder, content([annotation(1, (0, 0, 10, 20), area=area)]))
    data = read_coco(folder)
    assert data.pictures[0].areas.tolist() == pytest.approx([0.53 * 200])
    assert data.without_area == 1


def test_animals_are_nobody(tmp_path):
    folder = folders.people(tmp_path)
    data = content([annotation(1, BOXES[0]), {**annotation(2, BOXES[1]), "category_id": 18}])
    data["categories"].append({"id": 18, "name": "dog"})
    write(folder, data)
    assert read_coco(folder).boxed == 1


def test_a_picture_in_two_files_is_read_once_from_that_with_keypoints(tmp_path):
    folder = folders.people(tmp_path)
    plain = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 20], "area": 90}
    write(folder, content([plain], ("a.png", "b.png")), name="instances_val.json")
    assert read_coco(folder).labelled == 2
    assert read_coco(folder, split="instances").boxed == 1


def broken(change) -> str:
    data = content([annotation(1, BOXES[0])])
    change(data)
    return json.dumps(data)


BROKEN = {
    "no JSON": ("{", "cannot be read as JSON"),
    "nested without end": ("[" * 200_000, "cannot be read as JSON"),
    "a list": ("[]", "has no list 'images'"),
    "no annotations": (broken(lambda d: d.pop("annotations")), "has no list 'annotations'"),
    "picture without name": (broken(lambda d: d["images"][0].pop("file_name")), r"images\[0\] has no file_name"),
    "annotation of no picture": (broken(lambda d: d["annotations"][0].update(image_id=9)), "no picture has the id 9"),
    "id that is a list": (broken(lambda d: d["images"][0].update(id=[1])), r"images\[0\]: id is \[1\]"),
    "annotation that is a word": (broken(lambda d: d["annotations"].append("x")), r"annotations\[1\] has no image_id"),
    "no box": (broken(lambda d: d["annotations"][0].pop("bbox")), r"\(id 1\): bbox is None; needs 4 numbers"),
    "box inside out": (broken(lambda d: d["annotations"][0].update(bbox=[5, 5, -1, 5])), r"bbox is \[5, 5, -1, 5\]"),
    "14 keypoints": (broken(lambda d: d["annotations"][0].update(keypoints=[1] * 42)), "are 42 values; needs 51"),
    "keypoint not a number": (broken(lambda d: d["annotations"][0].update(keypoints=[float("nan")] * 51)), "finite"),
    "posture a number": (broken(lambda d: d["annotations"][0].update(posture=3)), "posture is 3; needs a word"),
    "only dogs": (broken(lambda d: d.update(categories=[{"id": 1, "name": "dog"}])), "no category is called person, but dog"),
    "two of a name": (broken(lambda d: d["images"].append({"id": 2, "file_name": "a.png"})), "two pictures have the file_name"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_annotations_are_refused_by_file_and_place(tmp_path, case):
    text, message = BROKEN[case]
    folder = write(folders.people(tmp_path), text)
    with pytest.raises(DataError, match=message) as error:
        read_coco(folder)
    assert "person_keypoints_val.json" in str(error.value)


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no folder annotations/"):
        read_coco(tmp_path)
    (tmp_path / "annotations").mkdir()
    with pytest.raises(DataError, match=r"no file annotations/\*val2017\*\.json"):
        read_coco(tmp_path, split="val2017")


def test_a_picture_of_another_size_or_none_at_all_is_refused(tmp_path):
    folder = folders.people(tmp_path)
    first = read_coco(folder).pictures[0]
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(DataError, match="is 20x10, its annotations are for 320x240"):
        first.read()
    (folder / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read as a picture"):
        first.read()
