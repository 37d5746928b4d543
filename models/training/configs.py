"""Reading the configuration of a run: a TOML file, checked; unknown keys are errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from models.training.errors import TrainingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Config = TypeVar("Config", bound=BaseModel)


def read_run(kind: type[Config], folder: Path, name: str) -> Config:
    """By the name of a file in `folder`, or by path. Raises TrainingError naming file, key and fix."""
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    try:
        return kind(**tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        there = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise TrainingError(f"there is no configuration {path}; there are {there}, or give the path of a .toml file") from error
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"{path}: {key}: {first['msg']} (got {first.get('input')!r})") from error
