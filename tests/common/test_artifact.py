from __future__ import annotations

from pathlib import Path

import pytest

from common.artifact import (
    Artifact,
    ArtifactError,
    find_artifact,
    is_here,
    list_artifacts,
    path_for,
    pull,
    read_artifact,
    verify,
)
from common.manifest import FileSpec
from tests.model_parts import file_text, manifest_text, tiny_artifact


def manifest(folder: Path, text: str) -> Path:
    (folder / "manifest.toml").write_text(text)
    return folder


GOOD = manifest_text("good", "", layout="NHWC", size="multiple_px = 32")


def test_every_manifest_of_the_zoo_is_complete_and_lies_in_the_folder_of_its_name():
    artifacts = list_artifacts()
    assert {"fake-person", "movenet-multipose", "rtmdet-nano", "picodet-s-320", "pp-tinypose-256x192"} <= {
        artifact.name for artifact in artifacts
    }
    for artifact in artifacts:
        assert artifact.folder.name == artifact.name
        assert artifact.manifest.licence == "Apache-2.0"
        assert artifact.name == "fake-person" or {m.task for m in artifact.manifest.measured} == set(artifact.tasks)


def test_movenet_serves_both_stages_or_one_for_both_and_comes_from_pypi():
    artifact = find_artifact("movenet-multipose")
    assert artifact.tasks == ("detect", "pose", "bottom_up")
    assert artifact.formats == ("tflite",)
    (file,) = artifact.files.values()
    assert [source.kind for source in file.source] == ["pypi"]
    assert str(artifact) == "movenet-multipose 1"


def test_a_network_may_come_in_several_formats_and_precisions():
    yolox = find_artifact("yolox-nano")
    assert [(file.format, file.precision) for file in yolox.manifest.file] == [("onnx", "float32"), ("tflite", "float16")]
    movenet = find_artifact("movenet-lightning")
    assert {(file.format, file.precision) for file in movenet.manifest.file} == {("tflite", "int8"), ("edgetpu", "int8")}
    assert [source.kind for file in movenet.manifest.file for source in file.source] == ["kit", "kit"]


def test_an_artifact_is_found_by_the_path_of_its_folder(tmp_path):
    found = find_artifact(str(manifest(tmp_path, GOOD)))
    assert found.name == "good"
    assert found.formats == ("fake",)


def test_an_unknown_name_gets_the_nearest_and_all_known():
    with pytest.raises(ArtifactError, match=r"'movnet-multipose' is not known; did you mean 'movenet-multipose'\?.*rtmdet"):
        find_artifact("movnet-multipose")


@pytest.mark.parametrize("name", ["no/such/folder", "../zoo/movenet-multipose/../nothing"])
def test_a_path_without_a_manifest_is_named(name):
    with pytest.raises(ArtifactError, match=rf"artifact '{name}': no manifest.toml in that folder"):
        find_artifact(name)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nlicense = "x"', "license: unknown key"),
        ('name = "good"', 'name = "Not Good"', "name: String should match pattern"),
        ('version = "1"', "", "version: Field required"),
        ("multiple_px = 32", "", "input: needs either width_px and height_px, or multiple_px"),
        ("multiple_px = 32", "width_px = 32", "input: needs either width_px and height_px, or multiple_px"),
        ("std = [2.0, 4.0, 5.0]", "", "input: mean and std come together"),
        ('tasks = ["detect"]', 'tasks = ["detect", "pose"]', r"manifest: task 'pose' needs a table \[pose\]"),
        (
            'tasks = ["detect"]',
            'tasks = ["cook"]',
            r"tasks\[0\]: Input should be 'detect', 'pose' or 'bottom_up' \(got 'cook'\)",
        ),
        ("[detect]", "[detect]\nnms_iou = 7", r"detect.nms_iou: Input should be less than or equal to 1 \(got 7\)"),
        ("[detect]", "[detect", "not valid TOML"),
    ],
)
def test_a_wrong_manifest_is_refused_with_file_key_and_reason(old, new, words, tmp_path):
    assert old in GOOD
    with pytest.raises(ArtifactError, match=rf"{tmp_path / 'manifest.toml'}: {words}"):
        read_artifact(manifest(tmp_path, GOOD.replace(old, new)))


def test_crops_of_another_size_than_the_network_takes_are_refused(tmp_path):
    text = GOOD.replace("multiple_px = 32", "width_px = 6\nheight_px = 4")
    pose = '[pose]\ndecoder = "heatmaps"\nwidth_px = 96\nheight_px = 128\n'
    with pytest.raises(ArtifactError, match=r"manifest: \[pose\] says crops of 96x128, \[input\] says 6x4 pixels"):
        read_artifact(manifest(tmp_path, text + pose))


@pytest.mark.parametrize("path", ["../outside.onnx", "/etc/passwd", "a/../../b"])
def test_a_file_outside_the_artifact_is_refused(path, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"x")
    text = GOOD + file_text(tmp_path / "x.onnx", "onnx").replace('"x.onnx"', f'"{path}"')
    with pytest.raises(ArtifactError, match=r"file\[0\].path: must be a relative path without '\.\.'"):
        read_artifact(manifest(tmp_path, text))


def test_two_files_of_one_format_are_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"x")
    twice = file_text(tmp_path / "x.onnx", "onnx") * 2
    with pytest.raises(ArtifactError, match="two files of the same format, role and precision"):
        read_artifact(manifest(tmp_path, GOOD + twice))


def test_verify_names_a_missing_file_and_a_changed_one(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    verify(artifact, cache=tmp_path / "cache")
    assert is_here(artifact, cache=tmp_path / "cache")
    path = artifact.folder / "tiny.onnx"
    path.write_bytes(b"changed")
    with pytest.raises(ArtifactError, match=rf"{path} has the SHA-256 .*`posebus models pull tiny-onnx`"):
        verify(artifact, cache=tmp_path / "cache")
    path.unlink()
    assert not is_here(artifact, cache=tmp_path / "cache")
    with pytest.raises(ArtifactError, match=r"tiny\.onnx is not here; `posebus models pull` gets it"):
        verify(artifact, cache=tmp_path / "cache")


def test_a_file_in_the_folder_is_used_in_place(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    assert pull(artifact, cache=tmp_path / "cache") == artifact.folder / "tiny.onnx"
    assert path_for(artifact, "onnx", cache=tmp_path / "cache") == artifact.folder / "tiny.onnx"
    assert not (tmp_path / "cache").exists()


def test_a_format_that_an_artifact_does_not_have_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="'tiny-onnx' has no model file tflite; it has onnx float32"):
        path_for(tiny_artifact(tmp_path / "tiny", "onnx"), "tflite")


def test_file_specs_can_be_made_in_code():
    with pytest.raises(ValueError, match="sha256"):
        FileSpec(path="a", bytes=1, sha256="short", source=({"kind": "url", "url": "https://example.org/a"},))


def two_formats(folder: Path) -> Artifact:
    """An artifact with an onnx and a tflite file, of which the second is nowhere to be had."""
    tiny_artifact(folder, "onnx")
    text = (folder / "manifest.toml").read_text()
    lost = file_text(folder / "tiny.onnx", "tflite", source='kind = "kit"\npath = "no/such.tflite"')
    (folder / "manifest.toml").write_text(text + lost.replace("tiny.onnx", "lost.tflite"))
    return read_artifact(folder)


def test_only_files_that_a_runtime_reads_are_pulled_for_it(tmp_path):
    artifact, cache = two_formats(tmp_path / "two"), tmp_path / "cache"
    pull(artifact, cache=cache, formats=("openvino", "onnx"))
    assert is_here(artifact, cache=cache, formats=("onnx",))
    assert not is_here(artifact, cache=cache)
    with pytest.raises(ArtifactError, match=r"lost\.tflite cannot be had"):
        pull(artifact, cache=cache)


def test_files_that_are_here_are_verified_though_others_are_not(tmp_path):
    artifact, cache = two_formats(tmp_path / "two"), tmp_path / "cache"
    assert verify(artifact, cache=cache, missing=True) == 1
    with pytest.raises(ArtifactError, match=r"lost\.tflite is not here"):
        verify(artifact, cache=cache)
    (artifact.folder / "tiny.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"tiny\.onnx has the SHA-256"):
        verify(artifact, cache=cache, missing=True)


def test_weights_of_another_precision_are_named_with_the_fix(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "openvino")
    path = artifact.folder / "manifest.toml"
    path.write_text(path.read_text().replace('precision = "float32"', 'precision = "float16"', 1))
    with pytest.raises(ArtifactError, match=r"no weights file openvino float16; it has openvino float32; .* same precision"):
        path_for(read_artifact(artifact.folder), "openvino", role="weights", precision="float16")
