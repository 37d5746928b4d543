from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.data.sample import Person, check
from models.data.synthetic.effects import to_jpeg
from models.data.synthetic.scene import Rendered
from models.data.synthetic.store import ANNOTATIONS, JOURNAL, PICTURES, DataError, Journal, check_space, read_folder
from models.data.synthetic.truth import HIDDEN_WEIGHT

SETTINGS = {"backgrounds": None, "motion": None}


def rendered(shade: int = 90, people: int = 1) -> Rendered:
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[:12] = np.stack([np.linspace(12, 40, 12), np.linspace(9, 30, 12), np.ones(12)], axis=1)
    keypoints[5, 2] = HIDDEN_WEIGHT
    person = Person(np.array([10.5, 8.0, 42.0, 31.5], np.float32), keypoints, "lying", False, 1.0, 400.5)
    crowd = Person(np.array([1.0, 1.0, 9.0, 9.0], np.float32), keypoints * 0, "", True, 1.0, 20.0)
    jpeg = to_jpeg(np.full((36, 48, 3), shade, np.uint8), 80)
    return Rendered(jpeg, (48, 36), (person, crowd)[:people], ("fall", "sit")[:people], "CC0-1.0")


def test_a_scene_comes_back_with_all_its_labels(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS)
    scene = rendered(people=2)
    journal.add(7, scene)
    journal.finish([7])
    (sample,) = read_folder(tmp_path)
    check(sample)
    assert sample.licence == "CC0-1.0"
    assert sample.picture.read().shape == (36, 48, 3)
    person, crowd = sample.people
    before = scene.people[0]
    assert before.keypoints is not None
    assert person.keypoints is not None
    assert np.allclose(person.keypoints, before.keypoints, atol=0.006)
    assert np.allclose(person.box_xyxy_px, before.box_xyxy_px, atol=0.006)
    assert (person.posture, person.area_px, person.uncertain) == ("lying", 400.5, False)
    assert crowd.uncertain


def test_the_coco_file_counts_from_pixel_centres_and_flags_what_is_hidden(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS)
    journal.add(3, rendered())
    document = json.loads(journal.finish([3]).read_text())
    (annotation,) = document["annotations"]
    keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
    assert keypoints[0].tolist() == [11.5, 8.5, 2]
    assert keypoints[5, 2] == 1
    assert keypoints[12:].max() == 0
    assert annotation["bbox"] == [10.5, 8.0, 31.5, 23.5]
    assert (annotation["num_keypoints"], annotation["posture"], annotation["motion"]) == (12, "lying", "fall")
    assert document["categories"][0]["keypoints"][0] == "nose"


def test_an_interrupted_run_goes_on_with_the_scenes_it_has(tmp_path: Path) -> None:
    first = Journal(tmp_path, SETTINGS)
    first.add(0, rendered(10))
    first.add(1, rendered(20))
    with open(tmp_path / JOURNAL, "a", encoding="utf-8") as file:
        file.write('{"seed":2,"file":"000')  # the power went off
    again = Journal(tmp_path, SETTINGS)
    assert sorted(again.scenes) == [0, 1]
    again.add(2, rendered(30))
    assert sorted(Journal(tmp_path, SETTINGS).scenes) == [0, 1, 2]


def test_a_scene_without_its_picture_is_rendered_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS)
    journal.add(0, rendered())
    (tmp_path / PICTURES / "00000000.jpg").unlink()
    assert not Journal(tmp_path, SETTINGS).scenes


def test_the_order_of_rendering_leaves_no_trace(tmp_path: Path) -> None:
    texts = []
    for name, seeds in (("a", (0, 1)), ("b", (1, 0))):
        journal = Journal(tmp_path / name, SETTINGS)
        for seed in seeds:
            journal.add(seed, rendered(10 * seed))
        texts.append(journal.finish(range(2)).read_bytes())
    assert texts[0] == texts[1]


def test_scenes_of_other_settings_are_refused(tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS)
    with pytest.raises(DataError, match=r"holds scenes made with .*'motion': None.* not .*'motion': 'fall'.* another folder"):
        Journal(tmp_path, {**SETTINGS, "motion": "fall"})


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS)
    (tmp_path / JOURNAL).write_text("no JSON\n")
    with pytest.raises(DataError, match=rf"{JOURNAL} is damaged"):
        Journal(tmp_path, SETTINGS)


def test_a_run_that_stopped_before_its_first_line_starts_anew(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"vers')
    assert not Journal(tmp_path, SETTINGS).scenes
    assert json.loads((tmp_path / JOURNAL).read_text())["motion"] is None


def test_a_full_disk_is_told_and_leaves_no_broken_picture(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS)
    (tmp_path / PICTURES / "00000004.part").symlink_to("/dev/full")  # writing to it fails as on a full disk
    with pytest.raises(DataError, match=r"the disk of .* is full; free some space and run the same command again"):
        journal.add(4, rendered())
    assert list((tmp_path / PICTURES).iterdir()) == []
    journal.add(4, rendered())
    assert sorted(Journal(tmp_path, SETTINGS).scenes) == [4]


def test_a_full_disk_keeps_the_last_good_annotations(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS)
    journal.add(0, rendered())
    good = journal.finish([0]).read_bytes()
    (tmp_path / ANNOTATIONS).with_suffix(".part").symlink_to("/dev/full")
    with pytest.raises(DataError, match="is full"):
        journal.finish([0])
    assert (tmp_path / ANNOTATIONS).read_bytes() == good


def test_too_little_space_is_told_before_any_work(tmp_path: Path) -> None:
    check_space(tmp_path / "new", 10, free=lambda _: 10**9)
    with pytest.raises(DataError, match=r"10000 scenes need 500 MB, 400 MB are free"):
        check_space(tmp_path / "new", 10_000, free=lambda _: 400_000_000)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .* choose another folder"):
        Journal(tmp_path / "file", SETTINGS)
