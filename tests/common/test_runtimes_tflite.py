"""TFLite's outputs and precisions."""

from __future__ import annotations

import numpy as np
import pytest

from common.artifact import Artifact, read_artifact
from common.manifest import ArtifactError, InputSpec
from common.runtimes import load
from common.runtimes.tflite import TfliteEngine
from common.runtimes.tflite_tensors import Pixels
from tests.model_parts import SIZE, expected, file_text, manifest_text, write_tiny_tflite

RAW = InputSpec(width_px=6, height_px=4)


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


def of(folder, *files: str, batch: bool = True) -> Artifact:
    (folder / "manifest.toml").write_text(manifest_text("net", "".join(files), layout="NHWC", size=SIZE, batch=batch))
    return read_artifact(folder)


def test_outputs_keep_the_files_order_and_names_in_every_shape(tmp_path):
    write_tiny_tflite(tmp_path / "two.tflite", dynamic=True, second="next")
    engine = load(of(tmp_path, file_text(tmp_path / "two.tflite", "tflite")))
    for count in (1, 4, 2, 7, 3, 5, 6, 8, 1):  # more shapes than interpreters are kept
        outputs = engine.run(picture(count))
        assert list(outputs) == ["next", "answer"]
        np.testing.assert_allclose(outputs["answer"], expected(picture(count)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(outputs["next"], expected(picture(count)) + 1, rtol=1e-5, atol=1e-5)
    engine.close()


def test_outputs_of_the_same_name_are_told_apart(tmp_path):
    write_tiny_tflite(tmp_path / "two.tflite", dynamic=True, second="answer")
    engine = load(of(tmp_path, file_text(tmp_path / "two.tflite", "tflite")))
    outputs = engine.run(picture(2))
    assert list(outputs) == ["answer", "answer:1"]
    np.testing.assert_allclose(outputs["answer"], outputs["answer:1"] + 1, rtol=1e-5, atol=1e-5)
    engine.close()


@pytest.mark.parametrize(("precision", "steps"), [("auto", False), ("float32", False), ("int8", True)])
def test_the_file_of_the_precision_asked_for_is_loaded(precision, steps, tmp_path):
    write_tiny_tflite(tmp_path / "float.tflite")
    write_tiny_tflite(tmp_path / "int8.tflite", quantised=True)
    files = file_text(tmp_path / "float.tflite", "tflite"), file_text(tmp_path / "int8.tflite", "tflite", precision="int8")
    engine = load(of(tmp_path, *files, batch=False), runtime="tflite", precision=precision)
    (answer,) = engine.run(picture(3)).values()
    assert (answer % 0.5 == 0).all() == steps
    engine.close()


@pytest.mark.parametrize(
    ("scale", "zero", "normalise", "words"),
    [
        (1 / 255, -128, False, r"pixels become 0 to 255, the network's quantised input stands for 0 to 1; write the mean and"),
        (1.0, 0, False, r"pixels become 0 to 255, the network's quantised input stands for -128 to 127"),
        (20.0, 0, True, r"pixels become -6 to 122.5, the network's quantised input stands for -2560 to 2540"),
        (0.25, -60, True, r"pixels become -6 to 122.5, the network's quantised input stands for -17 to 46.75"),
    ],
)
def test_a_scale_that_does_not_fit_mean_and_std_is_named_with_both_ranges(scale, zero, normalise, words, tmp_path):
    write_tiny_tflite(tmp_path / "int8.tflite", quantised=True, scale=scale, zero=zero)
    files = file_text(tmp_path / "int8.tflite", "tflite", precision="int8")
    text = manifest_text("net", files, layout="NHWC", size=SIZE, batch=False, normalise=normalise)
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(ArtifactError, match=words):
        load(read_artifact(tmp_path), runtime="tflite")


@pytest.mark.parametrize(("scale", "zero"), [(1.0, -128), (0.97, -128), (2.0, 0), (9.0, -64)])
def test_a_scale_that_fits_or_nearly_is_taken(scale, zero):
    """As the range of calibration pictures without a white pixel, or one that is symmetric about 0."""
    pixels = Pixels(RAW, {"dtype": np.int8, "quantization": (scale, zero)}, "net")
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.abs((pixels(ramp) - np.float32(zero)) * scale - ramp).max() <= max(scale / 2, 255 - 255 * scale)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("scale", [0.0, 1 / 255, 0.0078125])
def test_uint8_pixels_go_in_as_they_are_whatever_their_scale_says(scale, layout):
    spec = RAW.model_copy(update={"layout": layout})
    given = Pixels(spec, {"dtype": np.uint8, "quantization": (scale, 0)}, "net")(picture(2))
    np.testing.assert_array_equal(given if layout == "NHWC" else given.transpose(0, 2, 3, 1), picture(2))


def test_two_cameras_and_their_second_looks_keep_their_interpreters(tmp_path, monkeypatch):
    """Lying and standing, and what is cut out and turned, in three or four shapes more; but memory has an end."""
    opened: list[TfliteEngine] = []
    real = TfliteEngine._open
    monkeypatch.setattr(TfliteEngine, "_open", lambda self: opened.append(self) or real(self))
    write_tiny_tflite(tmp_path / "net.tflite", dynamic=True)
    engine = load(of(tmp_path, file_text(tmp_path / "net.tflite", "tflite")))
    for count in (*range(1, 7), *range(1, 7)):
        np.testing.assert_allclose(*engine.run(picture(count)).values(), expected(picture(count)), rtol=1e-5, atol=1e-5)
    assert len(opened) == 6
    for count in range(1, 20):
        engine.run(picture(count))
    assert len(engine._interpreters) == 6
    engine.close()
