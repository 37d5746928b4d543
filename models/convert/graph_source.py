"""From an imported graph and its manifest to what the converter starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from common.artifact import Artifact, ArtifactError, find_artifact, list_artifacts, read_artifact
from common.manifest import FILENAME
from common.model_store import sha256_of
from common.runtimes import default_size
from models.convert.source import ConversionError, Source

_OWN_KEYS = {"decoder", "width_px", "height_px", "padding"}  # of [pose]: the Source has fields for them


def artifact_of(path: Path, variant: str | None) -> Artifact:
    """The artifact whose manifest tells what the file alone does not: pixels, decoder, licence.

    That is the one that `variant` names, the one whose folder the file lies in, or the built-in one that has this very file.
    """
    try:
        if variant is not None:
            return find_artifact(variant)
        if (path.parent / FILENAME).is_file():
            return read_artifact(path.parent)
    except ArtifactError as error:
        raise ConversionError(f"{path}: {error}") from error
    content = sha256_of(path)
    for artifact in list_artifacts():
        if any(file.sha256 == content for file in artifact.manifest.file):
            return artifact
    raise ConversionError(
        f"{path}: the file does not say how pixels are normalised nor how its outputs are read; put a {FILENAME} beside it, "
        "or name an artifact that has one with --variant (`posebus models list`)"
    )


def input_size(artifact: Artifact) -> tuple[int, int]:
    """(width, height) in pixels that the network is imported for."""
    return default_size(artifact, artifact.tasks[0])


def source_of(artifact: Artifact, module: nn.Module, outputs: tuple[str, ...], *, layout: str) -> Source:
    """The Source of an imported module; checks that it takes the manifest's pictures, alone and in batches.

    layout: of the imported module's input, NHWC or NCHW.
    """
    manifest = artifact.manifest
    task = artifact.tasks[0]
    width, height = input_size(artifact)
    table = getattr(manifest, task)
    module = ChannelsLast(module) if layout == "NHWC" else module
    check_batches(module, artifact.name, (3, height, width))
    chosen = {key: getattr(table, key) for key in sorted(table.model_fields_set - _OWN_KEYS)}
    return Source(
        name=artifact.name,
        module=module,
        task=task,
        width_px=width,
        height_px=height,
        colour=manifest.input.colour,
        mean=manifest.input.mean or (0.0, 0.0, 0.0),
        std=manifest.input.std or (1.0, 1.0, 1.0),
        decoder=table.decoder,
        outputs=outputs,
        licence=manifest.licence,
        training_data=manifest.training_data,
        provenance=manifest.provenance,
        padding=getattr(table, "padding", 1.25),
        options=tuple(chosen.items()),
    )


class ChannelsLast(nn.Module):
    """Gives planes (B, 3, H, W) to a network that takes (B, H, W, 3)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: torch.Tensor) -> Any:
        return self.inner(image.permute(0, 2, 3, 1))


def check_batches(module: nn.Module, name: str, shape: tuple[int, int, int]) -> None:
    """Raise ConversionError unless a batch of two gives what each picture gives alone."""
    both = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        try:
            whole, first, second = (_tuple(module(part)) for part in (both, both[:1], both[1:]))
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise ConversionError(f"{name}: the imported network refuses a batch of two: {error}") from error
    for together, one, two in zip(whole, first, second, strict=True):
        if not one.dim():
            raise ConversionError(f"{name}: an output is a single number whatever the batch; the graph mixes its pictures")
        alone = torch.cat([one, two])
        if together.shape != alone.shape or not torch.allclose(together, alone, rtol=1e-3, atol=1e-4):
            raise ConversionError(f"{name}: a batch of two gives other answers than its pictures alone; the graph mixes them")


def described(module: fx.GraphModule) -> str:
    """What an imported module is made of, `113 Conv2d, 104 mul, ...`, for reports."""
    counts: dict[str, int] = {}
    for node in module.graph.nodes:
        if node.op == "call_module":
            kind = type(module.get_submodule(str(node.target))).__name__
        elif node.op == "call_function":
            kind = getattr(node.target, "__name__", str(node.target))
        else:
            continue
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))


def _tuple(outputs: Any) -> tuple[torch.Tensor, ...]:
    return tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)
