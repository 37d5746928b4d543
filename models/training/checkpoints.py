"""Checkpoints that survive a power cut, and a run that goes on from them exactly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from models.training.errors import TrainingError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside `path`, flush to the disk, then rename: `path` is the old or the new one, never half of one.

    Raises TrainingError where it cannot be written (a full disk, say); the old one stays.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch's zip writer says RuntimeError for a full disk
        part.unlink(missing_ok=True)
        raise TrainingError(f"checkpoint {path} cannot be written ({error}); free space, then --resume") from error


def load(path: Path, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """Raises TrainingError where there is none, where it is damaged, or where it belongs to another configuration."""
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint {path}; start without --resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        why = f"{type(error).__name__}: {error}"
        raise TrainingError(f"checkpoint {path} is damaged ({why}); delete it and start anew") from error
    if not isinstance(state, dict) or not isinstance(state.get("config"), dict):
        raise TrainingError(f"{path} is no checkpoint of a training run of ours: it holds no configuration; give another file")
    mine, its = config or state["config"], state["config"]
    if other := [k for k in sorted(mine.keys() | its.keys()) if mine.get(k) != its.get(k)]:
        changed = ", ".join(f"{k}: {its.get(k)!r} -> {mine.get(k)!r}" for k in other)
        raise TrainingError(f"checkpoint {path} is of another configuration ({changed}); give another --out or start anew")
    return state
