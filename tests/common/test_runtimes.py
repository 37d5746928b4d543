from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from common import runtimes
from common.artifact import ArtifactError, find_artifact, read_artifact
from common.manifest import ModelError
from common.runtimes import RuntimeUnavailable, load, onnx, openvino, tflite
from common.runtimes.base import Request
from common.runtimes.fake import FakeEngine, parse_sleep
from tests.model_parts import MEAN, STD, expected, file_text, manifest_text, pulled, tiny_artifact, write_tiny_tflite

REAL = ("onnx", "openvino", "tflite")


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


@pytest.fixture(params=[*REAL, "fake"])
def engine(request, tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", request.param)
    if request.param == "fake":
        made = FakeEngine(Request(artifact, "detect", "auto", 1, (6, 4)), lambda batch: {"answer": expected(batch)})
    else:
        made = load(artifact, runtime=request.param)
    yield made
    made.close()


def as_nhwc(answer: np.ndarray) -> np.ndarray:
    return answer if answer.shape[-1] == 3 else answer.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_runtime_takes_pixels_and_gives_one_answer_per_picture(engine, count):
    batch = picture(count)
    (answer,) = engine.run(batch).values()
    assert answer.dtype == np.float32
    assert answer.shape[0] == count
    np.testing.assert_allclose(as_nhwc(answer), expected(batch), rtol=1e-5, atol=1e-5)


def test_an_answer_is_not_overwritten_by_the_next_inference(engine):
    (first,) = engine.run(picture(seed=1)).values()
    engine.run(picture(seed=2))
    np.testing.assert_allclose(as_nhwc(first), expected(picture(seed=1)), rtol=1e-5, atol=1e-5)


def test_pictures_that_are_not_contiguous_are_taken(engine):
    batch = np.ascontiguousarray(picture(2)[:, :, ::-1])[:, :, ::-1]
    (answer,) = engine.run(batch).values()
    np.testing.assert_allclose(as_nhwc(answer), expected(picture(2)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (np.zeros((1, 4, 6, 3), np.float32), "uint8 pixels, not float32"),
        (np.zeros((4, 6, 3), np.uint8), r"\(N >= 1, H, W, 3\), not \(4, 6, 3\)"),
        (np.zeros((0, 4, 6, 3), np.uint8), r"not \(0, 4, 6, 3\)"),
        (np.zeros((1, 4, 6, 4), np.uint8), r"not \(1, 4, 6, 4\)"),
        (np.zeros((1, 6, 4, 3), np.uint8), "takes 6x4 pixels, not 4x6"),
    ],
)
def test_a_wrong_batch_is_refused_and_the_engine_works_on(engine, batch, words):
    with pytest.raises(ValueError, match=words):
        engine.run(batch)
    engine.run(picture())


def test_an_engine_closes_twice_says_so_and_refuses_to_run(engine):
    assert repr(engine).endswith("open>")
    engine.close()
    engine.close()
    assert repr(engine).endswith("closed>")
    with pytest.raises(ModelError, match="was closed"):
        engine.run(picture())


@pytest.mark.parametrize("runtime", REAL)
def test_auto_takes_the_runtime_that_fits_the_file_and_says_why_others_did_not(runtime, tmp_path, caplog):
    caplog.set_level("INFO")
    engine = load(tiny_artifact(tmp_path / "tiny", runtime))
    assert engine.name == runtime
    passed_over = {record.args[1] for record in caplog.records if "passed_over" in record.msg}
    assert {"tensorrt", "edgetpu"} <= passed_over
    assert runtime not in passed_over
    engine.close()


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
    text = manifest_text("tiny-broken", files, layout="NCHW", size="width_px = 6\nheight_px = 4")
    (artifact.folder / "manifest.toml").write_text(text)
    with pytest.raises(ModelError, match=rf"'tiny-broken' cannot be loaded by runtime '{runtime}'") as caught:
        load(read_artifact(artifact.folder), runtime=runtime)
    assert caught.value.__cause__ is not None


def test_quantised_networks_take_pixels_and_give_real_numbers(tmp_path):
    write_tiny_tflite(tmp_path / "tiny.tflite", quantised=True)
    files = file_text(tmp_path / "tiny.tflite", "tflite")
    text = manifest_text("tiny-int8", files, layout="NHWC", size="width_px = 6\nheight_px = 4", batch=False)
    (tmp_path / "manifest.toml").write_text(text)
    engine = load(read_artifact(tmp_path))
    (answer,) = engine.run(picture(2)).values()
    real = (picture(2) - np.array(MEAN)) / np.array(STD)
    limited = np.clip(real, (-128 + 60) * 0.25, (127 + 60) * 0.25)  # what int8 can say
    np.testing.assert_allclose(answer, limited, atol=0.125 + 1e-5)
    assert answer.dtype == np.float32
    engine.close()


@pytest.mark.parametrize(("module", "extra"), [(onnx, "onnx"), (openvino, "openvino"), (tflite, "tflite")])
def test_a_runtime_that_is_not_installed_names_what_to_install(module, extra, monkeypatch, tmp_path):
    real = importlib.util.find_spec

    def hidden(name: str, package: str | None = None):
        return None if name.split(".")[0] in ("onnxruntime", "openvino", "ai_edge_litert", "tflite_runtime") else real(name)

    artifact = tiny_artifact(tmp_path / "tiny", extra)
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(RuntimeUnavailable, match=rf"not installed|installed; .*posebus\[{extra}\]") as caught:
        load(artifact, runtime=extra)
    assert f"pip install posebus[{extra}]" in str(caught.value)
    with pytest.raises(RuntimeUnavailable, match=rf"runs on no runtime here: {extra}: .*posebus\[{extra}\]"):
        load(artifact)


@pytest.mark.parametrize("runtime", ["tensorrt", "edgetpu"])
def test_runtimes_of_a_later_release_say_so_and_what_works_today(runtime):
    with pytest.raises(RuntimeUnavailable, match=rf"'{runtime}': comes in a later release; .*Working today: tflite, onnx"):
        load(find_artifact("movenet-multipose"), runtime=runtime)


def test_a_runtime_without_a_file_for_it_names_the_formats_there_are(tmp_path):
    with pytest.raises(RuntimeUnavailable, match="needs a onnx file; artifact 'tiny-tflite' has tflite"):
        load(tiny_artifact(tmp_path / "tiny", "tflite"), runtime="onnx")


def test_unknown_runtimes_devices_and_tasks_are_named(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "tflite")
    with pytest.raises(RuntimeUnavailable, match="runtime 'caffe' does not exist; choose auto, tensorrt"):
        load(artifact, runtime="caffe")
    with pytest.raises(RuntimeUnavailable, match="'tflite' has no device 'gpu:7'; choose auto or cpu"):
        load(artifact, device="gpu:7")
    with pytest.raises(ModelError, match="'tiny-tflite' does not pose; it is for: detect"):
        load(artifact, task="pose")


def test_openvino_names_the_devices_that_are_here(tmp_path):
    with pytest.raises(RuntimeUnavailable, match="has no device 'npu:9' here; choose one of: cpu"):
        load(tiny_artifact(tmp_path / "tiny", "openvino"), device="npu:9")


def test_every_runtime_in_the_table_has_a_module():
    assert set(runtimes.RUNTIMES) == {"tensorrt", "edgetpu", "openvino", "onnx", "tflite", "fake"}
    assert all(importlib.util.find_spec(path) is not None for path in runtimes.RUNTIMES.values())


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
