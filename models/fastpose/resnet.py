"""The ResNets of AlphaPose (He et al., arXiv:1512.03385), written anew; names and order of the parameters are AlphaPose's.

Kinds: "resnet" is torchvision's; "se-resnet" has a squeeze-and-excitation (Hu et al., arXiv:1709.01507), its hidden layer as
wide as its input, in each block that changes the size or the channels; "shuffle" is that one with a pixel unshuffle and a
convolution where others have a strided 3 x 3 convolution. The 3 x 3 convolution of a bottleneck carries the stride.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

Kind = Literal["resnet", "se-resnet", "shuffle"]
BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class SqueezeExcitation(nn.Module):
    """Scales each channel by a factor 0..1 that two linear layers make of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.Sigmoid())

    def forward(self, x: Any) -> Any:
        means = self.avg_pool(x).flatten(1)  # (B, C)
        return x * self.fc(means)[:, :, None, None]  # (B, C, H, W) * (B, C, 1, 1)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, as of ResNet-18 and 34."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, kind: Kind, *, resized: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride) if resized else None
        self.se = SqueezeExcitation(width) if resized and kind != "resnet" else None

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))  # (B, width, H / stride, W / stride)
        y = self.bn2(self.conv2(y))
        y = y if self.se is None else self.se(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut, as of ResNet-50 and deeper."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, kind: Kind, *, resized: bool) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2: nn.Module
        if kind == "shuffle" and stride > 1:
            self.conv2 = nn.Sequential(nn.PixelUnshuffle(stride), nn.Conv2d(width * stride**2, width, 3, 1, 1, bias=False))
        else:
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.se = SqueezeExcitation(outputs) if resized and kind != "resnet" else None
        self.downsample = _shortcut(inputs, outputs, stride) if resized else None
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))  # (B, width, H, W)
        y = self.relu(self.bn2(self.conv2(y)))  # (B, width, H / stride, W / stride)
        y = self.bn3(self.conv3(y))  # (B, 4 width, H / stride, W / stride)
        y = y if self.se is None else self.se(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """(B, 3, H, W) -> (B, 8 * width * expansion, H / 32, W / 32); expansion is 4 with bottlenecks, else 1.

    blocks: of each of the four stages; width: channels of the first one, 64 in all published networks.
    """

    def __init__(self, kind: Kind, blocks: tuple[int, ...], *, bottleneck: bool, width: int = 64) -> None:
        super().__init__()
        block = Bottleneck if bottleneck else BasicBlock
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.outputs = width
        for stage, count in enumerate(blocks):
            inner, stride = width << stage, 1 if stage == 0 else 2
            layers = []
            for position in range(count):
                step = stride if position == 0 else 1
                resized = step != 1 or self.outputs != inner * block.expansion
                layers.append(block(self.outputs, inner, step, kind, resized=resized))
                self.outputs = inner * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (B, width, H/4, W/4)
        x = self.layer2(self.layer1(x))  # (B, 2 * width * expansion, H/8, W/8)
        return self.layer4(self.layer3(x))  # (B, 8 * width * expansion, H/32, W/32)


def blocks_in(state: dict[str, torch.Tensor], prefix: str) -> tuple[int, ...]:
    """How many blocks each stage has in a checkpoint, by the names of its tensors; zeros where there is no ResNet."""
    counts = []
    for stage in range(1, 5):
        start = f"{prefix}layer{stage}."
        found = {key[len(start) :].split(".")[0] for key in state if key.startswith(start)}
        counts.append(len(found))
    return tuple(counts)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
