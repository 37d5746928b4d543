"""The configuration of a training run: a TOML file below `configs/`; unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.tinypose.augment import Augmentation
from models.tinypose.network import Head, TinyPoseConfig
from models.training.configs import read_run

CONFIGS = Path(__file__).parent / "configs"


class Set(BaseModel):
    """A data set of the mix. share: how often it is drawn, against the others. path: of `coco` and `scenes`, below --data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["people", "lsp", "coco", "scenes"]
    share: float = Field(1.0, gt=0)
    path: str = ""
    leave_out: tuple[str, ...] = ()


class RunConfig(BaseModel):
    """start: `imagenet`, `random`, or the name of the run whose average is gone on from (layers of other shapes start anew).
    keep: of that run, all of it or its trunk only.

    until: the step to end at, by default `steps`, which the schedule is made for: a run that another one goes on from.
    known: people with fewer known keypoints are left out. part: of the people, to see what more of them would bring.
    frozen: blocks of the trunk that keep their weights. learning_rate: of new layers; `trunk_rate` times that of the trunk's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    width_px: int = Field(gt=0, multiple_of=16)
    height_px: int = Field(gt=0, multiple_of=16)
    head: Head = "heatmaps"
    neck: int = Field(64, gt=0, multiple_of=8)
    blocks: int = Field(1, gt=0)
    start: str = "imagenet"
    keep: Literal["all", "trunk"] = "all"
    frozen: int = Field(5, ge=0)
    steps: int = Field(gt=0)
    until: int | None = Field(None, gt=0)
    known: int = Field(3, gt=0)
    part: float = Field(1.0, gt=0, le=1)
    warmup: int = Field(200, ge=0)
    batch: int = Field(32, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    trunk_rate: float = Field(0.25, ge=0)
    weight_decay: float = Field(0.02, ge=0)
    ema: float = Field(0.998, ge=0, lt=1)
    evaluate_every: int = Field(500, gt=0)
    seed: int = 1
    augmentation: Augmentation = Augmentation()
    sets: tuple[Set, ...] = Field(min_length=1)

    @property
    def network(self) -> TinyPoseConfig:
        return TinyPoseConfig(self.name, self.width_px, self.height_px, self.head, self.neck, self.blocks)


def read_config(name: str) -> RunConfig:
    """By the name of a file below `configs/`, or by path. Raises TrainingError naming file, key and fix."""
    return read_run(RunConfig, CONFIGS, name)
