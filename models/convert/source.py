"""What a conversion starts from: a PyTorch network and all that its manifest must say."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.manifest import ModelError, Task

__all__ = ["LOADERS", "ConversionError", "Source", "load_source"]


class ConversionError(ModelError):
    """A network that cannot be read, converted or trusted after it. The message names culprit and fix."""


@dataclass(frozen=True)
class Source:
    """A network in PyTorch, in eval mode, float32.

    module: takes (B, 3, height_px, width_px) float32 in `colour` order, normalised as (pixel - mean) / std with pixels 0..255,
    and returns one tensor or a tuple of them, one for each of `outputs`, batch first.
    padding: pose only, crop side / box side. options: further keys of the manifest's table of the task.
    """

    name: str
    module: Any  # torch.nn.Module; torch has no types here
    task: Task
    width_px: int
    height_px: int
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    decoder: str
    outputs: tuple[str, ...]
    licence: str
    training_data: str
    provenance: str
    padding: float = 1.25
    options: tuple[tuple[str, str | float | int], ...] = ()


Loader = Callable[[Path, str | None], Source]
# Kind of network -> module with `load(path, variant) -> Source`; imported on demand, as all need torch. The first whose
# `reads(path) -> bool` says so is taken where no kind is given.
LOADERS: dict[str, str] = {
    "tinydet": "models.tinydet.source",
    "tinypose": "models.tinypose.source",
    "fastpose": "models.fastpose.source",
    "simplebaseline": "models.fastpose.simplebaseline",
    "onnx": "models.convert.from_onnx",
    "openvino": "models.convert.from_openvino",
}


def load_source(path: Path, kind: str | None = None, variant: str | None = None) -> Source:
    """Read a network.

    kind: a key of LOADERS, by default the first that reads such a file; variant: which of the kind's configurations, by
    default the one that the file fits. Raises ConversionError naming file, reason and fix.
    """
    if not path.is_file():
        raise ConversionError(f"{path} does not exist; give a checkpoint (.pth), an .onnx or an OpenVINO .xml")
    if kind is not None and kind not in LOADERS:
        raise ConversionError(f"network {kind!r} is not known; choose one of {', '.join(LOADERS)}")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ConversionError("conversion needs PyTorch; run `pip install posebus[convert]`") from error
    for name in [kind] if kind else list(LOADERS):
        module: Any = importlib.import_module(LOADERS[name])
        if kind or module.reads(path):
            source: Source = module.load(path, variant)
            return source
    raise ConversionError(f"{path}: no network reads this file; name one of {', '.join(LOADERS)} with --network")
