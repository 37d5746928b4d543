from __future__ import annotations

import pytest

from models.data.sample import DataError, Report, check
from models.data.split import all_of, dev_sets, kit_folder, train_sets, val_sets


@pytest.fixture(scope="module")
def parts(kit):
    """Read once: training, development, validation, and all that may be learned from."""
    return train_sets(kit), dev_sets(kit), val_sets(kit), train_sets(kit, with_dev=True)


def ids(samples):
    return {(sample.source, sample.name) for sample in samples}


def test_the_parts_are_disjoint_and_nothing_is_lost(parts):
    train, dev, val, everything = (ids(all_of(sets)) for sets in parts)
    assert not train & dev
    assert not val & everything
    assert train | dev < everything
    assert len(everything - train - dev) == 2, "two photos of lspet that show what development data shows"


def test_a_camera_is_in_one_part_only(parts):
    train, dev, *_ = parts
    assert {sample.group for sample in train["crops"]}.isdisjoint({sample.group for sample in dev["crops"]})


def test_development_data_has_human_labels_and_other_places(parts):
    dev = parts[1]
    assert {name: len(samples) for name, samples in dev.items()} == {"crops": 257, "scenes": 125, "lspet": 129, "coco": 36}


def test_sources_without_a_stated_licence_can_be_left_out(kit):
    report = Report()
    stated = train_sets(kit, leave_out=["none stated"], report=report)
    assert not any(sample.licence.startswith("none stated") for sample in all_of(stated))
    assert "2488 x people: crop of umareddy123/Human_activity_recognition, left out" in str(report)
    with pytest.raises(DataError, match="no source 'nobody/nothing' to leave out"):
        train_sets(kit, leave_out=["nobody/nothing"])


def test_a_picture_of_each_set_is_what_its_labels_are_for(parts):
    for sets in parts:
        for samples in sets.values():
            for sample in samples[:: max(1, len(samples) // 3)]:
                check(sample)


def test_an_absent_kit_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEBUS_KIT", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere with the training data is absent: set POSEBUS_KIT"):
        kit_folder()
