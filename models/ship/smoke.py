"""`make train-smoke`: both networks from data to shipped files, small and fast, by the code that made the shipped weights.

Trains on a few dozen drawn figures, is interrupted and goes on, fine-tunes for int8, exports, compares, checks the devices,
evaluates, and writes manifest and card. Fails, with exit code 1, where any of it does, or where nothing was learned.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from common.artifact import read_artifact, verify
from common.manifest import ModelError
from models.data.sample import Report
from models.ship.figures import write_figures
from models.ship.measure import Rows
from models.ship.qat import fine_tune
from models.ship.run import ship
from models.ship.weights import load_weights, training_weights
from models.tinydet import train as tinydet
from models.tinydet.config import RunConfig as DetConfig
from models.tinydet.config import Set as DetSet
from models.tinydet.data import training_mix
from models.tinypose import train as tinypose
from models.tinypose.config import RunConfig as PoseConfig
from models.tinypose.config import Set as PoseSet
from models.training.errors import TrainingError

FIGURES, FIGURES_COUNT = "figures", 36
NO_KIT = Path("no-kit")  # nothing of it is used
LEARNED = {"oks": 0.1, "ap50": 0.1}  # what chance does not reach: OKS of an untrained network is 0.00, its AP50 0.00
FLOATS_DIFFER = 0.02  # between files that compute the same
POSE = PoseConfig(
    name="smoke-tinypose", width_px=96, height_px=128, neck=32, frozen=0, steps=120, warmup=10, batch=16, ema=0.95,
    evaluate_every=60, sets=(PoseSet(kind="coco", path=FIGURES),),
)  # fmt: skip
DET = DetConfig(
    name="smoke-tinydet", variant="tinydet-s", size_px=(224, 224), frozen=3, steps=160, warmup=10, batch=8, learning_rate=3e-3,
    ema=0.95, evaluate_every=80, sets=(DetSet(kind="coco", path=FIGURES),),
)  # fmt: skip


def train_pose(data: Path, work: Path, *, stop_at: int = 0, resume: bool = False) -> Path:
    return tinypose.train(POSE, NO_KIT, data, work, work / "runs", resume=resume, stop_at=stop_at)


def train_det(data: Path, work: Path, *, stop_at: int = 0, resume: bool = False) -> Path:
    mix = training_mix(DET, NO_KIT, data, Report())
    return tinydet.train(DET, mix, {}, work, work / "runs", resume=resume, stop_at=stop_at)


def smoke(work: Path, *, threads: int = 2) -> dict[str, Rows]:
    """Returns the numbers of both networks. Raises ModelError or DataError where anything fails."""
    data = work / "data"
    write_figures(data / FIGURES, FIGURES_COUNT, seed=1)
    held = write_figures(work / "held", 16, seed=2)
    found = {}
    for name, config, train in (("smoke-tinypose", POSE, train_pose), ("smoke-tinydet", DET, train_det)):
        started = time.monotonic()
        train(data, work, stop_at=config.steps // 2)
        weights = train(data, work, resume=True)
        fine = fine_tune(
            weights, weights.with_name("int8.pt"), NO_KIT, data, steps=15, batch=4, rate=5e-5, runs=work / "runs"
        )
        rows = ship(
            name, fine, work / "zoo" / name, kit=NO_KIT, data=data, coco=held, beside=[], calibration=24, check=FIGURES_COUNT,
            max_lost=0.1, threads=threads, runs=work / "runs", trial=True,
        )  # fmt: skip
        _inspect(work / "zoo" / name, rows)
        found[name] = rows
        print(f"{name}: good, {time.monotonic() - started:.0f} s", flush=True)
    return found


def _inspect(folder: Path, rows: Rows) -> None:
    artifact = read_artifact(folder)
    verify(artifact)
    load_weights(training_weights(artifact))
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for file in artifact.manifest.file:
        if file.path not in card:
            raise ModelError(f"{folder}: the model card does not name {file.path}")
    metric = next(key for key in LEARNED if key in next(iter(rows.values())))
    for name, row in rows.items():
        value: Any = row[metric]
        if value is None or value < LEARNED[metric]:
            raise TrainingError(f"{name} has learned nothing: {metric} {value}, at least {LEARNED[metric]} is expected")
    floats = [row[metric] for row in rows.values() if row["precision"].startswith("float")]
    if max(floats) - min(floats) > FLOATS_DIFFER:
        raise ModelError(f"{folder}: the float files differ: {metric} {floats}, by at most {FLOATS_DIFFER} they may")


def main(
    work: Annotated[Path, typer.Option(help="the folder of everything that is made; emptied first")] = Path("out/train-smoke"),
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    torch.set_num_threads(threads)
    shutil.rmtree(work, ignore_errors=True)
    try:
        smoke(work, threads=threads)
    except (ModelError, ValueError, OSError) as error:
        print(f"error: {error}")
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
