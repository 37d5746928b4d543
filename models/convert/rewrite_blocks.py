"""Depth to space without an op of that name: slices, reshapes and one concatenation.

TFLite's DEPTH_TO_SPACE is not among the ops of the Edge TPU and will not be (google-coral/edgetpu, issue 386), and what
converters make of torch.pixel_shuffle are transposes. Channels-last memory needs neither: with the channels in the order
(row, column, c) of the block, the columns of a block follow each other in memory already, so a reshape interleaves them, and
the rows do once they are put side by side. That costs no multiplication and stays at rank 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class DepthToSpace(nn.Module):
    """(B, rows * columns * C, H, W), channels in the order (row, column, c) of the block -> (B, C, H * rows, W * columns).

    crop: pixels to take off the result, (left, right, top, bottom), while it is channels-last: elsewhere it costs transposes.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Any, crop: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Any:
        batch, depth, height, width = x.shape
        channels = depth // (self.rows * self.columns)
        x = x.permute(0, 2, 3, 1)  # (B, H, W, rows * columns * C); a converter to channels-last drops it
        parts = x.split(self.columns * channels, dim=3) if self.rows > 1 else (x,)  # rows x (B, H, W, columns * C)
        lines = [part.reshape(batch, height, width * self.columns, channels) for part in parts]
        x = torch.cat(lines, dim=2) if self.rows > 1 else lines[0]  # (B, H, rows * W * columns, C)
        x = x.reshape(batch, height * self.rows, width * self.columns, channels)
        if any(crop):
            x = functional.pad(x, (0, 0, *(-side for side in crop)))  # as one op; two slices would become two
        return x.permute(0, 3, 1, 2)  # (B, C, H * rows, W * columns)

    def extra_repr(self) -> str:
        return f"rows={self.rows}, columns={self.columns}"


def block_order(channels: int, rows: int, columns: int) -> torch.Tensor:
    """Where DepthToSpace's channels (row, column, c) lie in PixelShuffle's order (c, row, column): order[new] = old."""
    return torch.arange(channels * rows * columns).reshape(channels, rows * columns).T.reshape(-1)


def reordering(order: torch.Tensor) -> nn.Conv2d:
    """A 1 x 1 convolution whose output channel i is input channel order[i]; its weights are 0 and 1, so int8 holds them."""
    made = nn.Conv2d(len(order), len(order), 1, bias=False).requires_grad_(False)
    made.weight.zero_()
    made.weight[torch.arange(len(order)), order] = 1.0
    return made


def can_absorb(conv: nn.Conv2d) -> bool:
    """Whether absorb_unshuffle knows such a convolution."""
    return conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def absorb_unshuffle(conv: nn.Conv2d, factor: int) -> nn.Conv2d:
    """PixelUnshuffle(factor) and then `conv`, as one convolution of the unshuffled tensor, with as many multiplications.

    Its channel (c, row, column) at position h is channel c at position factor * h + row, so kernel, stride and padding grow by
    `factor` and the channels of a block become taps of the kernel.
    """
    channels = conv.in_channels // factor**2
    kernel, stride, padding = ([side * factor for side in sides] for sides in (conv.kernel_size, conv.stride, conv.padding))
    made = nn.Conv2d(channels, conv.out_channels, kernel, stride, padding, bias=conv.bias is not None).requires_grad_(False)
    taps = conv.weight.reshape(conv.out_channels, channels, factor, factor, *conv.kernel_size)  # (O, C, row, column, ky, kx)
    made.weight.copy_(taps.permute(0, 1, 4, 2, 5, 3).reshape(made.weight.shape))
    if conv.bias is not None:
        made.bias.copy_(conv.bias)
    return made


def block_sampler(channels: int, factor: int) -> nn.Conv2d:
    """PixelUnshuffle(factor) as a depthwise convolution of that stride; its weights are 0 and 1."""
    made = nn.Conv2d(channels, channels * factor**2, factor, factor, groups=channels, bias=False).requires_grad_(False)
    made.weight.copy_(torch.eye(factor**2).reshape(factor**2, 1, factor, factor).repeat(channels, 1, 1, 1))
    return made
