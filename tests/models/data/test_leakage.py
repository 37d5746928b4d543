from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.data.leakage import BITS, MAX_BITS, distances, leaks, main, perceptual_hash, sheet
from models.data.picture import MemoryPicture, decode
from models.data.readers.lsp import read_lsp
from models.data.split import COPIES_OF_DEV, dev_sets, train_sets
from tests.models.data.people import jpeg, person, photo, sample

FIRST = photo(1, 320, 240)
COPIES = {
    "half the size": cv2.resize(FIRST, (160, 120), interpolation=cv2.INTER_AREA),
    "recompressed": decode(jpeg(FIRST, 20), "copy"),
    "darker": (FIRST * 0.6).astype(np.uint8),
    "stretched": cv2.resize(FIRST, (400, 240)),
    "cut at the edges": np.ascontiguousarray(FIRST[4:-4, 5:-5]),
    "mirrored": np.ascontiguousarray(FIRST[:, ::-1]),
}


def test_a_hash_has_as_many_ones_as_zeros_and_one_distance_to_itself():
    bits = perceptual_hash(FIRST)
    assert bits.shape == (BITS,)
    assert bits.sum() == BITS // 2
    other = perceptual_hash(photo(2))
    assert distances(np.stack([bits, other]), bits[None])[:, 0].tolist() == [0, int((bits != other).sum())]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found(how):
    copy = sample(picture=MemoryPicture(COPIES[how]), name="copy")
    train = [sample(seed=5, name="x"), sample(picture=MemoryPicture(FIRST), name="original"), sample(seed=6, name="y")]
    found = leaks(train, [sample(seed=7, name="z"), copy])
    assert [(leak.train.name, leak.test.name) for leak in found] == [("original", "copy")]
    assert found[0].mirrored == (how == "mirrored")


def test_a_crop_is_found_in_the_photo_that_it_was_cut_from():
    scene = photo(3, 640, 480)
    box = (200.0, 120.0, 300.0, 320.0)
    crop = np.ascontiguousarray(scene[80:360, 180:320])  # the box, padded by 1.4
    found = leaks(
        [sample(picture=MemoryPicture(crop), name="crop")], [sample(person(box), picture=MemoryPicture(scene), name="scene")]
    )
    assert [leak.test.name for leak in found] == ["scene"]


def test_unrelated_pictures_are_no_leak():
    assert leaks([sample(seed=i) for i in range(30)], [sample(seed=i) for i in range(100, 130)]) == []
    assert leaks([], [sample()]) == []


def test_the_sheet_shows_each_pair():
    found = leaks([sample(seed=1)], [sample(seed=1)])
    assert sheet(found, columns=2, side_px=90).shape == (90, 360, 3)


def test_copies_of_development_photos_are_found_and_do_not_train(kit):
    trained = {entry.name for entry in train_sets(kit)["lspet"]}
    assert COPIES_OF_DEV.isdisjoint(trained)
    copies = [entry for entry in read_lsp(kit / "data" / "lspet") if entry.name in COPIES_OF_DEV]
    found = leaks(copies, dev_sets(kit)["lspet"])
    assert {leak.train.name for leak in found} == COPIES_OF_DEV


def test_the_command_prints_pairs_and_how_many_were_compared(kit, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("models.data.leakage.train_sets", lambda *_, **__: {"a": [sample(seed=1, name="one.jpg")]})
    monkeypatch.setattr("models.data.leakage.val_sets", lambda *_: {"b": [sample(seed=1, name="two.jpg"), sample(seed=2)]})
    monkeypatch.setattr("sys.argv", ["leakage", "--kit", str(kit), "--sheet", str(tmp_path / "sheet.png")])
    main()
    out = capsys.readouterr().out
    assert "  0 bits: test one.jpg is test two.jpg" in out
    assert f"1 pairs of 1 training and 2 val pictures are within {MAX_BITS} bits" in out
    assert (tmp_path / "sheet.png").stat().st_size > 0
