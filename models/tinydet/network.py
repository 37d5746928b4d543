"""tinydet, the whole network: a MobileNetV2 trunk, a neck down and up again, and a head that all strides share.

It finds one class, people, without anchors: each cell of three grids (strides 8, 16 and 32) gives a logit and the distances
from its top left corner to the four sides of a box, the layout of the decoder `rtmdet`. It is made of what int8 accelerators
run fast and nothing else: convolution, depthwise convolution, addition, ReLU6, ReLU and one bilinear resize for each step of
the neck. The logistic function and the boxes' corners are left to the decoder, where int8 would cost accuracy.

Sizes in comments are for input 256 x 416 (rows x columns).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.tinypose.imagenet import load_imagenet
from models.tinypose.network import STAGES, TAPS, ConvNorm, DepthwiseBlock, Neck, Trunk, settle

STRIDES = (8, 16, 32)
# A fresh network says 1 % everywhere, as the focal loss wants it (Lin et al., ICCV 2017, 3.3): else the first steps are spent
# on the 2,000 cells without people.
PRIOR_LOGIT = -4.595
START_CELLS = 3.0  # distance that a fresh network gives: ReLU has no gradient below 0


@dataclass(frozen=True)
class TinyDetConfig:
    """width_px, height_px: of the input, multiples of 32. neck: channels of neck and head. tower: depthwise blocks of the head.

    blocks: how many blocks each stage of the trunk keeps, of MobileNetV2's 1, 2, 3, 4, 3, 3. Those left out only add to their
    input, so the ImageNet weights of the others stay good.
    """

    name: str
    width_px: int
    height_px: int
    neck: int = 64
    tower: int = 2
    blocks: tuple[int, ...] = tuple(stage[2] for stage in STAGES)


CONFIGS = {
    "tinydet-s": TinyDetConfig("tinydet-s", 320, 320, tower=1, blocks=(1, 1, 2, 2, 2, 2)),
    "tinydet-m": TinyDetConfig("tinydet-m", 416, 256),
}


class Distances(ConvNorm):
    """Distances left, top, right, bottom in pixels: a convolution gives them in cells, ReLU keeps them from being negative."""

    def __init__(self, channels: int, stride_px: int) -> None:
        super().__init__(channels, 4, 1, act=False)
        self.stride_px = stride_px

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x)) * self.stride_px

    def deployed(self) -> nn.Module:
        """The same with the stride in the weights, for ReLU(a * x) = a * ReLU(x) where a > 0."""
        conv = super().deployed()
        conv.weight.data *= self.stride_px
        conv.bias.data *= self.stride_px
        return nn.Sequential(conv, nn.ReLU())


class Upward(nn.Module):
    """Bottom-up: what the fine strides see of edges goes to the coarse ones, which have to place the sides of large people
    (Liu et al., CVPR 2018, path aggregation), by a depthwise convolution of stride 2 for each step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.ModuleDict(
            {
                str(s): nn.Sequential(
                    ConvNorm(channels, channels, 3, 2, groups=channels), ConvNorm(channels, channels, 1, act=False)
                )
                for s in STRIDES[1:]
            }
        )
        self.blocks = nn.ModuleDict({str(s): DepthwiseBlock(channels) for s in STRIDES[1:]})

    def forward(self, features: dict[int, Tensor]) -> dict[int, Tensor]:
        out = {STRIDES[0]: features[STRIDES[0]]}
        for finer, stride in pairwise(STRIDES):
            out[stride] = self.blocks[str(stride)](features[stride] + self.down[str(stride)](out[finer]))
        return out


class Head(nn.Module):
    """Two towers of depthwise blocks, the same for all strides, and for each stride its own last convolution."""

    def __init__(self, channels: int, tower: int) -> None:
        super().__init__()
        self.see = nn.Sequential(*(DepthwiseBlock(channels) for _ in range(tower)))
        self.measure = nn.Sequential(*(DepthwiseBlock(channels) for _ in range(tower)))
        self.logits = nn.ModuleDict({str(s): ConvNorm(channels, 1, 1, act=False) for s in STRIDES})
        self.distances = nn.ModuleDict({str(s): Distances(channels, s) for s in STRIDES})

    def forward(self, features: dict[int, Tensor]) -> tuple[Tensor, ...]:
        out = []
        for stride in STRIDES:
            x = features[stride]
            out.append(self.logits[str(stride)](F.relu6(self.see(x))))  # (B, 1, 32, 52), then (.., 16, 26), (.., 8, 13)
            out.append(self.distances[str(stride)](F.relu6(self.measure(x))))  # (B, 4, 32, 52)
        return tuple(out)


class TinyDet(nn.Module):
    """(B, 3, height_px, width_px) float32 RGB, normalised as ImageNet -> for each stride logits and distances, see OUTPUTS.

    Logits (B, 1, rows, columns); distances (B, 4, rows, columns) >= 0, left, top, right, bottom in input pixels.
    """

    def __init__(self, config: TinyDetConfig, *, frozen: int = 0) -> None:
        super().__init__()
        self.config = config
        self.trunk = shortened(Trunk(), config.blocks)
        self.neck = Neck(config.neck, STRIDES, 1)
        self.up = Upward(config.neck)
        self.head = Head(config.neck, config.tower)
        self.freeze(frozen)

    def freeze(self, blocks: int) -> None:
        """Keep the weights of so many blocks of the trunk, from the picture on; the others are trained."""
        self.trunk.frozen = blocks
        for i, layer in enumerate(self.trunk.layers):
            layer.requires_grad_(i >= blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.up(self.neck(self.trunk(x))))  # type: ignore[no-any-return]


OUTPUTS = tuple(f"{kind}_{stride}" for stride in STRIDES for kind in ("logits", "distances"))


def shortened(trunk: Trunk, blocks: tuple[int, ...]) -> Trunk:
    """The trunk, in place, with the first so many blocks of each stage. Raises ValueError for more than there are, or none."""
    if len(blocks) != len(STAGES) or not all(1 <= b <= stage[2] for b, stage in zip(blocks, STAGES, strict=True)):
        raise ValueError(f"blocks {blocks}: give 1 to {tuple(stage[2] for stage in STAGES)} for each stage")
    kept, taps, at, stride = [trunk.layers[0]], {}, 1, 2
    for (_, channels, there, first), count in zip(STAGES, blocks, strict=True):
        kept += list(trunk.layers[at : at + count])
        at, stride = at + there, stride * first
        if TAPS.get(stride) == channels:
            taps[len(kept) - 1] = stride
    trunk.layers, trunk.taps = nn.Sequential(*kept), taps
    return trunk


def start_from(network: TinyDet, donor: TinyDet) -> int:
    """Take over what has the same place and shape in `donor`, whose trunk has no fewer blocks; returns how many tensors."""
    theirs = copy.deepcopy(donor)
    if donor.config.blocks != network.config.blocks:
        shortened(theirs.trunk, network.config.blocks)
    mine = network.state_dict()
    fits = {name: value for name, value in theirs.state_dict().items() if name in mine and mine[name].shape == value.shape}
    network.load_state_dict(mine | fits)
    return len(fits)


def start_from_imagenet(network: TinyDet) -> None:
    """Fill the trunk with ImageNet weights. Raises ModelError where they are not installed."""
    whole = Trunk()
    load_imagenet(whole)
    network.trunk.load_state_dict(shortened(whole, network.config.blocks).state_dict())


@torch.no_grad()  # type: ignore[untyped-decorator]
def settle_new(network: TinyDet, x: Tensor) -> None:
    """Give neck and head, untrained, outputs of sensible size for a batch `x`: residual branches small, answers near the start.

    Without it the sums grow from block to block: 12 % of the head's last activations were between 0 and 6, where ReLU6 learns.
    """
    new = nn.ModuleList([network.neck, network.up, network.head])
    logits, distances = network.head.logits.values(), network.head.distances.values()
    spread: dict[nn.Module, float] = {m.layers[-1]: 0.3 for m in new.modules() if isinstance(m, DepthwiseBlock)}
    spread |= dict.fromkeys([*logits, *distances], 0.1)
    settle(network, new, x, spread=spread)
    for last, start in [*((m, PRIOR_LOGIT) for m in logits), *((m, START_CELLS) for m in distances)]:
        last.bias += start


def flat(outputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The network's outputs -> logits (B, M) and distances (B, M, 4), float32, the strides' cells one after the other."""
    logits = torch.cat([o.float().flatten(1) for o in outputs[::2]], dim=1)
    distances = torch.cat([o.float().flatten(2).transpose(1, 2) for o in outputs[1::2]], dim=1)
    return logits, distances


def cells(config: TinyDetConfig) -> tuple[Tensor, Tensor]:
    """Points (M, 2), x and y of the cells' top left corners in input pixels, and their strides (M,), in the order of `flat`."""
    points, strides = [], []
    for s in STRIDES:
        y, x = torch.meshgrid(torch.arange(config.height_px // s), torch.arange(config.width_px // s), indexing="ij")
        points.append(torch.stack([x, y], dim=-1).reshape(-1, 2) * float(s))
        strides.append(torch.full((points[-1].shape[0],), float(s)))
    return torch.cat(points), torch.cat(strides)


def boxes_of(points: Tensor, distances: Tensor) -> Tensor:
    """points (M, 2) and distances (..., M, 4) -> boxes (..., M, 4) xyxy in input pixels."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)
