"""TFLite's outputs and precisions."""

from __future__ import annotations

import numpy as np
import pytest

from common.artifact import Artifact, read_artifact
from common.runtimes import load
from tests.model_parts import SIZE, expected, file_text, manifest_text, write_tiny_tflite


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


def of(folder, *files: str, batch: bool = True) -> Artifact:
    (folder / "manifest.toml").write_text(manifest_text("net", "".join(files), layout="NHWC", size=SIZE, batch=batch))
    return read_artifact(folder)


def test_outputs_keep_the_files_order_and_names_in_every_shape(tmp_path):
    write_tiny_tflite(tmp_path / "two.tflite", dynamic=True, second="next")
    engine = load(of(tmp_path, file_text(tmp_path / "two.tflite", "tflite")))
    for count in (1, 4, 2, 7, 3, 1):  # more shapes than interpreters are kept
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
    assert (answer % 0.25 == 0).all() == steps
    engine.close()
