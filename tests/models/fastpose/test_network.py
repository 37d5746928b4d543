from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from models.fastpose.network import VARIANTS, FastPose, FastPoseConfig  # noqa: E402
from models.fastpose.resnet import ResNet, SqueezeExcitation  # noqa: E402
from tests.models.fastpose import published  # noqa: E402
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402


def on_meta(config: FastPoseConfig) -> FastPose:
    with torch.device("meta"):
        return FastPose(config)


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_shapes_and_order_are_the_published_ones(variant: str) -> None:
    state = on_meta(VARIANTS[variant]).state_dict()
    assert [(name, tuple(value.shape)) for name, value in state.items()] == published.TABLES[variant]


@pytest.mark.parametrize("keypoints", [17, 26, 136])
def test_there_is_a_heat_map_a_keypoint_at_a_quarter_of_the_size(keypoints: int) -> None:
    config = FastPoseConfig("any", 18, dim=32, keypoints=keypoints)
    assert FastPose(config).eval()(torch.zeros(2, 3, 64, 96)).shape == (2, keypoints, 16, 24)


@pytest.mark.parametrize("variant", ["fast_421_res152_256x192", "fast_421_res50-shuffle_256x192", "fast_dim256_res152_256x192"])
def test_the_large_variants_give_a_quarter_too(variant: str) -> None:
    assert on_meta(VARIANTS[variant])(torch.zeros(1, 3, 256, 192, device="meta")).shape == (1, 17, 64, 48)


def test_excitation_scales_each_channel_by_a_factor_of_all_means() -> None:
    layer = with_random_weights(SqueezeExcitation(4))
    x = torch.randn(2, 4, 3, 5)
    hidden = torch.clamp(x.mean((2, 3)) @ layer.fc[0].weight.T + layer.fc[0].bias, min=0)
    factors = torch.sigmoid(hidden @ layer.fc[2].weight.T + layer.fc[2].bias)
    assert_equal(layer(x), torch.einsum("bchw,bc->bchw", x, factors))


def test_excitation_stands_where_the_size_or_the_channels_change() -> None:
    shallow, deep = (
        [name for name, _ in on_meta(VARIANTS[variant]).named_modules() if name.endswith(".se")]
        for variant in ("fast_res18_256x192", "fast_res50_256x192")
    )
    assert shallow == [f"preact.layer{stage}.0.se" for stage in (2, 3, 4)]
    assert deep == [f"preact.layer{stage}.0.se" for stage in (1, 2, 3, 4)]


def test_blocks_add_the_shortcut_before_the_last_activation() -> None:
    """With a last batch norm that gives -1, a block's output is max(0, input - 1)."""
    network = ResNet("resnet", (1, 1, 1, 1), bottleneck=False, width=8)
    block = network.layer1[0].eval()
    block.bn2.weight.data.zero_()
    block.bn2.bias.data.fill_(-1)
    x = torch.rand(1, 8, 4, 4) * 3
    assert_equal(block(x).detach(), torch.clamp(x - 1, min=0))
