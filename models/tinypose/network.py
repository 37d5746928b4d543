"""TinyPose, the whole network: a MobileNetV2 trunk, a small top-down neck, and one of three heads.

It is made of what int8 accelerators run fast and nothing else: convolution, depthwise convolution, addition, ReLU6 and one
bilinear resize for each step of the neck. No transposed convolution (the reason why FastPose takes seconds on an Edge TPU), no
squeeze-and-excitation, no hard-swish; all inner channels are multiples of 8.

Sizes in comments are for input 192 x 144 (rows x columns).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Head = Literal["offsets", "heatmaps", "simcc"]
NUM_KEYPOINTS = 17
# MobileNetV2 (Sandler et al., CVPR 2018), table 2: expansion, channels, blocks, stride; without its last stage (320 channels).
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
TAPS = {4: 24, 8: 32, 16: 96, 32: 160}  # stride of the trunk's outputs -> channels


@dataclass(frozen=True)
class TinyPoseConfig:
    """width_px, height_px: of the crop. neck: channels of the neck. blocks: depthwise blocks at each of its strides.

    head: `offsets`, heatmaps at stride 8 and a vector to the keypoint in each cell; `heatmaps`, at stride 4, refined by the
    decoder; `simcc`, two one-dimensional distributions for each keypoint (Li et al., ECCV 2022), `simcc_split` bins a pixel.
    """

    name: str
    width_px: int
    height_px: int
    head: Head = "heatmaps"
    neck: int = 64
    blocks: int = 1
    simcc_split: int = 2


class _StridedDepthwise(torch.autograd.Function):
    """A depthwise 3 x 3 convolution of stride 2 whose gradient of the input is a convolution of stride 1 with zeros between.

    It computes what autograd would; oneDNN's own kernel for that gradient takes 79 ms for (16, 96, 96, 72) in bfloat16 on one
    core of an AMD EPYC, this one 4 ms, which makes the training of the whole network 2.2 times as fast.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, None, 2, 1, 1, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = grads[0].to(x.dtype)
        spread = torch.zeros_like(x)
        spread[:, :, ::2, ::2] = grad
        to_x = F.conv2d(spread, weight.flip(2, 3), None, 1, 1, 1, x.shape[1])
        masks = [False, True, False]
        to_weight = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [2, 2], [1, 1], [1, 1], False, [0, 0], x.shape[1], masks
        )[1]
        return to_x, to_weight


class ConvNorm(nn.Module):
    """Convolution, a scale and a bias per channel, and ReLU6 where `act`.

    Where there are ImageNet weights, scale and bias are its batch norm with the statistics of ImageNet, and are trained on.
    The scale is applied to the weights: a batch norm's passes over the activations would take a third of the training time.
    """

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1, groups: int = 1, *, act: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin // groups, kernel, kernel))
        self.scale = nn.Parameter(torch.ones(cout))
        self.bias = nn.Parameter(torch.zeros(cout))
        self.stride, self.groups, self.act = stride, groups, act
        nn.init.kaiming_normal_(self.weight, mode="fan_out" if groups > 1 else "fan_in", nonlinearity="relu")
        if groups > 1:  # fan_out counts the channels of all groups
            self.weight.data *= groups**0.5

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale[:, None, None, None]
        pad = weight.shape[-1] // 2
        if self.stride == 2 and self.groups == x.shape[1] and self.training:
            if torch.is_autocast_enabled(x.device.type):
                x, weight = (t.to(torch.get_autocast_dtype(x.device.type)) for t in (x, weight))
            y = _StridedDepthwise.apply(x, weight) + self.bias.to(x.dtype)[:, None, None]
        else:
            y = F.conv2d(x, weight, self.bias, self.stride, pad, 1, self.groups)
        return F.relu6(y, inplace=True) if self.act else y

    def deployed(self) -> nn.Module:
        """The same as the plain layers that converters know."""
        cout, per_group, kernel, _ = self.weight.shape
        conv = nn.Conv2d(per_group * self.groups, cout, kernel, self.stride, kernel // 2, groups=self.groups)
        conv.weight.data = (self.weight * self.scale[:, None, None, None]).detach().clone()
        conv.bias.data = self.bias.detach().clone()
        return nn.Sequential(conv, nn.ReLU6()) if self.act else conv


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; with the input added where the shape stays."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = cin * expansion
        expand = [ConvNorm(cin, hidden, 1)] if expansion > 1 else []
        depthwise = ConvNorm(hidden, hidden, 3, stride, groups=hidden)
        self.layers = nn.Sequential(*expand, depthwise, ConvNorm(hidden, cout, 1, act=False))
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Trunk(nn.Module):
    """MobileNetV2 1.0 without its last stage and classifier; returns the features at strides 4, 8, 16 and 32.

    frozen: that many of its blocks, from the picture on, keep their ImageNet weights and are run without gradients. They see
    edges and colours, and they hold the largest activations: freezing the first 5 makes a step 1.6 times as fast.
    """

    def __init__(self, frozen: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNorm(3, 32, 3, 2)]
        channels, stride, self.taps = 32, 2, {}
        for expansion, cout, blocks, first in STAGES:
            stride *= first
            for i in range(blocks):
                layers.append(InvertedResidual(channels, cout, first if i == 0 else 1, expansion))
                channels = cout
            self.taps[stride] = len(layers) - 1  # the last block of a stride is its tap: 24, 32, 96 and 160 channels
        self.taps = {at: tap for tap, at in self.taps.items() if tap in TAPS}
        self.layers = nn.Sequential(*layers)
        self.frozen = frozen
        for layer in layers[:frozen]:
            layer.requires_grad_(False)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        out = {}
        for i, layer in enumerate(self.layers):
            if i < self.frozen:
                with torch.no_grad():
                    x = layer(x)
            else:
                x = layer(x)
            if i in self.taps:
                out[self.taps[i]] = x
        return out


class DepthwiseBlock(nn.Module):
    """x + pointwise(depthwise(x)): context of 3 x 3 cells at the least cost."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        depthwise = ConvNorm(channels, channels, 3, groups=channels)
        self.layers = nn.Sequential(depthwise, ConvNorm(channels, channels, 1, act=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Neck(nn.Module):
    """Top-down: each level is a 1 x 1 convolution of the trunk plus the level above, resized.

    Returns the features of every stride, {stride: (B, channels, H / stride, W / stride)}.
    """

    def __init__(self, channels: int, strides: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.strides = tuple(sorted(strides, reverse=True))
        self.lateral = nn.ModuleDict({str(s): ConvNorm(TAPS[s], channels, 1, act=False) for s in self.strides})
        self.blocks = nn.ModuleDict(
            {str(s): nn.Sequential(*(DepthwiseBlock(channels) for _ in range(blocks))) for s in self.strides}
        )

    def forward(self, taps: dict[int, Tensor]) -> dict[int, Tensor]:
        out: dict[int, Tensor] = {}
        above: Tensor | None = None
        for stride in self.strides:
            x = self.lateral[str(stride)](taps[stride])
            if above is not None:
                x = x + F.interpolate(above, size=x.shape[-2:], mode="bilinear", align_corners=False)
            out[stride] = above = self.blocks[str(stride)](x)
        return out


class OffsetsHead(nn.Module):
    """Heatmaps (B, 17, 24, 18) and offsets (B, 34, 24, 18) in units of the stride: 17 times y, then 17 times x."""

    outputs = ("heatmaps", "offsets")
    decoder = "heatmap_offsets"  # of services/pose
    stride = 8

    def __init__(self, config: TinyPoseConfig) -> None:
        super().__init__()
        self.heat = ConvNorm(config.neck, NUM_KEYPOINTS, 1, act=False)
        self.vector = ConvNorm(config.neck, 2 * NUM_KEYPOINTS, 1, act=False)

    def forward(self, features: dict[int, Tensor]) -> tuple[Tensor, ...]:
        x = F.relu6(features[8])
        return self.heat(x), self.vector(x)


class HeatmapsHead(nn.Module):
    """Heatmaps (B, 17, 48, 36)."""

    outputs = ("heatmaps",)
    decoder = "heatmaps"  # of services/pose
    stride = 4

    def __init__(self, config: TinyPoseConfig) -> None:
        super().__init__()
        self.heat = ConvNorm(config.neck, NUM_KEYPOINTS, 1, act=False)

    def forward(self, features: dict[int, Tensor]) -> tuple[Tensor, ...]:
        return (self.heat(F.relu6(features[4])),)


class SimccHead(nn.Module):
    """x (B, 17, 288) and y (B, 17, 384): each keypoint's map of 24 x 18 cells, flattened, goes through two linear layers."""

    outputs = ("simcc_x", "simcc_y")
    decoder = "simcc"  # of services/pose
    stride = 8

    def __init__(self, config: TinyPoseConfig) -> None:
        super().__init__()
        cells = (config.height_px // 8) * (config.width_px // 8)
        self.map = ConvNorm(config.neck, NUM_KEYPOINTS, 1, act=False)
        self.x = nn.Linear(cells, config.width_px * config.simcc_split)
        self.y = nn.Linear(cells, config.height_px * config.simcc_split)

    def forward(self, features: dict[int, Tensor]) -> tuple[Tensor, ...]:
        flat = self.map(F.relu6(features[8])).flatten(2)  # (B, 17, 24 * 18)
        return self.x(flat), self.y(flat)


HEADS: dict[str, Any] = {"offsets": OffsetsHead, "heatmaps": HeatmapsHead, "simcc": SimccHead}


class TinyPose(nn.Module):
    """(B, 3, height_px, width_px) float32 RGB, normalised as ImageNet -> the outputs that the head's class names."""

    def __init__(self, config: TinyPoseConfig, *, frozen: int = 0) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(frozen)
        self.head = HEADS[config.head](config)
        self.neck = Neck(config.neck, tuple(s for s in TAPS if s >= self.head.stride), config.blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.neck(self.trunk(x)))  # type: ignore[no-any-return]


@torch.no_grad()  # type: ignore[untyped-decorator]
def settle(network: nn.Module, new: nn.Module, x: Tensor, *, spread: dict[nn.Module, float] | None = None) -> None:
    """Give the layers of `new`, which are untrained, outputs of mean 0 and deviation 1 (or `spread`) for a batch `x`.

    What batch norm would do in its first step, done once, so that training can go without it (Salimans and Kingma, NeurIPS
    2016, section 3). Without it the sums of the neck start beyond 6, where ReLU6 is flat, and nothing is learned.
    """
    hooks = []
    for layer in layers(new):

        def hook(this: ConvNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            act, this.act = this.act, False
            raw = ConvNorm.forward(this, inputs[0])
            deviation, mean = torch.std_mean(raw, dim=(0, 2, 3))
            factor = (spread or {}).get(this, 1.0) / deviation.clamp(min=1e-4)
            this.scale *= factor
            this.bias.copy_((this.bias - mean) * factor)
            this.act = act
            return ConvNorm.forward(this, inputs[0])

        hooks.append(layer.register_forward_hook(hook))
    network(x)
    for handle in hooks:
        handle.remove()


def deploy(module: nn.Module) -> nn.Module:
    """Replaces, in place, each ConvNorm by plain layers that compute the same; returns the module, in eval mode."""
    for name, child in list(module.named_children()):
        if isinstance(child, ConvNorm):
            setattr(module, name, child.deployed())
        else:
            deploy(child)
    return module.eval()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def layers(module: nn.Module) -> Iterator[ConvNorm]:
    return (m for m in module.modules() if isinstance(m, ConvNorm))
