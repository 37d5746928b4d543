"""What more people would bring: `python -m models.tinypose.learning_curve`.

The same short run at 128 x 96 with an eighth, a quarter, half and all of the people of each set; OKS and AP~ on people whom
none of them trains on. Writes `runs/learning-curve/log.csv` and its curves, over the number of people.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.data.sample import Report
from models.tinypose.config import RunConfig, read_config
from models.tinypose.sets import training_sets
from models.tinypose.train import RUNS, train
from models.training.runs import LOG, RunLog

PARTS = (0.125, 0.25, 0.5, 1.0)


def short(part: float, steps: int) -> RunConfig:
    """Like tinypose-base, but from ImageNet, shorter, and with a part of the people."""
    changes = {"name": f"part-{part:g}", "start": "imagenet", "steps": steps, "evaluate_every": steps, "part": part}
    return read_config("tinypose-base").model_copy(update=changes)


def curve(kit: Path, data: Path, work: Path, runs: Path, *, steps: int) -> None:
    """Train and note each part; a run that is finished already is taken as it is."""
    log = RunLog(runs / "learning-curve", short(1.0, steps).model_dump(mode="json"))
    for part in PARTS:
        config = short(part, steps)
        people = sum(len(found) for _, found in training_sets(config, kit, data, Report(strict=False), cache=work / "pictures"))
        done = work / "learning-curve" / config.name / LOG
        if not done.is_file():
            train(config, kit, data, work, work / "learning-curve-now")
            done.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(work / "learning-curve-now" / config.name / LOG, done)
        with done.open(newline="", encoding="utf-8") as file:
            row = [{key: float(value) for key, value in each.items()} for each in csv.DictReader(file)][-1]
        log.add(step=people, **{key: row[key] for key in ("loss", "dev_oks", "dev_ap_tilde", "seconds")})
        log.draw()
        print(f"{people} people", *(f"{key} {row[key]:.4f}" for key in ("loss", "dev_oks", "dev_ap_tilde")), flush=True)


def main(
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the folder of the training data")] = Path("../shared/kit"),
    data: Annotated[Path, typer.Option(help="the folder of further sets in COCO's layout")] = Path("out/data"),
    work: Annotated[Path, typer.Option(help="the folder of checkpoints")] = Path("out/training"),
    runs: Annotated[Path, typer.Option(help="the folder of logs and curves")] = RUNS,
    steps: Annotated[int, typer.Option(min=1)] = 2500,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    torch.set_num_threads(threads)
    curve(kit, data, work, runs, steps=steps)


if __name__ == "__main__":
    typer.run(main)
