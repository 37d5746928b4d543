from __future__ import annotations

import json

import numpy as np
import pytest

from models.data.readers.coco import read_coco
from models.data.sample import DataError, Report
from tests.models.data.people import jpeg, photo

KEYPOINTS = [50, 30, 2, 0, 0, 0, 52, 28, 1] + [0, 0, 0] * 14

LABEL = {"id": 7, "image_id": 0, "category_id": 1, "bbox": [40, 20, 40, 80], "area": 900.0}


@pytest.fixture
def folder(tmp_path):
    """Two pictures; the second has nobody."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(jpeg(photo(0)))
    return tmp_path


def write(folder, *labels, images=("a.jpg", "b.jpg"), **changes):
    data = {
        "licenses": [{"id": 4, "name": "CC BY"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}],
        "images": [{"id": i, "file_name": name, "width": 160, "height": 120, "license": 4} for i, name in enumerate(images)],
        "annotations": [{**LABEL, **label} for label in labels],
        **changes,
    }
    path = folder / "people.json"
    path.write_text(json.dumps(data))
    return path


def test_people_are_read_in_our_coordinates(folder):
    samples = read_coco(write(folder, {"keypoints": KEYPOINTS}), folder)
    assert [len(sample.people) for sample in samples] == [1, 0]
    person = samples[0].people[0]
    assert person.box_xyxy_px.tolist() == [40, 20, 80, 100]
    assert person.keypoints[0].tolist() == [50.5, 30.5, 1], "COCO counts from pixel centres"
    assert person.keypoints[1].tolist() == [0, 0, 0], "visibility 0 is weight 0"
    assert person.keypoints[2].tolist() == [52.5, 28.5, 1], "hidden but labelled counts"
    assert person.area_px == 900
    assert (samples[0].source, samples[0].licence, samples[0].group) == ("people", "CC BY", "a.jpg")


def test_people_without_labelled_keypoints_are_kept_and_crowds_are_uncertain(folder):
    labels = ({"keypoints": [0] * 51}, {}, {"iscrowd": 1}, {"category_id": 2})
    people = read_coco(write(folder, *labels), folder, source="mine")[0].people
    assert [person.keypoints for person in people] == [None, None, None], "and a bicycle is nobody"
    assert [person.uncertain for person in people] == [False, False, True]


def test_a_listed_picture_that_is_missing_is_refused_or_counted(folder):
    path = write(folder, images=("a.jpg", "gone.jpg"))
    with pytest.raises(DataError, match=r"gone\.jpg is missing, but .*people\.json lists it; .* partial=True"):
        read_coco(path, folder)
    report = Report()
    assert len(read_coco(path, folder, partial=True, report=report)) == 1
    assert str(report) == "1 x people.json: picture listed, but not in the folder"
    lenient = Report(strict=False)
    assert len(read_coco(path, folder, report=lenient)) == 1
    assert "1 refused" in str(lenient)


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ({"bbox": [140, 20, 80, 40]}, r"a\.jpg: person 0: box .140.0, 20.0, 220.0, 60.0. lies outside the picture of 160x120"),
        ({"bbox": [40, 20, 0, 40]}, "empty"),
        ({"bbox": [40, 20]}, r"a\.jpg: annotation 7: .*'bbox' of 4 numbers"),
        ({"keypoints": KEYPOINTS[:48]}, "annotation 7: 48 keypoint numbers; COCO has 51"),
        ({"keypoints": [900, 30, 2, *KEYPOINTS[3:]]}, "nose .900.5, 30.5, 1.0. lies more than"),
    ],
)
def test_wrong_labels_are_named(folder, label, says):
    with pytest.raises(DataError, match=says):
        read_coco(write(folder, label), folder)
    report = Report(strict=False)
    assert [sample.name for sample in read_coco(write(folder, label), folder, report=report)] == ["b.jpg"]
    assert len(report.refused) == 1


def test_a_box_that_ends_a_fraction_beyond_the_edge_is_cut(folder):
    box = read_coco(write(folder, {"bbox": [100, 20, 60.4, 100]}), folder)[0].people[0].box_xyxy_px
    assert box.tolist() == [100, 20, 160, 120]


def test_a_file_that_is_no_coco_is_named(folder):
    (folder / "x.json").write_text("[1, 2")
    with pytest.raises(DataError, match=r"x\.json cannot be read as JSON"):
        read_coco(folder / "x.json", folder)
    (folder / "x.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"x\.json has no 'images' and 'annotations'"):
        read_coco(folder / "x.json", folder)


def test_the_keypoints_of_the_kit_lie_in_their_boxes(kit):
    root = kit / "data" / "coco-mini"
    samples = read_coco(root / "annotations" / "person_keypoints_val2017.json", root / "val2017")
    people = [person for sample in samples for person in sample.people if person.keypoints is not None]
    assert (len(samples), len(people)) == (79, 68)
    inside = [
        ((p.keypoints[:, :2] >= p.box_xyxy_px[:2] - 2) & (p.keypoints[:, :2] <= p.box_xyxy_px[2:] + 2))[p.keypoints[:, 2] > 0]
        for p in people
    ]
    assert np.concatenate(inside).mean() > 0.95
