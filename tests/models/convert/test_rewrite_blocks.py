from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.convert.rewrite_blocks import (  # noqa: E402
    DepthToSpace,
    absorb_unshuffle,
    block_order,
    block_sampler,
    can_absorb,
    reordering,
)
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402


def test_one_pixel_becomes_a_block_in_reading_order() -> None:
    """Channels (row, column, c): of two channels, 0 2 4 6 8 10 are the first one's six pixels."""
    x = torch.arange(12.0).reshape(1, 12, 1, 1)
    assert DepthToSpace(2, 3)(x)[0].tolist() == [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 11]]]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_with_the_channels_in_order_it_is_the_pixel_shuffle(factor: int, channels: int, height: int, width: int) -> None:
    x = torch.randn(2, channels * factor**2, height, width)
    order = block_order(channels, factor, factor)
    assert torch.equal(DepthToSpace(factor, factor)(x[:, order]), functional.pixel_shuffle(x, factor))
    assert torch.equal(DepthToSpace(factor, factor)(reordering(order)(x)), functional.pixel_shuffle(x, factor))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 2), st.integers(0, 2), st.booleans())
def test_unshuffle_and_convolution_are_one_convolution(
    factor: int, channels: int, kernel: int, stride: int, padding: int, bias: bool
) -> None:
    conv = with_random_weights(nn.Conv2d(channels * factor**2, 5, kernel, stride, padding, bias=bias))
    x = torch.randn(2, channels, factor * 6, factor * 5)
    assert_equal(absorb_unshuffle(conv, factor)(x), conv(functional.pixel_unshuffle(x, factor)))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_sampler_is_the_unshuffle(factor: int) -> None:
    x = torch.randn(2, 5, factor * 3, factor * 4)
    assert torch.equal(block_sampler(5, factor)(x), functional.pixel_unshuffle(x, factor))


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")],
)
def test_other_convolutions_do_not_take_an_unshuffle_in(conv: nn.Conv2d) -> None:
    assert not can_absorb(conv)
