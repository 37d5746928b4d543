"""Which files of an artifact are evaluated, on what, and under which name."""

from __future__ import annotations

import pytest

from common.artifact import Artifact, find_artifact
from common.manifest import Manifest, ModelError
from models.evaluation import variants as module
from models.evaluation.variants import chosen, variants

AVAILABLE = {"onnx", "tflite"}


@pytest.fixture(autouse=True)
def runtimes(monkeypatch):
    monkeypatch.setattr(module, "probe", lambda name: None if name in AVAILABLE else f"{name} is not here")


def artifact(tmp_path, *files: tuple[str, str]) -> Artifact:
    """An artifact with these (format, precision)."""
    rows = [
        {"path": f"{i}.bin", "bytes": 1, "sha256": "0" * 64, "format": f, "precision": p, "source": [{"kind": "file"}]}
        for i, (f, p) in enumerate(files)
    ]
    content = {
        "name": "net", "version": "1", "tasks": ["detect"], "licence": "x", "training_data": "x", "provenance": "x",
        "input": {"multiple_px": 32}, "detect": {"decoder": "yolox"}, "file": rows,
    }  # fmt: skip
    return Artifact(tmp_path, Manifest.model_validate(content))


def keys(found) -> list[tuple[str, str, str]]:
    return [(each.key, each.format, each.precision) for each in found]


def test_the_default_has_the_plain_name_and_others_tell_theirs(tmp_path):
    found, left_out = variants(artifact(tmp_path, ("tflite", "float32"), ("tflite", "int8"), ("onnx", "float32")))
    assert keys(found) == [
        ("net", "tflite", "float32"), ("net:int8", "tflite", "int8"), ("net:float32:onnx", "onnx", "float32"),
    ]  # fmt: skip
    assert [each.runtime for each in found] == ["tflite", "tflite", "onnx"]
    files = [[file.path for file in each.artifact.manifest.file] for each in found]
    assert files == [["0.bin"], ["1.bin"], ["2.bin"]], "no other file can be loaded by mistake"
    assert left_out == []


def test_where_only_one_runtime_is_its_first_file_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "probe", lambda name: None if name == "tflite" else "not here")
    found, left_out = variants(artifact(tmp_path, ("onnx", "float32"), ("tflite", "int8"), ("tflite", "float32")))
    assert keys(found) == [("net", "tflite", "int8"), ("net:float32", "tflite", "float32")]
    assert len(left_out) == 1
    assert "onnx float32 left out: tensorrt: not here; onnx: not here; openvino: not here" in left_out[0]


def test_a_precision_can_be_asked_for(tmp_path):
    both = artifact(tmp_path, ("onnx", "float32"), ("tflite", "int8"))
    assert keys(variants(both, precision="int8")[0]) == [("net:int8", "tflite", "int8")]
    found, left_out = variants(both, precision="float16")
    assert found == []
    assert left_out == ["net: has no file of the precision float16 that runs here, only float32, int8"]


def test_a_name_that_is_given_must_exist_and_one_of_the_defaults_need_not():
    found, left_out = chosen(None, ("nobody", "yolox-nano"), "detect")
    assert [each.key for each in found] == ["yolox-nano", "yolox-nano:float16"]
    assert left_out == ["nobody: left out: not in the zoo"]
    with pytest.raises(ModelError, match="'nobody' is not known"):
        chosen(["nobody"], (), "detect")


def test_a_network_for_another_task_is_refused():
    with pytest.raises(ModelError, match="'yolox-nano' does not pose; it is for: detect"):
        chosen(["yolox-nano"], (), "pose")


def test_nothing_left_is_an_error():
    with pytest.raises(ModelError, match="nothing to evaluate:\nnobody: left out"):
        chosen(None, ("nobody",), "detect")


def test_two_artifacts_of_one_name_have_two_rows(tmp_path):
    again = tmp_path / "run7"
    again.mkdir()
    (again / "manifest.toml").write_text((find_artifact("yolox-nano").folder / "manifest.toml").read_text())
    found, _ = chosen(["yolox-nano", str(again)], (), "detect")
    names = [each.key for each in found]
    assert names == ["yolox-nano", "yolox-nano:float16", f"yolox-nano@{again}", f"yolox-nano@{again}:float16"]
