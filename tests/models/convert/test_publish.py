from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.artifact import input_of, path_for, read_artifact
from models.convert.publish import LOCK, REPORT, Written, manifest_text, new_folder
from models.convert.source import ConversionError, Source

SOURCE = Source(
    "net", None, "pose", 96, 128, "rgb", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), "heatmaps_quarter", ("heatmaps",), 'GPL "or\\not"',
    "Bilder ä ö ü", "a\nb", padding=1.3,
)  # fmt: skip


def write(folder: Path, content: bytes = b"network") -> None:
    (folder / REPORT).write_text("{}")
    file = folder / "model.tflite"
    file.write_bytes(content)
    files = [Written("tflite", "float32", file, False), Written("onnx", "int8", file)]
    row = {"task": "pose", "metric": "OKS", "value": 0.99, "dataset": "d", "n": 3, "runtime": "tflite", "device": "here"}
    (folder / "manifest.toml").write_text(manifest_text(SOURCE, files, [row], decoder=SOURCE.decoder), encoding="utf-8")


def test_the_manifest_says_all_that_the_source_says(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        write(folder)
    artifact = read_artifact(tmp_path / "out")
    manifest = artifact.manifest
    assert (manifest.licence, manifest.training_data, manifest.provenance) == ('GPL "or\\not"', "Bilder ä ö ü", "a\nb")
    assert manifest.pose.model_dump() == {
        "decoder": "heatmaps_quarter", "width_px": 96, "height_px": 128, "padding": 1.3,
    }  # fmt: skip
    assert manifest.input.mean is None  # folded into the files
    assert (manifest.input.dtype, manifest.input.layout, manifest.input.colour) == ("uint8", "NHWC", "rgb")
    assert not input_of(artifact, "tflite").batch
    assert input_of(artifact, "onnx", "int8").batch
    assert path_for(artifact, "tflite").read_bytes() == b"network"
    assert manifest.measured[0].value == 0.99


def convert(out: Path, then: Callable[[Path], None], content: bytes = b"network") -> None:
    """Write an artifact, and do something more before it is published."""
    with new_folder(out) as folder:
        write(folder, content)
        then(folder)


def nothing(folder: Path) -> None:
    del folder


def test_a_new_artifact_takes_the_place_of_the_old_one(tmp_path):
    for content in (b"one", b"two"):
        with new_folder(tmp_path / "out") as folder:
            write(folder, content)
    assert path_for(read_artifact(tmp_path / "out"), "tflite").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_or_an_interrupt_leaves_the_old_artifact_and_nothing_else(tmp_path, error):
    with new_folder(tmp_path / "out") as folder:
        write(folder)

    def fail(folder: Path) -> None:
        raise error

    with pytest.raises(error):
        convert(tmp_path / "out", fail, b"half")
    assert path_for(read_artifact(tmp_path / "out"), "tflite").read_bytes() == b"network"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_appears_before_the_end(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        write(folder)
        assert not (tmp_path / "out").exists()


def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:  # empty is fine
        write(folder)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ConversionError, match=r"holds notes.txt, which no conversion has written"):
        convert(tmp_path / "out", lambda folder: pytest.fail("must not begin"))
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_an_artifact_that_was_made_by_hand_is_never_replaced(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        write(folder)
    (tmp_path / "out" / REPORT).unlink()
    with pytest.raises(ConversionError, match=r"holds \.conversion, manifest\.toml, model\.tflite, which no conversion"):
        convert(tmp_path / "out", nothing)


def test_an_artifact_whose_manifest_was_changed_is_never_replaced(tmp_path):
    """As by adding the file that the Edge TPU's compiler made of it."""
    with new_folder(tmp_path / "out") as folder:
        write(folder)
    (tmp_path / "out" / "model_edgetpu.tflite").write_bytes(b"compiled elsewhere")
    manifest = tmp_path / "out" / "manifest.toml"
    manifest.write_text(manifest.read_text() + "# and an entry for it\n")
    with pytest.raises(ConversionError, match=r"manifest\.toml was changed since its conversion, and that would be lost"):
        convert(tmp_path / "out", nothing)
    assert (tmp_path / "out" / "model_edgetpu.tflite").is_file()


def test_what_a_killed_conversion_left_is_removed_by_the_next_and_nothing_else(tmp_path):
    dead, alive, foreign = (tmp_path / f".out-{name}" for name in ("dead", "alive", "foreign"))
    for folder in (dead, alive, foreign):
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"half")
    (dead / LOCK).touch()
    with (alive / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with new_folder(tmp_path / "out") as folder:
            write(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out-alive", ".out-foreign", "out"]


def test_a_folder_of_somebody_else_beside_it_is_left_alone(tmp_path):
    mine = tmp_path / ".out.before" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with new_folder(tmp_path / "out") as folder:
        write(folder)
    with pytest.raises(ConversionError, match="cannot be written"):
        convert(tmp_path / "out", write)
    assert mine.read_text() == "mine"
    assert path_for(read_artifact(tmp_path / "out"), "tflite").read_bytes() == b"network"


def test_what_turns_up_during_the_conversion_is_not_replaced_either(tmp_path):

    def meanwhile(folder: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")

    with pytest.raises(ConversionError, match=r"holds notes.txt"):
        convert(tmp_path / "out", meanwhile)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConversionError, match="is a file; give a folder"):
        convert(tmp_path / "out", nothing)


def test_a_crash_between_the_two_renames_is_mended_by_the_next_conversion(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        write(folder)
    os.replace(tmp_path / "out", tmp_path / ".out.before")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out"):
        raise RuntimeError
    assert path_for(read_artifact(tmp_path / "out"), "tflite").read_bytes() == b"network"


def test_a_place_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConversionError, match="cannot be written"):
        convert(tmp_path / "file" / "out", nothing)


def test_a_full_disk_says_so_and_leaves_the_old_artifact(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        write(folder)
    with pytest.raises(ConversionError, match="cannot be written: No space left on device; free some space"):
        convert(tmp_path / "out", lambda folder: Path("/dev/full").write_text("x" * 100_000) and None)
    assert path_for(read_artifact(tmp_path / "out"), "tflite").read_bytes() == b"network"
