from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from typing import Any  # noqa: E402

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.convert.rewrite import rewrite  # noqa: E402
from models.fastpose.resnet import SqueezeExcitation  # noqa: E402
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402
from tests.models.fastpose.rewritten import assert_rewritten, macs  # noqa: E402


class Excited(nn.Module):
    """A residual sum and an excitation between the layers that make a shuffled tensor; `way` is what else happens to it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.se = SqueezeExcitation(8)
        self.attention = nn.Conv2d(8, 1, 1)
        self.up, self.out, self.beside = nn.PixelShuffle(2), nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(8, 3, 2, 2)

    def forward(self, x: Any) -> Any:
        start = self.first(x)
        y = torch.relu(self.norm(start))
        y = self.se(self.second(y)) + y
        y += start * 2
        if self.way == "depthwise":
            y = functional.max_pool2d(self.depthwise(y), 1)
        elif self.way == "attention":
            y = y * torch.sigmoid(self.attention(y))
        elif self.way == "grouped":
            y = self.grouped(y)
        elif self.way == "concatenated":
            y = torch.cat([y[:, 4:], y[:, :4]], 1)
        elif self.way == "mixed":
            y = y + torch.arange(8.0).reshape(1, 8, 1, 1)
        elif self.way == "chosen":
            y = y[:, [1, 0, 2, 3, 4, 5, 6, 7]]
        elif self.way == "normed":
            y = functional.layer_norm(y.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2)
        z = self.out(self.up(y)) + self.beside(y)
        return (z, y) if self.way == "returned" else z


@pytest.mark.parametrize("way", ["plain", "depthwise", "attention"])
def test_channels_are_permuted_through_sums_excitations_and_all_other_readers(way: str) -> None:
    network = with_random_weights(Excited(way))
    x = torch.randn(2, 3, 7, 9)
    rewritten, changes = assert_rewritten(network, x)
    assert "the channels of the layers before it are permuted for that" in str(changes)
    assert macs(rewritten, x) == macs(network, x)  # a 2 x 2 deconvolution of stride 2 has no border to pay for


@pytest.mark.parametrize("way", ["grouped", "concatenated", "mixed", "chosen", "normed"])
def test_where_the_order_of_channels_matters_a_convolution_permutes_them(way: str) -> None:
    network = with_random_weights(Excited(way))
    x = torch.randn(2, 3, 7, 9)
    rewritten, changes = assert_rewritten(network, x)
    assert "a 1 x 1 convolution 8 -> 8 permutes the channels for that" in str(changes)
    assert macs(rewritten, x) == macs(network, x) + 2 * 8 * 8 * 5 * 7


def test_a_tensor_that_is_returned_keeps_its_order() -> None:
    network = with_random_weights(Excited("returned"))
    x = torch.randn(2, 3, 7, 9)
    rewritten, _ = rewrite(network, "edgetpu", x)
    for found, expected in zip(rewritten(x), network(x), strict=True):
        assert_equal(found, expected)


def test_the_networks_own_input_keeps_its_order() -> None:
    network = with_random_weights(nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(2, 3, 1)))
    _, changes = assert_rewritten(network, torch.randn(2, 8, 3, 4))
    assert "a 1 x 1 convolution 8 -> 8" in changes[0]


def test_a_convolution_that_is_used_twice_is_not_permuted() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.up, self.out = nn.Conv2d(8, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 3, 1)

        def forward(self, x: Any) -> Any:
            return self.out(self.up(self.conv(self.conv(x))))

    _, changes = assert_rewritten(with_random_weights(Twice()), torch.randn(2, 8, 3, 4))
    assert "a 1 x 1 convolution 8 -> 8" in changes[0]
