"""FastPose, AlphaPose's own network (Fang et al., arXiv:2211.03375), written anew from its published structure.

A ResNet, then up to a quarter of the input's size by pixel shuffles instead of transposed convolutions ("dense upsampling
convolution", Wang et al., arXiv:1702.08502), then one heat map a keypoint. Parameter names, shapes and order are those of
AlphaPose's checkpoints, so that these load; the typing error in `suffle1` is theirs (it has no parameters).

Deformable variants (`-dcn`) are not here: they need operators outside PyTorch, and no edge runtime of ours has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from models.fastpose.resnet import BLOCKS, Kind, ResNet

HEIGHT_PX, WIDTH_PX = 256, 192  # of all published configurations
STRIDE = 4  # input pixels per cell of the heat maps


@dataclass(frozen=True)
class FastPoseConfig:
    """One configuration.

    head "shuffle" is AlphaPose's `FastPose`: shuffle first, then two convolutions that are shuffled after; "duc" is its
    `FastPose_DUC`: three stages that shuffle first and convolve then, `convolutions` times each. dim: channels that the
    heat maps are read from. keypoints: 17 for COCO, 26 or 136 for Halpe.
    """

    name: str
    layers: int
    backbone: Kind = "se-resnet"
    head: Literal["shuffle", "duc"] = "shuffle"
    dim: int = 128
    convolutions: tuple[int, ...] = ()
    keypoints: int = 17

    @property
    def bottleneck(self) -> bool:
        return self.layers >= 50



def _duc(name: str, layers: int, backbone: Kind) -> FastPoseConfig:
    return FastPoseConfig(name, layers, backbone, "duc", 256, (4, 2, 1))


# Named as AlphaPose names its files (docs/MODEL_ZOO.md there), or alike where it publishes a configuration but no file.
VARIANTS: dict[str, FastPoseConfig] = {
    config.name: config
    for config in (
        FastPoseConfig("fast_res50_256x192", 50),
        FastPoseConfig("fast_res18_256x192", 18, dim=32),
        FastPoseConfig("fast_res101_256x192", 101),
        FastPoseConfig("fast_res152_256x192", 152),
        FastPoseConfig("fast_dim256_res152_256x192", 152, dim=256),
        _duc("fast_421_res152_256x192", 152, "se-resnet"),
        _duc("fast_421_res50-shuffle_256x192", 50, "shuffle"),
    )
}


class Upsampling(nn.Module):
    """Dense upsampling convolution: (B, inputs, H, W) -> (B, outputs / 4, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.pixel_shuffle = nn.PixelShuffle(2)

    def forward(self, x: Any) -> Any:
        return self.pixel_shuffle(self.relu(self.bn(self.conv(x))))


class FastPose(nn.Module):
    """(B, 3, H, W) normalised RGB -> (B, keypoints, H/4, W/4) heat maps; H and W are multiples of 32."""

    def __init__(self, config: FastPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.preact = ResNet(config.backbone, BLOCKS[config.layers], bottleneck=config.bottleneck)
        quarter = self.preact.outputs // 4
        if config.head == "shuffle":
            self.suffle1 = nn.PixelShuffle(2)
            self.duc1 = Upsampling(quarter, quarter * 2)
            self.duc2 = Upsampling(quarter // 2, config.dim * 4)
        else:
            widths = (quarter * 2, quarter, config.dim)
            inputs = self.preact.outputs
            for stage, (width, count) in enumerate(zip(widths, config.convolutions, strict=True), 1):
                setattr(self, f"duc{stage}", _stage(inputs // 4, width, count))
                inputs = width
        self.conv_out = nn.Conv2d(config.dim, config.keypoints, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = self.preact(x)  # (B, 2048, H/32, W/32); 512 channels with ResNet-18
        if self.config.head == "duc":
            x = self.duc2(self.duc1(x))  # (B, 1024, H/16, W/16), (B, 512, H/8, W/8)
            return self.conv_out(self.duc3(x))  # (B, dim, H/4, W/4), (B, keypoints, H/4, W/4)
        x = self.duc1(self.suffle1(x))  # (B, 512, H/16, W/16), (B, 256, H/8, W/8)
        return self.conv_out(self.duc2(x))  # (B, dim, H/4, W/4), (B, keypoints, H/4, W/4)


def _stage(inputs: int, outputs: int, count: int) -> nn.Sequential:
    """(B, 4 * inputs, H, W) -> (B, outputs, 2H, 2W): shuffle, then `count` 3 x 3 convolutions."""
    layers: list[nn.Module] = [nn.PixelShuffle(2)]
    for position in range(count):
        width = outputs if position == count - 1 else inputs
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)
