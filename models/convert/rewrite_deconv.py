"""Transposed convolution as an ordinary one: sub-pixel decomposition (Shi et al. 2016, arXiv:1609.07009).

A transposed convolution of stride s writes, for each input position, a kernel's worth of outputs; seen from the outputs, those
of one phase (position modulo s) depend on the same small window of inputs, with every s-th tap of the kernel. All phases use
one window of T = ceil(K / s) inputs, so they are s * s groups of channels of one T x T convolution of stride 1; depth to space
puts them in place and a crop takes off what `padding` takes off. For K divisible by s the multiplications are the same ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.convert.rewrite_blocks import DepthToSpace


class SubPixelConv(nn.Module):
    """Equal to a ConvTranspose2d for inputs of any size: (B, Cin, H, W) -> (B, Cout, H', W') as PyTorch defines H' and W'."""

    def __init__(self, source: nn.ConvTranspose2d, activation: nn.Module | None = None) -> None:
        """activation: what follows elementwise; it is done before the depth to space, where converters fuse it."""
        super().__init__()
        plans = [_Axis(*axis) for axis in zip(*_attributes(source), strict=True)]
        self.vertical, self.horizontal = plans
        convolutions = [nn.Conv2d(*args) for args in _shapes(source, plans)]
        with torch.no_grad():
            for made, weight in zip(convolutions, _weights(source, plans), strict=True):
                made.weight.copy_(weight)
                if source.bias is not None:
                    made.bias.copy_(source.bias.repeat(made.out_channels // source.out_channels))
                else:
                    made.bias = None
        self.phases = nn.ModuleList(convolutions)
        self.activation = nn.Identity() if activation is None else activation
        self.blocks = DepthToSpace(self.vertical.stride, self.horizontal.stride)
        self.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        height, width = x.shape[2:]
        left, right = self.horizontal.pads(width)
        top, bottom = self.vertical.pads(height)
        x = functional.pad(x, (left, right, top, bottom))
        x = torch.cat([phase(x) for phase in self.phases], dim=1) if len(self.phases) > 1 else self.phases[0](x)
        return self.blocks(self.activation(x), (*self.horizontal.crop(width), *self.vertical.crop(height)))


class _Axis:
    """One axis of a transposed convolution: which inputs are needed, and which of the interleaved outputs are kept."""

    def __init__(self, kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> None:
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.padding, self.output_padding = padding, output_padding
        self.spread = dilation * (kernel - 1) + 1  # length of the kernel with its holes
        self.taps = -(-self.spread // stride)
        self.skipped = min(padding // stride, self.taps - 1)  # whole blocks at the start that the padding takes off

    def length(self, size: int) -> int:
        return (size - 1) * self.stride - 2 * self.padding + self.spread + self.output_padding

    def pads(self, size: int) -> tuple[int, int]:
        """Zeros before and after the inputs, so that the convolution gives exactly the blocks that hold the output."""
        blocks = -(-(self.padding + self.length(size)) // self.stride)
        return self.taps - 1 - self.skipped, max(0, blocks - size)

    def crop(self, size: int) -> tuple[int, int]:
        """What those blocks hold before and after the output."""
        blocks = size + sum(self.pads(size)) - self.taps + 1
        start = self.padding - self.skipped * self.stride
        return start, blocks * self.stride - start - self.length(size)


def _attributes(source: nn.ConvTranspose2d) -> tuple[tuple[int, int], ...]:
    return source.kernel_size, source.stride, source.padding, source.output_padding, source.dilation


def _shapes(source: nn.ConvTranspose2d, plans: list[_Axis]) -> list[tuple[Any, ...]]:
    """One convolution for all phases; with groups one a phase, as theirs are not in the order that DepthToSpace wants."""
    window = (plans[0].taps, plans[1].taps)
    phases = plans[0].stride * plans[1].stride
    count, outputs = (phases, source.out_channels) if source.groups > 1 else (1, phases * source.out_channels)
    return [(source.in_channels, outputs, window, 1, 0, 1, source.groups)] * count


def _weights(source: nn.ConvTranspose2d, plans: list[_Axis]) -> list[torch.Tensor]:
    """(outputs, Cin / groups, Ty, Tx) each, phases in the order (row, column)."""
    vertical, horizontal = plans
    groups, per_group = source.groups, source.out_channels // source.groups
    inputs = source.in_channels // groups
    spread = source.weight.new_zeros(
        source.in_channels, per_group, vertical.taps * vertical.stride, horizontal.taps * horizontal.stride
    )
    spread[:, :, : vertical.spread : vertical.dilation, : horizontal.spread : horizontal.dilation] = source.weight
    # Output s * q + phase is the sum over t of input q - t times tap s * t + phase: a convolution with the taps turned round.
    split = spread.reshape(groups, inputs, per_group, vertical.taps, vertical.stride, horizontal.taps, horizontal.stride)
    split = split.flip(3, 5).permute(4, 6, 0, 2, 1, 3, 5)  # (sy, sx, groups, Cout / groups, Cin / groups, Ty, Tx)
    weights = split.reshape(-1, source.out_channels, inputs, vertical.taps, horizontal.taps)
    return list(weights) if groups > 1 else [weights.flatten(0, 1)]


def deconv_name(source: nn.ConvTranspose2d) -> str:
    """How reports call it."""
    kernel, stride = (f"{a} x {b}" for a, b in (source.kernel_size, source.stride))
    grouped = f", {source.groups} groups" if source.groups > 1 else ""
    return f"transposed convolution {source.in_channels} -> {source.out_channels}, {kernel}, stride {stride}{grouped}"
