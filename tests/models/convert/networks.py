"""A small pose network whose keypoints mean something without training. Needs PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.convert.source import Source

WIDTH_PX, HEIGHT_PX = 96, 128
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Peaks(nn.Module):
    """Heatmaps (B, 17, H / 4, W / 4) in 0..1 with one clear peak each, whose place and height the picture moves a little.

    A Gaussian for each keypoint, where a standing person has it, plus what random convolutions see.
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.see = nn.Sequential(
            nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 17, 5, 1, 2), nn.Tanh()
        )
        rows, columns = torch.arange(HEIGHT_PX // 4).reshape(-1, 1), torch.arange(WIDTH_PX // 4).reshape(1, -1)
        prior = [torch.exp(-((rows - 3 - 1.6 * k) ** 2 + (columns - 7 - 5 * (k % 3)) ** 2) / 8) for k in range(17)]
        self.register_buffer("prior", 6 * torch.stack(prior)[None] - 4)
        self.strength = strength

    def forward(self, x: Any) -> Any:
        return torch.sigmoid(self.prior + self.strength * self.see(x))


class Shuffled(nn.Module):
    """Random weights, a transposed convolution and a pixel shuffle: what pose heads are made of; heatmaps mean nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 4, 1), nn.ReLU()
        )
        self.up = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.head = nn.Sequential(nn.Conv2d(16, 17, 1))

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.up(self.body(x))))  # (B, 17, H / 4, W / 4)


def source(module: nn.Module, name: str = "tiny", **changed: Any) -> Source:
    """A source of 96 x 128 pixels, in eval mode."""
    kinds = {
        "name": name, "module": module.eval().requires_grad_(False), "task": "pose", "width_px": WIDTH_PX,
        "height_px": HEIGHT_PX, "colour": "rgb", "mean": MEAN, "std": STD, "decoder": "heatmaps_quarter",
        "outputs": ("heatmaps",), "licence": "CC0-1.0", "training_data": "none", "provenance": "a test",
    }  # fmt: skip
    return Source(**{**kinds, **changed})
