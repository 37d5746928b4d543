from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from models.convert.source import ConversionError, load_source  # noqa: E402
from models.fastpose import simplebaseline  # noqa: E402
from models.fastpose.simplebaseline import (  # noqa: E402
    TINY,
    Deconv,
    SimpleBaseline,
    SimpleBaselineConfig,
    load_simplebaseline,
)
from tests.models.fastpose import published  # noqa: E402
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402

# Names of backbone and head in the files of AlphaPose, MMPose 0 and 1, and the authors, and the channel that comes first.
PREFIXES = [("preact.", "", "rgb"), ("backbone.", "keypoint_head.", "rgb"), ("backbone.", "head.", "rgb"), ("", "", "bgr")]


def saved(folder: Path, state: dict[str, Any]) -> Path:
    torch.save(state, folder / "simple.pth")
    return folder / "simple.pth"


def renamed(state: dict[str, Any], backbone: str, head: str) -> dict[str, Any]:
    return {
        key.replace("preact.", backbone, 1) if key.startswith("preact.") else f"{head}{key}": value
        for key, value in state.items()
    }


def test_names_shapes_and_order_are_alphaposes() -> None:
    with torch.device("meta"):
        network = SimpleBaseline(SimpleBaselineConfig())
    assert [(name, tuple(value.shape)) for name, value in network.state_dict().items()] == published.simplepose()


@pytest.mark.parametrize(("backbone", "head", "colour"), PREFIXES)
def test_files_of_all_publishers_load_and_compute_the_same(backbone: str, head: str, colour: str, tmp_path: Path) -> None:
    network = with_random_weights(SimpleBaseline(TINY))
    source = load_source(saved(tmp_path, renamed(network.state_dict(), backbone, head)), None, "64x96")
    assert source.colour == colour
    assert source.name == "simplebaseline-64x96"
    assert (source.height_px, source.width_px) == (64, 96)
    assert source.decoder == "heatmaps_quarter"
    x = torch.randn(2, 3, 64, 96)
    assert_equal(source.module(x), network(x))


def test_imagenet_values_are_taken_off_but_for_alphapose(tmp_path: Path) -> None:
    state = with_random_weights(SimpleBaseline(TINY)).state_dict()
    means = []
    for backbone, head, _ in PREFIXES:
        means.append(load_source(saved(tmp_path, renamed(state, backbone, head))).mean)
    assert means[0] == pytest.approx((103.53, 116.535, 122.4))
    assert means[1] == means[2] == means[3] == pytest.approx((123.675, 116.28, 103.53))


MIXED = (Deconv(8, 3, bias=True), Deconv(4, 2), Deconv(6, 4))
CONFIGS = [
    TINY,
    SimpleBaselineConfig((1, 2, 1, 1), bottleneck=True, width=4, deconvs=MIXED, kernel=3),
    SimpleBaselineConfig((1, 1, 1, 1), bottleneck=True, width=4, deconvs=(Deconv(8),)),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_depth_and_widths_are_taken_from_the_tensors(config: SimpleBaselineConfig, tmp_path: Path) -> None:
    network = with_random_weights(SimpleBaseline(config))
    loaded, found, publisher = load_simplebaseline(saved(tmp_path, network.state_dict()))
    assert found == config
    assert publisher.name == "AlphaPose"
    x = torch.randn(1, 3, 64, 64)
    assert_equal(loaded(x), network(x))


def test_the_usual_three_deconvolutions_give_a_quarter_of_the_size() -> None:
    assert SimpleBaseline(TINY).eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 17, 16, 24)


def test_differences_are_told(tmp_path: Path) -> None:
    state = SimpleBaseline(TINY).state_dict()
    state.pop("preact.layer2.0.bn1.bias")
    state["extra"] = torch.zeros(1)
    with pytest.raises(ConversionError, match=r"does not fit SimpleBaseline: 1 missing: .*bn1\.bias; 1 unexpected: extra"):
        load_source(saved(tmp_path, state))


def test_other_kernels_and_keypoints_and_networks_are_refused(tmp_path: Path) -> None:
    state = SimpleBaseline(TINY).state_dict()
    state["deconv_layers.3.weight"] = torch.zeros(16, 16, 6, 6)
    with pytest.raises(ConversionError, match=r"deconv_layers\.3\.weight has shape \(16, 16, 6, 6\); kernels of \[2, 3, 4\]"):
        load_source(saved(tmp_path, state))
    mpii = SimpleBaselineConfig((1, 1, 1, 1), bottleneck=False, width=8, deconvs=TINY.deconvs, keypoints=16)
    with pytest.raises(ConversionError, match="finds 16 keypoints; posebus' skeletons are COCO's 17"):
        load_source(saved(tmp_path, SimpleBaseline(mpii).state_dict()))
    with pytest.raises(ConversionError, match="is no SimpleBaseline checkpoint"):
        simplebaseline.load(saved(tmp_path, {"fc.weight": torch.zeros(1)}), None)


@pytest.mark.parametrize(
    ("key", "shape", "told"),
    [
        ("preact.conv1.weight", (), r"the backbone's conv1\.weight has shape \(\); a convolution has"),
        ("preact.conv1.weight", (8, 3), r"the backbone's conv1\.weight has shape \(8, 3\); a convolution has"),
        ("deconv_layers.0.weight", (), r"deconv_layers\.0\.weight has shape \(\); kernels of"),
        ("final_layer.weight", (), r"final_layer\.weight has shape \(\); a convolution has"),
        ("final_layer.weight", (17, 16), r"final_layer\.weight has shape \(17, 16\); a convolution has"),
        ("final_layer.weight", (17, 16, 2, 2), r"final_layer\.weight has shape \(17, 16, 2, 2\); an even kernel"),
    ],
)
def test_weights_that_are_no_convolution_are_named(key: str, shape: tuple[int, ...], told: str, tmp_path: Path) -> None:
    state = {**SimpleBaseline(TINY).state_dict(), key: torch.zeros(shape)}
    with pytest.raises(ConversionError, match=told):
        load_source(saved(tmp_path, state))


@pytest.mark.parametrize("variant", ["large", "256", "250x192", "0x32", "256x192x3"])
def test_impossible_sizes_are_refused(variant: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=f"variant '{variant}' is no size; give height x width, multiples of 32"):
        load_source(saved(tmp_path, SimpleBaseline(TINY).state_dict()), "simplebaseline", variant)
