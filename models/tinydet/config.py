"""The configuration of a training run: a TOML file below `configs/`; unknown keys are errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.tinydet.network import CONFIGS as NETWORKS
from models.tinydet.network import TinyDetConfig
from models.training.configs import read_run

FOLDER = Path(__file__).parent / "configs"


class Set(BaseModel):
    """A data set of the mix. share: how often it is drawn, against the others. path: of `coco`, a folder below --data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["scenes", "crops", "lspet", "coco"]
    share: float = Field(1.0, gt=0)
    path: str = ""


class RunConfig(BaseModel):
    """variant: of the network. start: `imagenet`, `random`, or the name of the run whose average is gone on from.

    size_px: (width, height) to train at where it is not the network's: the first steps need no more than half of the pixels.
    until: the step to end at, by default `steps`, which the schedule is made for: a run that another one goes on from.
    frozen: blocks of the trunk that keep their weights. learning_rate: of new layers; `trunk_rate` times that of the trunk's.
    leave_out: sources of people by name, or `none stated`. with_dev: train on the development data too, once all is chosen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    variant: Literal["tinydet-s", "tinydet-m"]
    start: str = "imagenet"
    frozen: int = Field(3, ge=0)
    size_px: tuple[int, int] | None = None
    steps: int = Field(gt=0)
    until: int | None = Field(None, gt=0)
    warmup: int = Field(200, ge=0)
    batch: int = Field(16, gt=0)
    learning_rate: float = Field(1.5e-3, gt=0)
    trunk_rate: float = Field(0.25, ge=0)
    weight_decay: float = Field(0.02, ge=0)
    ema: float = Field(0.998, ge=0, lt=1)
    evaluate_every: int = Field(500, gt=0)
    seed: int = 1
    leave_out: tuple[str, ...] = ()
    with_dev: bool = False
    sets: tuple[Set, ...] = Field(min_length=1)

    @property
    def network(self) -> TinyDetConfig:
        network = NETWORKS[self.variant]
        width_px, height_px = self.size_px or (network.width_px, network.height_px)
        return replace(network, width_px=width_px, height_px=height_px)


def read_config(name: str) -> RunConfig:
    """By the name of a file below `configs/`, or by path. Raises TrainingError naming file, key and fix."""
    return read_run(RunConfig, FOLDER, name)
