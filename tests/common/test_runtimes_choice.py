"""Which runtime loads an artifact, and what is said when none can, or when the file is not what it should be."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import runtimes
from common.artifact import Artifact, ArtifactError, find_artifact, read_artifact
from common.manifest import ModelError
from common.runtimes import RuntimeUnavailable, candidates, load, onnx, openvino, tflite
from common.runtimes.base import Request
from common.runtimes.fake import FakeEngine, parse_sleep
from tests.model_parts import (
    SIZE,
    expected,
    expected_int8,
    file_text,
    manifest_text,
    pulled,
    tiny_artifact,
    write_tiny_onnx,
    write_tiny_openvino,
    write_tiny_tflite,
)

REAL = ("onnx", "openvino", "tflite")


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


def of_all_formats(folder: Path) -> Artifact:
    """One network, float32 and NHWC, as tflite, onnx and int8 tflite, in this order."""
    write_tiny_tflite(folder / "tiny.tflite", dynamic=True)
    write_tiny_tflite(folder / "int8.tflite", quantised=True, scale=1.0, zero=-128)
    write_tiny_onnx(folder / "tiny.onnx", raw=True)
    int8 = file_text(folder / "int8.tflite", "tflite", precision="int8")
    int8 = int8.replace("[[file.source]]", "batch = false\n[[file.source]]")
    files = file_text(folder / "tiny.tflite", "tflite") + file_text(folder / "tiny.onnx", "onnx") + int8
    text = manifest_text("tiny-all", files, layout="NHWC", size=SIZE, normalise=False)
    (folder / "manifest.toml").write_text(text)
    return read_artifact(folder)


@pytest.mark.parametrize("runtime", REAL)
def test_auto_takes_the_runtime_of_the_files_own_format(runtime, tmp_path):
    engine = load(tiny_artifact(tmp_path / "tiny", runtime))
    assert engine.name == runtime
    engine.close()


def test_auto_says_why_it_passed_a_better_runtime_over(tmp_path, caplog):
    caplog.set_level("INFO")
    load(tiny_artifact(tmp_path / "tiny", "onnx")).close()
    passed_over = {record.args[1]: record.args[2] for record in caplog.records if "passed_over" in record.msg}
    assert set(passed_over) == {"tensorrt"}
    assert "tensorrt cannot be imported" in passed_over["tensorrt"]


def test_auto_takes_the_format_that_the_manifest_lists_first(tmp_path):
    artifact = of_all_formats(tmp_path)
    engine = load(artifact)
    assert (engine.name, engine.precision) == ("tflite", "float32")
    engine.close()
    tflite_file, onnx_file, int8 = artifact.manifest.file
    turned = replace(artifact, manifest=artifact.manifest.model_copy(update={"file": (onnx_file, int8, tflite_file)}))
    engine = load(turned)
    assert engine.name == "onnx"
    engine.close()


def test_of_an_artifact_for_every_device_each_runtime_takes_its_own_file(tmp_path, monkeypatch):
    """As our own networks come: int8 TFLite first."""
    artifact = of_all_formats(tmp_path)
    tflite_file, onnx_file, int8 = artifact.manifest.file
    ours = replace(artifact, manifest=artifact.manifest.model_copy(update={"file": (int8, onnx_file, tflite_file)}))
    assert candidates(ours) == [("tensorrt", "onnx"), ("tflite", "tflite"), ("onnx", "onnx"), ("openvino", "onnx")]
    for runtime, precision in (("auto", "int8"), ("tflite", "int8"), ("onnx", "float32"), ("openvino", "float32")):
        engine = load(ours, runtime=runtime)
        assert (engine.precision, runtime in ("auto", engine.name)) == (precision, True)
        engine.close()
    hide(monkeypatch, "ai_edge_litert", "tflite_runtime")
    engine = load(ours)
    assert engine.name == "onnx"
    engine.close()


def test_a_gpu_goes_before_the_manifests_order(tmp_path, monkeypatch):
    artifact = of_all_formats(tmp_path)
    assert [runtime for runtime, _ in candidates(artifact)] == ["tensorrt", "tflite", "onnx", "openvino"]
    monkeypatch.setattr(onnx, "takes_gpu", lambda: True)
    assert [runtime for runtime, _ in candidates(artifact)] == ["tensorrt", "onnx", "tflite", "openvino"]


def test_auto_takes_the_runtime_that_has_the_precision_asked_for(tmp_path):
    engine = load(of_all_formats(tmp_path), precision="int8")
    assert engine.name == "tflite"
    (answer,) = engine.run(picture(2)).values()
    assert np.unique(answer % 1).tolist() == [0.0]
    engine.close()


def test_where_onnx_runtime_is_missing_openvino_reads_the_onnx_file(tmp_path, monkeypatch):
    hide(monkeypatch, "onnxruntime")
    engine = load(tiny_artifact(tmp_path / "tiny", "onnx"))
    assert engine.name == "openvino"
    (answer,) = engine.run(picture(3)).values()
    np.testing.assert_allclose(answer.transpose(0, 2, 3, 1), expected(picture(3)), rtol=1e-5, atol=1e-5)
    engine.close()


def test_openvino_prefers_its_own_format(tmp_path):
    write_tiny_openvino(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    files = file_text(tmp_path / "broken.onnx", "onnx") + file_text(tmp_path / "tiny.xml", "openvino")
    files += file_text(tmp_path / "tiny.bin", "openvino", "weights")
    (tmp_path / "manifest.toml").write_text(manifest_text("two", files, layout="NCHW", size=SIZE))
    load(read_artifact(tmp_path), runtime="openvino").close()


def test_every_runtime_and_format_is_in_the_order_of_auto():
    modules = {name: importlib.import_module(path) for name, path in runtimes.RUNTIMES.items()}
    assert set(modules) == {"tensorrt", "edgetpu", "openvino", "onnx", "tflite", "fake"}
    assert set(runtimes.AUTO) == {(name, format) for name, module in modules.items() for format in module.FORMATS}


def test_importing_the_runtimes_imports_none_of_them():
    import subprocess
    import sys

    code = "import sys, common.runtimes as r; [r.probe(n) for n in ('onnx', 'openvino', 'tflite')]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"onnxruntime", "openvino", "ai_edge_litert.interpreter", "tensorrt", "pycuda"} & set(done.stdout.split())


@pytest.mark.parametrize("runtime", REAL)
def test_one_flipped_bit_is_refused_by_its_checksum(runtime, tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", runtime)
    path = artifact.folder / artifact.manifest.file[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"wrong content: SHA-256 [0-9a-f]{64}"):
        load(artifact, runtime=runtime, cache=tmp_path / "cache")


@pytest.mark.parametrize("runtime", REAL)
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_broken_network_with_the_right_checksum_is_refused_by_the_runtime(runtime, damage, tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", runtime)
    path = artifact.folder / artifact.manifest.file[0].path
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "garbage": bytes(range(256)) * 40, "empty": b" "}[damage])
    weights = artifact.folder / "tiny.bin"
    files = file_text(path, runtime) + (file_text(weights, runtime, "weights") if weights.exists() else "")
    (artifact.folder / "manifest.toml").write_text(manifest_text("tiny-broken", files, layout="NCHW", size=SIZE))
    with pytest.raises(ModelError, match=rf"'tiny-broken' cannot be loaded by runtime '{runtime}'") as caught:
        load(read_artifact(artifact.folder), runtime=runtime)
    assert caught.value.__cause__ is not None


def test_quantised_networks_take_pixels_and_give_real_numbers(tmp_path):
    engine = load(tiny_artifact(tmp_path / "tiny", "tflite-int8"))
    (answer,) = engine.run(picture(2)).values()
    np.testing.assert_allclose(answer, expected_int8(picture(2)), atol=0.25 + 1e-5)
    assert answer.dtype == np.float32
    engine.close()


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let these packages be absent."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name.split(".")[0] in packages else real(name, package)
    )


@pytest.mark.parametrize(("module", "extra"), [(onnx, "onnx"), (openvino, "openvino"), (tflite, "tflite")])
def test_a_runtime_that_is_not_installed_names_what_to_install(module, extra, monkeypatch, tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", extra)
    hide(monkeypatch, "onnxruntime", "openvino", "ai_edge_litert", "tflite_runtime")
    assert f"pip install posebus[{extra}]" in module.probe()
    with pytest.raises(RuntimeUnavailable, match=rf"runtime '{extra}': .*installed; run .pip install posebus\[{extra}\]"):
        load(artifact, runtime=extra)
    with pytest.raises(RuntimeUnavailable, match=rf"runs on no runtime here: .*{extra}: .*posebus\[{extra}\]"):
        load(artifact)


def test_a_runtime_without_a_file_for_it_names_the_formats_there_are(tmp_path):
    with pytest.raises(RuntimeUnavailable, match="'onnx': needs a file of the format onnx; artifact 'tiny-tflite' has tflite"):
        load(tiny_artifact(tmp_path / "tiny", "tflite"), runtime="onnx")
    with pytest.raises(RuntimeUnavailable, match="'openvino': needs a file of the format openvino or onnx; artifact"):
        load(tiny_artifact(tmp_path / "tiny", "tflite"), runtime="openvino")


def test_a_network_that_is_not_compiled_for_the_edge_tpu_says_how_it_gets_so(tmp_path):
    with pytest.raises(RuntimeUnavailable, match=r"has tflite; compile .*edgetpu_compiler .*tflite runs it .* on the CPU"):
        load(tiny_artifact(tmp_path / "tiny", "tflite-int8"), runtime="edgetpu")


def test_a_network_for_the_edge_tpu_says_why_the_cpu_cannot_run_it(tmp_path):
    with pytest.raises(RuntimeUnavailable, match=r"'tflite': needs .* has edgetpu; a compiled file runs on an Edge TPU only"):
        load(tiny_artifact(tmp_path / "tiny", "edgetpu"), runtime="tflite")


def test_unknown_runtimes_devices_and_tasks_are_named(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "tflite")
    with pytest.raises(RuntimeUnavailable, match="runtime 'caffe' does not exist; choose auto, tensorrt"):
        load(artifact, runtime="caffe")
    with pytest.raises(RuntimeUnavailable, match="'tflite' has no device 'gpu:7'; choose auto or cpu"):
        load(artifact, device="gpu:7")
    with pytest.raises(ModelError, match="'tiny-tflite' does not pose; it is for: detect"):
        load(artifact, task="pose")


def test_a_precision_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(ArtifactError, match="has no model file onnx int8; it has onnx float32"):
        load(tiny_artifact(tmp_path / "tiny", "onnx"), runtime="onnx", precision="int8")


@pytest.mark.parametrize(
    ("asked", "here", "name"),
    [
        ("auto", ["CPU"], "CPU"),
        ("cpu", ["CPU", "GPU"], "CPU"),
        ("gpu", ["CPU", "GPU"], "GPU"),
        ("gpu:0", ["CPU", "GPU"], "GPU"),
        ("gpu:1", ["CPU", "GPU.0", "GPU.1"], "GPU.1"),
        ("gpu", ["CPU", "GPU.0", "GPU.1"], "GPU.0"),
        ("npu", ["CPU", "NPU"], "NPU"),
    ],
)
def test_openvino_finds_its_device_by_our_names(asked, here, name):
    assert openvino._device(asked, here) == name


def test_openvino_names_the_devices_that_are_here(tmp_path):
    with pytest.raises(RuntimeUnavailable, match=r"has no device 'npu:9' here; choose one of: cpu; .*driver"):
        load(tiny_artifact(tmp_path / "tiny", "openvino"), device="npu:9")


def test_movenet_takes_sizes_that_are_multiples_of_32_and_no_others():
    engine = load(pulled("movenet-multipose"), task="detect")
    for height, width in ((96, 128), (128, 96), (160, 160), (192, 160), (96, 128)):
        (answer,) = engine.run(np.zeros((2, height, width, 3), np.uint8)).values()
        assert answer.shape == (2, 6, 56)
    with pytest.raises(ValueError, match="multiples of 32, not 100x96"):
        engine.run(np.zeros((1, 96, 100, 3), np.uint8))
    engine.close()


def test_a_batch_gives_what_its_pictures_give_one_by_one():
    engine = load(pulled("movenet-multipose"), task="pose")
    batch = np.random.default_rng(3).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    (together,) = engine.run(batch).values()
    alone = [next(iter(engine.run(image[None]).values())) for image in batch]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    engine.close()


def test_the_fake_runtime_sleeps_as_long_as_its_device_says():
    engine = load(find_artifact("fake-person"), runtime="fake", device="sleep:30ms")
    started = time.monotonic()
    engine.run(np.zeros((1, 64, 64, 3), np.uint8))
    assert time.monotonic() - started >= 0.03
    engine.close()


def test_the_device_of_the_fake_runtime_is_read_strictly():
    assert parse_sleep("auto") == 0
    assert parse_sleep("sleep:2.5ms") == pytest.approx(0.0025)
    assert parse_sleep("sleep:1s") == 1
    with pytest.raises(RuntimeUnavailable, match="has no device 'gpu:0'; choose auto, or sleep:10ms"):
        parse_sleep("gpu:0")


def test_a_failure_inside_a_runtime_becomes_a_model_error_with_its_cause():
    def fail(batch: np.ndarray):
        raise OSError("device lost")

    engine = FakeEngine(Request(find_artifact("fake-person"), "detect", "auto", 1, (64, 64)), fail)
    with pytest.raises(ModelError, match=r"fake-person .* failed on a batch .*: device lost") as caught:
        engine.run(np.zeros((1, 64, 64, 3), np.uint8))
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.kit
@pytest.mark.parametrize("name", ["rtmdet-nano", "picodet-s-320", "pp-tinypose-256x192", "pp-tinypose-128x96"])
def test_the_kits_models_load_and_answer(name, kit: Path):
    artifact = pulled(name)
    engine = load(artifact)
    width, height = runtimes.default_size(artifact, artifact.tasks[0])
    outputs = engine.run(np.full((1, height, width, 3), 127, np.uint8))
    assert all(np.isfinite(array).all() and len(array) == 1 for array in outputs.values())
    engine.close()


@pytest.mark.kit
def test_models_of_the_kit_say_where_the_kit_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("POSEBUS_KIT", str(tmp_path / "no-kit"))
    with pytest.raises(ArtifactError, match=r"rtmdet_nano_person.onnx does not exist; set POSEBUS_KIT"):
        load(find_artifact("rtmdet-nano"), cache=tmp_path / "cache")
