from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.data.errors import DataError
from models.data.synthetic.backdrops import Photos, plain, room, to_linear
from models.data.synthetic.lens import Lens

LENS = Lens((0.0, -3.0, 2.4), 0.0, 25.0, 0.0, 50.0, -0.05, 64, 48)


def jpeg(shade: int) -> bytes:
    done, data = cv2.imencode(".jpg", np.full((40, 60, 3), shade, np.uint8))
    assert done
    return bytes(data.tobytes())


def test_photos_of_a_folder_are_found_in_its_folders_too(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.JPG").write_bytes(jpeg(200))
    (tmp_path / "notes.txt").write_text("no picture")
    photos = Photos(tmp_path)
    assert len(photos) == 1
    crop = photos.crop(np.random.default_rng(0), 32, 24)
    assert crop.shape == (24, 32, 3)
    assert crop == pytest.approx((200 / 255) ** 2.2, abs=0.02)


def test_of_a_kit_only_pictures_without_people_are_taken(tmp_path: Path) -> None:
    entries = [
        {"file": "empty.jpg", "shard": "s.zip", "negative": True, "persons": []},
        {"file": "busy.jpg", "shard": "s.zip", "negative": False, "persons": [{"box": [0, 0, 9, 9]}]},
        {"file": "missed.jpg", "shard": "s.zip", "negative": False, "persons": []},
    ]
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "scenes.json").write_text(json.dumps(entries))
    with zipfile.ZipFile(tmp_path / "people" / "s.zip", "w") as archive:
        archive.writestr("empty.jpg", jpeg(90))
    for folder in (tmp_path, tmp_path / "people"):
        photos = Photos(folder)
        assert [member for _, member in photos.places] == ["empty.jpg"]
        assert photos.crop(np.random.default_rng(0), 20, 20).shape == (20, 20, 3)


def test_a_folder_without_pictures_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path.name} has no pictures .* give photographs without people"):
        Photos(tmp_path)


def test_without_a_folder_there_are_no_photos() -> None:
    assert len(Photos(None)) == 0


def test_linear_light_is_the_inverse_of_the_display_gamma() -> None:
    assert to_linear(np.array([[[0, 128, 255]]], np.uint8)).tolist()[0][0] == pytest.approx([0.0, 0.2195, 1.0], abs=1e-3)


def test_plain_backgrounds_fill_the_picture_with_something_that_varies() -> None:
    field = plain(np.random.default_rng(0), 64, 48)
    assert field.shape == (48, 64, 3)
    assert 0.0 <= field.min() < field.max() <= 1.0


@pytest.mark.parametrize("seed", range(6))
def test_a_room_is_seen_from_inside_with_its_floor_where_the_camera_looks_down(seed: int) -> None:
    picture, depth = room(np.random.default_rng(seed), LENS, Photos(None))
    assert picture.shape == (48, 64, 3)
    assert np.isfinite(picture).all()
    assert 0.0 <= picture.min() < picture.max() <= 1.0
    hits = np.array(LENS.position_m) + LENS.rays() * depth[..., None]
    assert hits[..., 2].min() == pytest.approx(0.0, abs=1e-4)
    assert (depth > 0).all()
    assert np.abs(hits[-1, :, 2]).max() < 1e-3  # the lowest row looks at the floor


def test_rooms_are_reproducible_by_seed() -> None:
    first, second = (room(np.random.default_rng(3), LENS, Photos(None))[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, room(np.random.default_rng(4), LENS, Photos(None))[0])
