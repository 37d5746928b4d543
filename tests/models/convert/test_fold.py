from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from typing import Any  # noqa: E402

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from models.convert.fold import fold_batch_norm, fold_input  # noqa: E402
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PIXEL_MEANS = st.tuples(*[st.floats(0, 255, width=32)] * 3)
PIXEL_STDS = st.tuples(*[st.floats(1, 255, width=32)] * 3)


def normalised(pixels: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def padded_convolution(kernel: int = 3, padding: int = 1) -> Any:
    return with_random_weights(nn.Sequential(nn.Conv2d(3, 4, kernel, 2, padding), nn.ReLU()))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(PIXEL_MEANS, PIXEL_STDS, st.sampled_from([(1, 0), (3, 1), (7, 3), (3, 2)]), st.booleans())
def test_raw_pixels_give_what_normalised_ones_gave(
    mean: tuple[float, ...], std: tuple[float, ...], shape: tuple[int, int], swap: bool
) -> None:
    network = padded_convolution(*shape)
    pixels = torch.randint(0, 256, (2, 3, 9, 7)).float()
    expected = network(normalised(pixels.flip(1) if swap else pixels, mean, std))
    assert_equal(fold_input(network, mean, std, swap)(pixels), expected)


def test_the_mean_in_the_bias_of_the_first_convolution_would_be_wrong_along_the_border() -> None:
    """Why the normalisation stays in front of the padding."""
    network = padded_convolution()
    naive = padded_convolution()
    scale, offset = 1 / torch.tensor(STD), torch.tensor(MEAN) / torch.tensor(STD)
    naive[0].bias.sub_(torch.einsum("oikl,i->o", naive[0].weight, offset))
    naive[0].weight.mul_(scale[:, None, None])
    pixels = torch.randint(0, 256, (1, 3, 9, 7)).float()
    expected = network(normalised(pixels, MEAN, STD))
    assert_equal(naive(pixels)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])
    assert (naive(pixels) - expected).abs().max() > 0.5
    assert_equal(fold_input(network, MEAN, STD)(pixels), expected)


def test_each_output_has_one_weight_so_int8_per_channel_holds_it_exactly() -> None:
    for swap in (False, True):
        affine = fold_input(nn.Identity(), MEAN, STD, swap)[0].affine
        assert [int(row.count_nonzero()) for row in affine.weight] == [1, 1, 1]


def test_nothing_is_put_in_front_of_a_network_that_takes_pixels() -> None:
    network = nn.Identity()
    assert fold_input(network, (0, 0, 0), (1, 1, 1)) is network


@pytest.mark.parametrize(("mean", "std"), [((1, 2), (1, 1, 1)), ((1, 2, 3), (1, 0, 1)), ((1, 2, 3), (1, -2, 1))])
def test_impossible_normalisations_are_refused(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be 3 values each, std above 0"):
        fold_input(nn.Identity(), mean, std)


class Mixed(nn.Module):
    """A norm behind a convolution, a transposed one and a linear layer; one behind a sum, and one behind a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.up, self.up_norm = nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2), nn.BatchNorm2d(6)
        self.sum_norm = nn.BatchNorm2d(6)
        self.shared, self.shared_norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.linear, self.linear_norm = nn.Linear(6, 4), nn.BatchNorm1d(4)

    def forward(self, x: Any) -> Any:
        x = self.up_norm(self.up(torch.relu(self.conv_norm(self.conv(x)))))
        x = self.shared_norm(self.shared(x)) + self.shared(self.sum_norm(x + 1))
        return self.linear_norm(self.linear(x.mean((2, 3))))


def test_norms_become_part_of_the_layer_before_where_that_is_exact() -> None:
    network = with_random_weights(Mixed())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded, changes = fold_batch_norm(network)
    x = torch.randn(3, 3, 5, 4)
    assert_equal(folded(x), network(x))
    assert [change.path for change in changes] == ["conv_norm", "up_norm", "linear_norm"]
    assert str(changes[0]) == "conv_norm: batch norm: folded into the weights of conv"
    left = [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    assert sorted(left) == ["shared_norm", "sum_norm"]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_norm_whose_convolution_is_read_elsewhere_stays() -> None:
    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Any) -> Any:
            x = self.conv(x)
            return self.norm(x) + x

    network = with_random_weights(Read())
    folded, changes = fold_batch_norm(network)
    x = torch.randn(1, 3, 4, 4)
    assert changes == ()
    assert_equal(folded(x), network(x))


class Untraceable(nn.Module):
    """Asks for a value while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Any) -> Any:
        return self.norm(self.conv(x)) if x.sum() > 0 else x


def test_what_cannot_be_traced_is_left_as_it_is() -> None:
    network = with_random_weights(Untraceable())
    folded, changes = fold_batch_norm(network)
    assert folded is network
    assert changes == ()
