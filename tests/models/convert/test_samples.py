from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.convert.data import load_data, network_pictures
from models.convert.samples import RENDERED, load_samples
from models.convert.source import ConversionError


def picture(seed: int = 0, width: int = 120, height: int = 160) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(small, (width, height))


def folder_of(path: Path, count: int) -> Path:
    path.mkdir(exist_ok=True)
    for i in range(count):
        cv2.imwrite(str(path / f"p{i:03}.png"), picture(i))
    return path


def coco(names: list[str], boxes: dict[str, list[list[float]]], **changed: object) -> str:
    people = [
        {"image_id": names.index(name), "category_id": 1, "bbox": box, **changed}
        for name, found in boxes.items()
        for box in found
    ]
    return json.dumps({"images": [{"id": i, "file_name": name} for i, name in enumerate(names)], "annotations": people})


def test_a_picture_without_boxes_is_one_persons_crop(tmp_path):
    samples = load_samples(folder_of(tmp_path / "a", 5), 5)
    assert [sample.name for sample in samples] == [f"p{i:03}.png" for i in range(5)]
    assert all(sample.boxes.tolist() == [[0, 0, 120, 160]] for sample in samples)
    np.testing.assert_array_equal(samples[3].image, picture(3))


def test_the_same_call_gives_the_same_pictures_and_more_pictures_contain_them(tmp_path):
    folder = folder_of(tmp_path / "a", 30)
    first = [sample.name for sample in load_samples(folder, 8)]
    assert [sample.name for sample in load_samples(folder, 8)] == first
    assert set(first) < {sample.name for sample in load_samples(folder, 20)}
    assert first != [f"p{i:03}.png" for i in range(8)]  # spread, not the first ones


def test_coco_annotations_of_the_folder_give_the_boxes_and_people_without_one_are_passed_over(tmp_path):
    folder = folder_of(tmp_path / "a", 6)
    (folder / "annotations").mkdir()
    names = [f"p{i:03}.png" for i in range(6)]
    boxes = {name: [[10, 20, 50, 80]] for name in names[:4]}
    (folder / "annotations" / "people.json").write_text(coco(names, boxes))
    (folder / "other.json").write_text('["no annotations"]')
    samples = load_samples(folder, 4)
    assert [sample.name for sample in samples] == names[:4]
    assert samples[0].boxes.tolist() == [[10, 20, 60, 100]]
    with pytest.raises(ConversionError, match=r"5 pictures with people are needed, 4 of 6 are usable \(2 without people"):
        load_samples(folder, 5)


@pytest.mark.parametrize("changed", [{"iscrowd": 1}, {"category_id": 2}, {"bbox": [10, 20, 5, 80]}])
def test_crowds_other_classes_and_tiny_boxes_are_nobody(tmp_path, changed):
    folder = folder_of(tmp_path / "a", 2)
    (folder / "x.json").write_text(coco(["p000.png"], {"p000.png": [[10, 20, 50, 80]]}, **changed))
    with pytest.raises(ConversionError, match="0 of 2 are usable"):
        load_samples(folder, 1)


def test_a_zip_file_with_its_npz_beside_it(tmp_path):
    folder = folder_of(tmp_path / "a", 3)
    with zipfile.ZipFile(tmp_path / "crops.zip", "w") as opened:
        for file in sorted(folder.iterdir()):
            opened.write(file, file.name)
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    boxes = np.array([[1, 2, 90, 99]] * 3, np.float32)
    np.savez(tmp_path / "crops.npz", names=["p000.png", "p001.png", "p001.png"], boxes=boxes)
    samples = load_samples(tmp_path / "crops.zip", 2)
    assert [len(sample.boxes) for sample in samples] == [1, 2]
    assert samples[0].boxes.tolist() == [[1, 2, 90, 99]]


def zip_of(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for i, name in enumerate(names):
            opened.writestr(name, cv2.imencode(".png", picture(i))[1].tobytes())
    return path


def save_boxes(path: Path, names: list[str], *, left: float = 1) -> None:
    np.savez(path, names=names, boxes=np.array([[left, 2, 90, 99]] * len(names), np.float32))


def test_boxes_of_other_pictures_beside_a_zip_file_are_not_taken(tmp_path):
    path = zip_of(tmp_path / "scenes.zip", ["s0.png", "s1.png"])
    save_boxes(tmp_path / "crops.npz", ["p000.png"])
    (tmp_path / "empty.npz").write_bytes(b"")
    whole = [[0, 0, 120, 160]]
    assert [sample.boxes.tolist() for sample in load_samples(path, 2)] == [whole, whole]


def test_of_several_files_of_boxes_the_one_called_as_the_zip_file_counts_else_the_one_that_names_most(tmp_path):
    path = zip_of(tmp_path / "b.zip", ["x/0.png", "x/1.png"])
    save_boxes(tmp_path / "a.npz", ["0.png"], left=3)
    save_boxes(tmp_path / "c.npz", ["0.png", "1.png"], left=5)
    assert [sample.boxes[0, 0] for sample in load_samples(path, 2)] == [5, 5]
    save_boxes(tmp_path / "b.npz", ["0.png"], left=7)
    assert [sample.boxes[0, 0] for sample in load_samples(path, 1)] == [7]


def test_annotations_of_other_pictures_in_the_folder_are_not_taken(tmp_path):
    folder = folder_of(tmp_path / "a", 2)
    (folder / "other.json").write_text(coco(["elsewhere.png"], {"elsewhere.png": [[10, 20, 50, 80]]}))
    assert load_samples(folder, 2)[0].boxes.tolist() == [[0, 0, 120, 160]]
    (folder / "nobody.json").write_text(coco(["p000.png", "p001.png"], {}))  # names them, and says that nobody is there
    words = r"0 of 2 are usable \(2 without people by nobody.json, which names 2 of the pictures; 0 unreadable\)"
    with pytest.raises(ConversionError, match=words):
        load_samples(folder, 1)


def test_a_given_file_of_boxes_of_other_pictures_is_named(tmp_path):
    save_boxes(tmp_path / "crops.npz", ["elsewhere.png"])
    words = r"0 of 3 are usable \(3 without people by crops.npz, which names 0 of the pictures; 0 unreadable\)"
    with pytest.raises(ConversionError, match=words):
        load_samples(folder_of(tmp_path / "a", 3), 2, boxes=tmp_path / "crops.npz")


def test_a_json_file_that_is_no_table_is_told_what_coco_files_are(tmp_path):
    (tmp_path / "scenes.json").write_text('[{"name": "p000.png"}]')
    words = r"scenes.json is no file of boxes: it holds a list, but COCO files are a table with 'images' and 'annotations'"
    with pytest.raises(ConversionError, match=words):
        load_samples(folder_of(tmp_path / "a", 2), 2, boxes=tmp_path / "scenes.json")


def test_boxes_found_by_a_detector_are_cut_at_the_pictures_edges(tmp_path):
    samples = load_samples(folder_of(tmp_path / "a", 2), 2, find=lambda image: np.array([[-5, -5, 60, 500]], np.float32))
    assert samples[0].boxes.tolist() == [[0, 0, 60, 160]]


def test_a_few_broken_pictures_are_passed_over_and_many_are_an_error_that_names_one(tmp_path):
    folder = folder_of(tmp_path / "a", 30)
    (folder / "p000.png").write_bytes(b"")
    (folder / "p001.png").write_bytes(b"\x89PNG no")
    assert len(load_samples(folder, 28)) == 28
    for i in range(2, 10):
        (folder / f"p{i:03}.png").write_bytes(b"junk")
    with pytest.raises(ConversionError, match=r"10 of 30 pictures cannot be read, such as p00\d.png"):
        load_samples(folder, 30)


def test_too_few_pictures_say_how_many_there_are_and_what_to_do(tmp_path):
    """Without the name of an option: conversion, its check and comparison have different ones."""
    words = r"64 pictures with people are needed, 3 of 3 are usable \(0 without people; 0 unreadable\); give more pictures, "
    with pytest.raises(ConversionError, match=words):
        load_samples(folder_of(tmp_path / "a", 3), 64)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path / "absent", "is no folder, no .zip and no video"),
        (lambda path: path, "has no pictures"),
        (lambda path: _file(path / "a.zip", b"no zip"), "cannot be read as a zip file"),
        (lambda path: _file(path / "a.mp4", b"no video"), "give --detector"),
        (lambda path: _file(path / "a.txt", b"text"), "is no folder, no .zip and no video"),
    ],
)
def test_what_gives_no_pictures_is_an_error_that_says_why(tmp_path, make, reason):
    with pytest.raises(ConversionError, match=reason):
        load_samples(make(tmp_path), 4)


def test_a_video_that_does_not_decode_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match="cannot be decoded as a video"):
        load_samples(_file(tmp_path / "a.mp4", b"no video"), 4, find=lambda image: np.zeros((0, 4), np.float32))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{"),
        ("a.json", '{"images": []}'),
        ("a.npz", "no archive"),
        ("a.npz", ""),
        ("a.json", '{"images": [{"id": 1}], "annotations": []}'),
    ],
)
def test_a_file_of_boxes_that_is_none_is_an_error_with_its_form(tmp_path, name, content):
    folder = folder_of(tmp_path / "a", 2)
    (tmp_path / name).write_text(content)
    with pytest.raises(ConversionError, match=r"is no file of boxes: .*; give COCO annotations"):
        load_samples(folder, 2, boxes=tmp_path / name)


def test_the_rendered_clip_has_its_true_boxes_and_is_called_weak():
    data = load_data(RENDERED, 24, check=8)
    assert (len(data.calibration), len(data.check)) == (24, 8)
    assert not {sample.name for sample in data.calibration} & {sample.name for sample in data.check}
    assert "one made-up person" in data.weak
    assert all(len(sample.boxes) == 1 for sample in data.check)


def test_a_video_is_read_with_a_detector(tmp_path):
    import posebus

    clip = Path(posebus.__file__).parent / "assets" / "room.mp4"
    samples = load_samples(clip, 12, find=lambda image: np.array([[10, 10, 100, 200]], np.float32))
    assert len({sample.name for sample in samples}) == 12
    assert samples[0].image.shape == (480, 640, 3)


def test_too_few_frames_to_calibrate_with_are_refused_whatever_there_is():
    with pytest.raises(ConversionError, match="--frames 4 is too few to calibrate with; give at least 16"):
        load_data(RENDERED, 4)


def test_networks_see_crops_in_their_size_and_colour_order():
    from common.artifact import find_artifact

    samples = load_samples(RENDERED, 4)
    pose = network_pictures(find_artifact("pp-tinypose-128x96"), samples)
    assert [picture.shape for picture in pose] == [(128, 96, 3)] * 4
    frame = network_pictures(find_artifact("yolox-nano"), samples)[0]
    assert frame.shape == (416, 416, 3)
    assert (frame[-50:] == 114).all()  # letterboxed
    np.testing.assert_allclose(frame[:312].mean((0, 1)), samples[0].image.mean((0, 1)), atol=1)  # BGR as it is
    stretched = network_pictures(find_artifact("picodet-s-320"), samples)[0]
    np.testing.assert_allclose(stretched.mean((0, 1)), samples[0].image.mean((0, 1))[::-1], atol=1)  # RGB


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_real_crops_of_the_kit_come_with_their_boxes(kit):
    samples = load_samples(kit / "people" / "crops0.zip", 40)
    assert len(samples) == 40
    shares = [float(np.prod(sample.boxes[0][2:] - sample.boxes[0][:2])) / sample.image[..., 0].size for sample in samples]
    assert 0.3 < np.median(shares) < 0.8  # the box was padded by 1.4 when the crop was cut


def test_real_scenes_beside_the_boxes_of_crops_are_taken_without_them(kit):
    samples = load_samples(kit / "people" / "scenes0.zip", 8)
    assert all(sample.boxes.tolist() == [[0, 0, sample.image.shape[1], sample.image.shape[0]]] for sample in samples)
