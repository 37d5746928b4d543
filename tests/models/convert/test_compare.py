"""The gate on whole artifacts, as the services run them; needs no PyTorch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from common.artifact import Artifact, find_artifact, read_artifact
from common.runtimes import load
from models.convert.compare import Side, compare
from models.convert.samples import load_samples
from models.convert.source import ConversionError
from tests.model_parts import pulled

DET = "models/det"
FILES = (
    ("onnx", "float32", "yolox_nano.onnx"),
    ("tflite", "float16", "yolox_nano_float16_quantize.tflite"),
    ("tflite", "int8", "yolox_nano_only_int8_quantize.tflite"),  # AP50 .04 where the others have .59
)


@pytest.fixture
def yolox(kit: Path, tmp_path: Path) -> Artifact:
    """The kit's three files of one detector in one artifact, the broken one too."""
    files = ""
    for format, precision, name in FILES:
        content = (kit / DET / name).read_bytes()
        files += f'[[file]]\nformat = "{format}"\nprecision = "{precision}"\npath = "{name}"\nbytes = {len(content)}\n'
        files += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n[[file.source]]\nkind = "file"\n'
        (tmp_path / name).write_bytes(content)
    (tmp_path / "manifest.toml").write_text(
        'name = "yolox"\nversion = "1"\ntasks = ["detect"]\nlicence = "Apache-2.0"\ntraining_data = "COCO"\n'
        'provenance = "kit"\n'
        '[input]\nwidth_px = 416\nheight_px = 416\nlayout = "NCHW"\ndtype = "float32"\ncolour = "bgr"\nbatch = false\n'
        f'[detect]\ndecoder = "yolox"\n{files}'
    )
    return read_artifact(tmp_path)


def judge(artifact: Artifact, precision: str, kit: Path):
    sides = [
        Side(load(artifact, runtime=runtime, precision=each, threads=2), artifact)
        for runtime, each in (("onnx", "float32"), ("tflite", precision))
    ]
    try:
        return compare(*sides, load_samples(kit / "data" / "coco-mini", 24), precision)
    finally:
        for side in sides:
            side.engine.close()


@pytest.mark.kit
def test_the_int8_file_that_lost_its_accuracy_is_refused_with_reasons(yolox, kit):
    result = judge(yolox, "int8", kit)
    assert not result.verdict.passed
    assert result.agreement.boxes >= 40
    assert result.agreement.recall < 0.7
    assert result.agreement.ap50 < 0.3
    assert any("found again" in reason for reason in result.verdict.reasons)
    assert any("average precision" in reason for reason in result.verdict.reasons)


@pytest.mark.kit
def test_the_float16_file_of_the_same_network_is_accepted(yolox, kit):
    result = judge(yolox, "float16", kit)
    assert result.verdict.passed, result.verdict.reasons
    assert result.agreement.boxes >= 40
    assert result.agreement.recall == 1.0


@pytest.mark.kit
def test_another_network_is_not_the_same_network(kit):
    """Both are good, and agree on most people; the smaller one is no conversion of the larger one."""
    names = ("pp-tinypose-256x192", "pp-tinypose-128x96")
    sides = [Side(load(pulled(name), runtime="openvino"), pulled(name)) for name in names]
    result = compare(*sides, load_samples(kit / "people" / "crops0.zip", 24), "float16")
    assert not result.verdict.passed
    assert result.agreement.error is None  # outputs of other shapes
    assert result.agreement.decided > 100
    assert 0.5 < result.agreement.oks < 0.99


@pytest.mark.kit
def test_a_network_agrees_with_itself(kit):
    artifact = pulled("pp-tinypose-128x96")
    sides = [Side(load(artifact, runtime="openvino"), artifact) for _ in range(2)]
    result = compare(*sides, load_samples(kit / "people" / "crops0.zip", 16), "float32")
    assert result.verdict.passed
    assert result.agreement.oks == pytest.approx(1.0)
    assert result.agreement.error.noise == 0


def test_networks_without_a_common_task_cannot_be_compared():
    artifacts = find_artifact("fake-person"), find_artifact("pp-tinypose-128x96")
    engine = load(artifacts[0], runtime="fake")
    with pytest.raises(ConversionError, match="comparing needs detect or pose in both"):
        compare(Side(engine, artifacts[0]), Side(engine, artifacts[1]), [], "int8", task="detect")
