"""Weights for going on with training: `weights.npz` beside the manifest, float16, with the configuration of the run.

NumPy's own format: it needs no PyTorch to be read, holds numbers only, and runs no code when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.artifact import Artifact
from common.manifest import ModelError
from common.model_store import fetch

FILE = "weights.npz"
_CONFIG = "config.json"


def save_weights(path: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """state: name -> tensor of PyTorch, on the CPU. Raises ModelError for numbers that float16 does not hold."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        array = np.asarray(value.numpy())
        with np.errstate(over="ignore"):
            arrays[name] = array.astype(np.float16) if array.dtype == np.float32 else array
        if not np.isfinite(arrays[name]).all():
            raise ModelError(f"{name} of the network reaches {np.abs(array).max():.3g}; train it again")
    text = np.frombuffer(json.dumps(dict(config)).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **{_CONFIG: text})


def load_weights(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The state, float32, and the run's configuration. Raises ModelError for a file that is something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        config = json.loads(arrays.pop(_CONFIG).tobytes())
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} holds no weights of a run: {error}; restore it from the release") from error
    return {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in arrays.items()}, config


def training_weights(artifact: Artifact) -> Path:
    """The file of an artifact, its SHA-256 checked. Raises ModelError for one that has none."""
    if artifact.manifest.training is None:
        raise ModelError(f"artifact {artifact.name!r} has no weights to go on from; take one with a table [training]")
    return fetch(artifact.manifest.training, owner=artifact.name, folder=artifact.folder)
