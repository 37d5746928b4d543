from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.artifact import read_artifact, verify
from common.manifest import FILENAME, ArtifactError
from posebus.cli import app
from posebus.models_seal import seal_manifest

MANIFEST = """# ours
name = "mine"
version = "1"
tasks = ["detect"]
licence = "Apache-2.0"
training_data = "none"
provenance = "a test"

[input]
multiple_px = 32

[detect]
decoder = "yolox"

[[file]]  # the float one
format = "onnx"
path = "model.onnx"
[[file.source]]
kind = "file"

[[file]]
bytes = 1
sha256 = "old"
format = "tflite"
path = "model.tflite"
[[file.source]]
kind = "file"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FILENAME).write_text(MANIFEST)
    (tmp_path / "model.onnx").write_bytes(b"onnx" * 100)
    (tmp_path / "model.tflite").write_bytes(b"tflite")
    return tmp_path


def test_an_own_manifest_gets_sizes_and_hashes_and_is_then_good(folder):
    result = CliRunner().invoke(app, ["models", "seal", str(folder)])
    assert result.exit_code == 0, result.output
    assert "mine 1: 2 files sealed" in result.output
    artifact = read_artifact(folder)
    verify(artifact)
    assert [file.size_bytes for file in artifact.manifest.file] == [400, 6]
    assert artifact.manifest.file[1].sha256 == hashlib.sha256(b"tflite").hexdigest()


def test_sealing_changes_nothing_else_and_again_nothing_at_all(folder):
    seal_manifest(folder)
    text = (folder / FILENAME).read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("bytes", "sha256"))]
    assert kept == [line for line in MANIFEST.splitlines() if not line.startswith(("bytes", "sha256"))]
    seal_manifest(folder)
    assert (folder / FILENAME).read_text() == text


def test_a_file_that_changed_is_refused_until_it_is_sealed_again(folder):
    seal_manifest(folder)
    (folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(ArtifactError, match=r"model\.onnx has the SHA-256"):
        verify(read_artifact(folder))
    seal_manifest(folder)
    verify(read_artifact(folder))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('path = "model.onnx"', 'path = "gone.onnx"', r"gone\.onnx does not exist; put it beside manifest\.toml"),
        ('path = "model.onnx"', "", r"every \[\[file\]\] needs the key 'path'"),
        ("[input]", "[input", "not valid TOML"),
        ('decoder = "yolox"', 'decoder = "yolox"\nnms_iou = 7', r"manifest\.toml: detect\.nms_iou: Input should be less"),
    ],
)
def test_what_is_wrong_is_named_and_the_manifest_stays(folder, old, new, words):
    (folder / FILENAME).write_text(text := MANIFEST.replace(old, new))
    with pytest.raises(ArtifactError, match=words):
        seal_manifest(folder)
    assert (folder / FILENAME).read_text() == text
    assert not list(folder.glob(".*"))


def test_line_ends_stay_as_they_are(folder):
    (folder / FILENAME).write_bytes(MANIFEST.replace("\n", "\r\n").encode())
    seal_manifest(folder)
    assert b"\r\n[[file]]" in (folder / FILENAME).read_bytes()
    verify(read_artifact(folder))


def test_a_text_that_looks_like_a_table_is_named(folder):
    (folder / FILENAME).write_text(MANIFEST.replace('provenance = "a test"', 'provenance = """\n[[file]]\n"""'))
    with pytest.raises(ArtifactError, match=r"looks like the header \[\[file\]\]; indent or move it"):
        seal_manifest(folder)


def test_a_manifest_without_files_is_refused(folder):
    (folder / FILENAME).write_text(MANIFEST.split("[[file]]")[0])
    with pytest.raises(ArtifactError, match=r"has no \[\[file\]\] table to seal"):
        seal_manifest(folder)
