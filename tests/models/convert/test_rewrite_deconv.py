from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from typing import Any  # noqa: E402

from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from models.convert.rewrite_deconv import SubPixelConv, deconv_name  # noqa: E402
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402

# What occurs in pose heads: (kernel, stride, padding, output padding).
IN_POSE_HEADS = [
    (4, 2, 1, 0),  # SimpleBaseline, CenterNet
    (3, 2, 1, 1),
    (2, 2, 0, 0),
    (3, 1, 1, 0),
    (8, 4, 2, 0),
    (16, 8, 4, 0),
    (7, 4, 3, 3),
    (2, 2, 1, 0),
    (5, 3, 0, 2),
    ((4, 3), (2, 1), (1, 1), (0, 0)),
    ((2, 5), (3, 2), (0, 2), (2, 1)),
    (1, 2, 0, 1),  # a kernel smaller than the stride leaves outputs that are the bias alone
    (3, 1, 2, 0),
    (3, 2, 0, 1),
]


@pytest.mark.parametrize("shape", IN_POSE_HEADS)
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_transposed_convolution(shape: Any, groups: int, bias: bool) -> None:
    kernel, stride, padding, output_padding = shape
    source = with_random_weights(nn.ConvTranspose2d(6, 6, kernel, stride, padding, output_padding, groups, bias))
    rewritten = SubPixelConv(source)
    for size in ((3, 5), (4, 3), (6, 6)):
        x = torch.randn(2, 6, *size)
        assert_equal(rewritten(x), source(x))


@st.composite
def deconvolutions(draw: st.DrawFn) -> tuple[nn.ConvTranspose2d, Any]:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel, stride, padding, dilation, size = pair(1, 6), pair(1, 4), pair(0, 4), pair(1, 2), pair(1, 6)
    most = [max(step, spread) - 1 for step, spread in zip(stride, dilation, strict=True)]
    extra = draw(st.integers(0, most[0])), draw(st.integers(0, most[1]))
    source = nn.ConvTranspose2d(
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 3)),
        kernel, stride, padding, extra, groups, draw(st.booleans()), dilation,
    )  # fmt: skip
    lengths = [
        (side - 1) * step - 2 * pad + hole * (taps - 1) + 1 + more
        for side, step, pad, hole, taps, more in zip(size, stride, padding, dilation, kernel, extra, strict=True)
    ]
    assume(min(lengths) > 0)
    seed = draw(st.integers(0, 1000))
    return with_random_weights(source, seed), torch.randn(2, source.in_channels, *size)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(deconvolutions())
def test_any_deconvolution_is_equal(case: tuple[nn.ConvTranspose2d, Any]) -> None:
    source, x = case
    assert_equal(SubPixelConv(source)(x), source(x))


def test_an_activation_inside_is_the_activation_behind() -> None:
    source = with_random_weights(nn.ConvTranspose2d(3, 5, 4, 2, 1))
    x = torch.randn(1, 3, 4, 6)
    assert_equal(SubPixelConv(source, nn.ReLU())(x), torch.relu(source(x)))


def test_no_transposed_convolution_is_left() -> None:
    rewritten = SubPixelConv(nn.ConvTranspose2d(4, 4, 4, 2, 1))
    assert not [module for module in rewritten.modules() if isinstance(module, nn.ConvTranspose2d)]


def macs(network: Any, x: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops() // 2


def test_it_multiplies_as_often_but_for_the_border() -> None:
    """A kernel that the stride divides: T x T taps of s * s phases are the K x K taps, on one more row and column."""
    source = nn.ConvTranspose2d(8, 4, 4, 2, 1)
    x = torch.zeros(1, 8, 16, 12)
    assert macs(source, x) == 16 * 12 * 8 * 4 * 16
    assert macs(SubPixelConv(source), x) == 17 * 13 * 8 * 4 * 16


def test_reports_call_it_by_its_sizes() -> None:
    assert deconv_name(nn.ConvTranspose2d(8, 4, 4, 2, 1)) == "transposed convolution 8 -> 4, 4 x 4, stride 2 x 2"
    assert deconv_name(nn.ConvTranspose2d(8, 8, 2, 2, groups=8)).endswith(", 8 groups")
