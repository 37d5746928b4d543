from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from models.convert.source import ConversionError, Source, load_source  # noqa: E402
from models.fastpose import source as fastpose  # noqa: E402
from models.fastpose.network import VARIANTS, FastPose, FastPoseConfig  # noqa: E402
from tests.models.fastpose.random_weights import with_random_weights  # noqa: E402

SMALL = VARIANTS["fast_res18_256x192"]


def checkpoint(folder: Path, config: FastPoseConfig = SMALL, name: str = "fast.pth") -> Path:
    torch.save(with_random_weights(FastPose(config)).state_dict(), folder / name)
    return folder / name


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return load_source(checkpoint(tmp_path_factory.mktemp("fastpose")))


def test_a_checkpoint_is_recognised_by_its_names(source: Source) -> None:
    assert source.name == "fast-res18-256x192"
    assert source.task == "pose"
    assert (source.height_px, source.width_px) == (256, 192)
    assert source.decoder == "heatmaps_quarter"
    assert source.outputs == ("heatmaps",)
    assert source.padding == 1.25
    assert "fast.pth, sha256 " in source.provenance
    assert not source.module.training


def alphapose_input(crop_rgb: Any) -> Any:
    """What AlphaPose does to a crop (im_to_torch and SimpleTransform.test_transform), in plain NumPy."""
    image = crop_rgb.transpose(2, 0, 1).astype(np.float32) / 255
    image[0] += -0.406
    image[1] += -0.457
    image[2] += -0.480
    return image


def test_pixels_are_normalised_as_alphapose_does(source: Source) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (256, 192, 3), np.uint8)
    assert source.colour == "rgb"
    ours = (crop.astype(np.float32) - np.float32(source.mean)) / np.float32(source.std)
    assert np.abs(ours.transpose(2, 0, 1) - alphapose_input(crop)).max() < 1e-6


def test_heat_maps_are_a_quarter_of_the_size(source: Source) -> None:
    assert source.module(torch.zeros(1, 3, source.height_px, source.width_px)).shape == (1, 17, 64, 48)


@pytest.mark.parametrize("keypoints", [26, 136])
def test_halpe_skeletons_are_refused(keypoints: int, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, FastPoseConfig("halpe", 18, dim=32, keypoints=keypoints))
    with pytest.raises(ConversionError, match=f"finds {keypoints} keypoints; posebus' skeletons are COCO's 17"):
        load_source(path)


def test_a_variant_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"fast\.pth: does not fit fast_res50_256x192: \d+ missing: "):
        load_source(checkpoint(tmp_path), "fastpose", "fast_res50_256x192")


def test_other_files_are_not_read(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "network.onnx").write_bytes(b"no checkpoint")
    assert not fastpose.reads(tmp_path / "other.pth")
    assert not fastpose.reads(tmp_path / "network.onnx")


def test_a_damaged_checkpoint_is_told_as_such_and_not_passed_over(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ConversionError, match=r"fast\.pth: is no PyTorch checkpoint, or a damaged one"):
        load_source(path)
