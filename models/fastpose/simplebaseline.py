"""SimpleBaseline (Xiao et al. 2018, arXiv:1804.06208): a ResNet, then transposed convolutions up to the heat maps.

AlphaPose publishes it as `SimplePose`, its authors as `pose_resnet`, MMPose as `TopdownHeatmap` with a ResNet; all three
checkpoints are read. It is the case that an Edge TPU needs models.convert.rewrite for. Sizes are taken from the tensors, so any
depth and width is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from common.model_store import sha256_of
from models.convert.source import ConversionError, Source
from models.fastpose import source as fastpose
from models.fastpose.checkpoint import SUFFIXES, State, fill, load_state
from models.fastpose.resnet import ResNet, blocks_in

_IMAGENET = ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
_PADDINGS = {4: (1, 0), 3: (1, 1), 2: (0, 0)}  # kernel -> (padding, output padding): each doubles the size exactly
SIZE = "256x192"


@dataclass(frozen=True)
class Publisher:
    """How one publisher names the parts (prefixes of the backbone's and the head's tensors) and what pixels it feeds."""

    name: str
    backbone: str
    head: str
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# The authors' own code normalises OpenCV's blue, green, red with ImageNet's red, green, blue values (their issue 73).
PUBLISHERS = (
    Publisher("AlphaPose", "preact.", "", "rgb", fastpose.MEAN, fastpose.STD),
    Publisher("MMPose", "backbone.", "keypoint_head.", "rgb", *_IMAGENET),
    Publisher("MMPose", "backbone.", "head.", "rgb", *_IMAGENET),
    Publisher("its authors", "", "", "bgr", *_IMAGENET),
)


@dataclass(frozen=True)
class Deconv:
    """One transposed convolution of stride 2."""

    channels: int
    kernel: int = 4
    bias: bool = False


@dataclass(frozen=True)
class SimpleBaselineConfig:
    """blocks, bottleneck and width: of the ResNet. kernel: of the last convolution, 1 or 3."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    bottleneck: bool = True
    width: int = 64
    deconvs: tuple[Deconv, ...] = (Deconv(256), Deconv(256), Deconv(256))
    kernel: int = 1
    keypoints: int = 17


TINY = SimpleBaselineConfig((1, 1, 1, 1), bottleneck=False, width=8, deconvs=(Deconv(16), Deconv(16), Deconv(16)))


class SimpleBaseline(nn.Module):
    """(B, 3, H, W) normalised pixels -> (B, keypoints, H/4, W/4) heat maps with the usual three deconvolutions."""

    def __init__(self, config: SimpleBaselineConfig) -> None:
        super().__init__()
        self.preact = ResNet("resnet", config.blocks, bottleneck=config.bottleneck, width=config.width)
        layers: list[nn.Module] = []
        inputs = self.preact.outputs
        for deconv in config.deconvs:
            padding, extra = _PADDINGS[deconv.kernel]
            layers += [
                nn.ConvTranspose2d(inputs, deconv.channels, deconv.kernel, 2, padding, extra, bias=deconv.bias),
                nn.BatchNorm2d(deconv.channels),
                nn.ReLU(),
            ]
            inputs = deconv.channels
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(inputs, config.keypoints, config.kernel, padding=config.kernel // 2)

    def forward(self, x: Any) -> Any:
        x = self.preact(x)  # (B, 8 * width * expansion, H/32, W/32)
        return self.final_layer(self.deconv_layers(x))  # (B, 256, H/4, W/4), (B, keypoints, H/4, W/4)


def reads(path: Path) -> bool:
    """Whether the file is a SimpleBaseline checkpoint. Raises ConversionError for a checkpoint that cannot be read at all."""
    return path.suffix.lower() in SUFFIXES and _publisher(load_state(path)) is not None


def load(path: Path, variant: str | None) -> Source:
    """The checkpoint's network.

    variant: input size as height x width in pixels, multiples of 32; the weights do not tell it. Default 256x192, what most are
    trained with. Raises ConversionError for a checkpoint that does not fit, and for other keypoints than COCO's 17.
    """
    height, width = _size(variant or SIZE)
    network, config, publisher = load_simplebaseline(path)
    fastpose.check_keypoints(path, config.keypoints)
    return Source(
        name="simplebaseline" if height == 256 and width == 192 else f"simplebaseline-{height}x{width}",
        module=network,
        task="pose",
        width_px=width,
        height_px=height,
        colour=publisher.colour,
        mean=publisher.mean,
        std=publisher.std,
        decoder="heatmaps_quarter",
        outputs=("heatmaps",),
        licence="that of the checkpoint",
        training_data="that of the checkpoint",
        provenance=f"{path.name}, sha256 {sha256_of(path)}, SimpleBaseline as published by {publisher.name}",
        padding=fastpose.PADDING,
    )


def load_simplebaseline(path: Path) -> tuple[SimpleBaseline, SimpleBaselineConfig, Publisher]:
    """The network with the checkpoint's weights, in eval mode.

    Raises ConversionError with the differences; they are told in AlphaPose's names.
    """
    state = load_state(path)
    publisher = _publisher(state)
    if publisher is None:
        raise ConversionError(
            f"{path}: is no SimpleBaseline checkpoint: has no conv1.weight of a ResNet with deconv_layers.0.weight, "
            "under none of the names that AlphaPose, MMPose and its authors use"
        )
    state = _renamed(state, publisher)
    config = _detected(path, state)
    with torch.device("meta"):
        network = SimpleBaseline(config)
    fill(network, state, f"{path}: does not fit SimpleBaseline")
    return network, config, publisher


def _publisher(state: State) -> Publisher | None:
    for publisher in PUBLISHERS:
        if f"{publisher.backbone}conv1.weight" in state and f"{publisher.head}deconv_layers.0.weight" in state:
            return publisher
    return None


def _renamed(state: State, publisher: Publisher) -> State:
    """The same tensors under AlphaPose's names."""
    renamed = {}
    for key, value in state.items():
        head = key.removeprefix(publisher.head) if publisher.head else key
        if head.startswith(("deconv_layers.", "final_layer.")):
            renamed[head] = value
        elif key.startswith(publisher.backbone):
            renamed[f"preact.{key.removeprefix(publisher.backbone)}"] = value
        else:
            renamed[key] = value
    return renamed


def _detected(path: Path, state: State) -> SimpleBaselineConfig:
    deconvs: list[Deconv] = []
    while (weight := state.get(f"deconv_layers.{3 * len(deconvs)}.weight")) is not None:
        name, shape = f"deconv_layers.{3 * len(deconvs)}", tuple(weight.shape)
        if weight.ndim != 4 or shape[-1] not in _PADDINGS:
            raise ConversionError(f"{path}: {name}.weight has shape {shape}; kernels of {sorted(_PADDINGS)} are known")
        deconvs.append(Deconv(shape[1], shape[-1], f"{name}.bias" in state))
    first = state["preact.conv1.weight"]
    final = state.get("final_layer.weight", torch.empty(17, deconvs[-1].channels, 1, 1))
    for name, weight in (("the backbone's conv1", first), ("final_layer", final)):
        if weight.ndim != 4:
            shape = tuple(weight.shape)
            raise ConversionError(f"{path}: {name}.weight has shape {shape}; a convolution has (out, in, height, width)")
    if final.shape[-1] % 2 == 0:
        raise ConversionError(
            f"{path}: final_layer.weight has shape {tuple(final.shape)}; an even kernel keeps no heat map's size, 1 and 3 do"
        )
    return SimpleBaselineConfig(
        blocks=blocks_in(state, "preact."),
        bottleneck="preact.layer1.0.conv3.weight" in state,
        width=first.shape[0],
        deconvs=tuple(deconvs),
        kernel=final.shape[-1],
        keypoints=final.shape[0],
    )


def _size(variant: str) -> tuple[int, int]:
    """(height, width) from HxW."""
    match = re.fullmatch(r"(\d+)x(\d+)", variant)
    size = tuple(map(int, match.groups())) if match else ()
    if len(size) != 2 or any(side <= 0 or side % 32 for side in size):
        raise ConversionError(f"variant {variant!r} is no size; give height x width, multiples of 32, as {SIZE}")
    return size[0], size[1]
