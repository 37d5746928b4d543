"""`posebus models convert` and `compare`, as people run them."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.posebus.conftest import Command

NO_TORCH = importlib.util.find_spec("torch") is None


def broken_yolox(kit: Path, folder: Path) -> Path:
    """The kit's int8 file that lost its accuracy, as an artifact."""
    content = (kit / "models/det/yolox_nano_only_int8_quantize.tflite").read_bytes()
    (folder / "model.tflite").write_bytes(content)
    (folder / "manifest.toml").write_text(
        'name = "broken"\nversion = "1"\ntasks = ["detect"]\nlicence = "Apache-2.0"\ntraining_data = "COCO"\n'
        'provenance = "kit"\n[input]\nwidth_px = 416\nheight_px = 416\nlayout = "NCHW"\ndtype = "float32"\ncolour = "bgr"\n'
        'batch = false\n[detect]\ndecoder = "yolox"\n[[file]]\nformat = "tflite"\nprecision = "int8"\npath = "model.tflite"\n'
        f'bytes = {len(content)}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n[[file.source]]\nkind = "file"\n'
    )
    return folder


@pytest.mark.kit
def test_a_good_conversion_is_called_good(posebus: Command, kit: Path) -> None:
    done = posebus(
        "models", "compare", "yolox-nano", "yolox-nano", "--precision-a", "float32", "--precision-b", "float16",
        "--data", kit / "data" / "coco-mini", "--count", "16",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "yolox-nano 1 (tflite float16) against yolox-nano 1 (onnx)" in done.out
    assert done.out.strip().endswith("good")


@pytest.mark.kit
def test_a_quantised_network_that_lost_its_accuracy_is_refused_with_exit_code_1(
    posebus: Command, kit: Path, tmp_path: Path
) -> None:
    done = posebus(
        "models", "compare", "yolox-nano", broken_yolox(kit, tmp_path), "--data", kit / "data" / "coco-mini", "--count", "16"
    )
    assert done.code == 1
    assert "share of the reference's boxes found again is 0." in done.out
    assert "refused" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "fake-person", "fake-person", "--data", "/no/such"), "/no/such is no folder, no .zip and no video"),
        (("compare", "fake-person", "pp-tinypose", "--data", "rendered"), "did you mean 'pp-tinypose-"),
        (("convert", "/no/such.pth", "--out", "/tmp/never"), "/no/such.pth does not exist"),
    ],
)
def test_what_a_user_can_mend_is_said(posebus: Command, arguments: tuple[str, ...], said: str) -> None:
    done = posebus("models", *arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.skipif(not NO_TORCH, reason="PyTorch is installed here")
def test_without_pytorch_conversion_says_what_to_install(posebus: Command, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"weights")
    done = posebus("models", "convert", tmp_path / "a.pth", "--out", tmp_path / "out")
    assert done.code == 2
    assert "conversion needs PyTorch; run `pip install posebus[convert]`" in done.err
    assert not (tmp_path / "out").exists()


def test_the_command_line_stays_light(tmp_path: Path) -> None:
    """Listing models must not load PyTorch, nor the converters that do."""
    code = "import sys, posebus.cli; print([m for m in sys.modules if m.split('.')[0] in ('torch', 'onnxruntime')" \
           " or m.startswith('models.convert.')])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Random weights of a small SimpleBaseline, saved under the published names."""
    torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
    pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
    from models.fastpose.simplebaseline import TINY, SimpleBaseline
    from tests.models.fastpose.random_weights import with_random_weights

    torch.save(with_random_weights(SimpleBaseline(TINY)).state_dict(), tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


@pytest.mark.torch
def test_a_checkpoint_becomes_a_verified_artifact_in_one_command(
    posebus: Command, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = posebus(
        "models", "convert", checkpoint, "--variant", "128x96", "--out", out, "--calibration", "rendered", "--frames", "24",
        "--check", "8", "--target", "edgetpu",
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    for name in ("model.onnx", "model.tflite", "model_dynamic.tflite", "model_int8.tflite"):
        assert (out / name).is_file()
        assert name in done.out
    assert "good" in done.out
    assert "refused" not in done.out
    assert "OKS says nothing here" in done.out
    assert "one made-up person" in done.out
    assert "INFO" not in done.out + done.err

    from common.config import PoseSettings
    from services.pose.estimate import load_estimator

    model = load_estimator(PoseSettings(model=str(out), runtime="tflite", precision="int8"))
    assert model.estimate(np.zeros((240, 320, 3), np.uint8), np.array([[10, 10, 90, 200]], np.float32)).shape == (1, 17, 3)
    model.close()


@pytest.mark.torch
def test_int8_without_pictures_says_what_to_give(posebus: Command, checkpoint: Path, tmp_path: Path) -> None:
    done = posebus("models", "convert", checkpoint, "--variant", "128x96", "--out", tmp_path / "out")
    assert done.code == 2
    assert "full int8 needs real pictures with people" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
def test_a_wrong_checkpoint_is_one_message(posebus: Command, checkpoint: Path, tmp_path: Path) -> None:
    import torch

    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(checkpoint.read_bytes()[:1000])
    for name, kind in (("other.pth", None), ("other.pth", "fastpose"), ("broken.pth", None)):
        chosen = ("--network", kind) if kind else ()
        done = posebus("models", "convert", tmp_path / name, *chosen, "--out", tmp_path / "out")
        assert done.code == 2
        assert name in done.err
        assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
@pytest.mark.timeout(600)  # 60 MB of weights
def test_a_fastpose_checkpoint_of_published_names_becomes_an_int8_network_of_the_pose_service(
    posebus: Command, checkpoint: Path, tmp_path: Path
) -> None:
    import torch

    from common.config import PoseSettings
    from models.fastpose.network import VARIANTS, FastPose
    from services.pose.estimate import load_estimator
    from tests.models.fastpose.random_weights import with_random_weights

    network = with_random_weights(FastPose(VARIANTS["fast_res18_256x192"]))
    torch.save(network.state_dict(), tmp_path / "fast.pth")
    done = posebus(
        "models", "convert", tmp_path / "fast.pth", "--out", tmp_path / "out", "--calibration", "rendered", "--frames", "16",
        "--check", "8",
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    row = next(line for line in done.out.splitlines() if "model_int8.tflite" in line)
    placed, total = (int(word) for word in row.split("│")[-3].replace(" ops", "").split(" of "))
    assert placed == total > 30, "all of it is placed on the Edge TPU, by rule"

    settings = {"model": str(tmp_path / "out"), "runtime": "tflite"}
    picture, box = np.full((480, 640, 3), 90, np.uint8), np.array([[100, 50, 260, 400]], np.float32)
    for line in ({}, {"precision": "int8"}):
        model = load_estimator(PoseSettings.model_validate({**settings, **line}))
        model.self_check()
        assert model.estimate(picture, box).shape == (1, 17, 3)
        model.close()
    del checkpoint  # its fixture skips where PyTorch is absent
