from __future__ import annotations

import errno
import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from models.data import pack as packing
from models.data.pack import pack
from models.data.picture import FilePicture
from models.data.sample import DataError, check
from tests.models.data.people import jpeg, person, photo, sample


@pytest.fixture
def samples(tmp_path):
    found = []
    for i in range(3):
        path = tmp_path / f"{i}.jpg"
        path.write_bytes(jpeg(photo(i, 160 + 40 * i, 120)))
        found.append(sample(person(area_px=800.0), picture=FilePicture(path, (160 + 40 * i, 120)), name=path.name))
    return found


def test_small_pictures_stay_as_they_are_and_large_ones_shrink_with_their_labels(samples, tmp_path):
    packed = pack(samples, 160, cache=tmp_path / "cache")
    same, _, shrunk = packed.samples
    assert np.array_equal(same.picture.read(), samples[0].picture.read())
    assert same.people is samples[0].people
    assert shrunk.picture.read().shape == (80, 160, 3)
    assert shrunk.picture.size_px == (160, 80)
    whole, part = samples[2].people[0], shrunk.people[0]
    assert np.allclose(part.box_xyxy_px, whole.box_xyxy_px * 2 / 3)
    assert np.allclose(part.keypoints[:, :2], whole.keypoints[:, :2] * 2 / 3)
    assert np.array_equal(part.keypoints[:, 2], whole.keypoints[:, 2])
    assert part.area_px == pytest.approx(800 * 4 / 9)
    for entry in packed.samples:
        check(entry)


def test_a_second_call_takes_what_is_there(samples, tmp_path):
    first = pack(samples, 160, cache=tmp_path / "cache")
    made = first.path.stat().st_mtime_ns
    assert pack(samples, 160, cache=tmp_path / "cache").path.stat().st_mtime_ns == made
    assert "3 pictures" in str(first)


def test_other_pictures_another_order_or_size_make_another_pack(samples, tmp_path):
    paths = {pack(samples, 160, cache=tmp_path / "cache").path, pack(samples, 80, cache=tmp_path / "cache").path}
    paths.add(pack(samples[::-1], 160, cache=tmp_path / "cache").path)
    (tmp_path / "0.jpg").write_bytes(jpeg(photo(9)))
    paths.add(pack(samples, 160, cache=tmp_path / "cache").path)
    assert len(paths) == 4


def test_an_interrupted_writer_leaves_nothing_that_is_taken_for_a_pack(samples, tmp_path, monkeypatch):
    cache = tmp_path / "cache"

    def interrupted(*_: object) -> object:
        yield np.zeros((120, 160, 3), np.uint8)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packing, "_pixels", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack(samples, 160, cache=cache)
    assert packs(cache) == []
    (cache / ".part-of-a-killed.pack").write_bytes(b"half")
    path = pack(samples, 160, cache=cache).path
    assert packs(cache) == [path], "what a killed writer left is removed too"


def test_a_disk_that_fills_up_meanwhile_is_named_and_freed(samples, tmp_path, monkeypatch):
    def full(*_: object) -> object:
        yield np.zeros((120, 160, 3), np.uint8)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing, "_pixels", full)
    with pytest.raises(DataError, match=r"\.pack cannot be written: No space left on device; make room"):
        pack(samples, 160, cache=tmp_path / "cache")
    assert packs(tmp_path / "cache") == []


def packs(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.name != ".lock"]


def test_a_pack_that_was_cut_off_is_refused(samples, tmp_path):
    packed = pack(samples, 160, cache=tmp_path / "cache")
    with packed.path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match=r"has 1000 of \d+ bytes: it was cut off; delete it"):
        pack(samples, 160, cache=tmp_path / "cache")


def test_a_full_disk_is_said_before_it_is_full(samples, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 1_000_000))
    with pytest.raises(DataError, match=r"needs 0 MB and 1 MB are free; make room"):
        pack(samples, 160, cache=tmp_path / "cache")


def test_a_folder_that_cannot_be_written_is_named(samples, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        pack(samples, 160, cache=tmp_path / "cache")


def test_a_broken_picture_is_named_and_no_pack_is_left(samples, tmp_path):
    (tmp_path / "1.jpg").write_bytes(jpeg(photo(1, 200, 120))[:600])
    with pytest.raises(DataError, match=r"1\.jpg: the JPEG was cut off"):
        pack(samples, 160, cache=tmp_path / "cache")
    assert packs(tmp_path / "cache") == []


def test_packed_pictures_are_small_to_send_to_another_process_and_read_only(samples, tmp_path):
    picture = pack(samples, 160, cache=tmp_path / "cache").samples[1].picture
    sent = pickle.dumps(picture)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).read(), picture.read())
    with pytest.raises(ValueError, match="read-only"):
        picture.read()[0, 0, 0] = 1


def test_nothing_to_pack_is_no_error(tmp_path):
    assert pack([], 160, cache=tmp_path).samples == ()
    with pytest.raises(DataError, match="at least 1"):
        pack([], 0, cache=tmp_path)
