"""What more people would bring: `python -m models.tinypose.learning_curve`.

The same short run with an eighth, a quarter, half and all of the people of each set; OKS and AP~ on people whom none of them
trains on. Writes `runs/learning-curve/`: one row for each part, over the number of people.
"""

from __future__ import annotations

import csv
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


def curve(config: RunConfig, kit: Path, data: Path, work: Path, runs: Path) -> None:
    """Train the run once for each part. kit, data, work, runs: as for `train`."""
    log = RunLog(runs / "learning-curve", config.model_dump(mode="json"))
    for part in PARTS:
        run = config.model_copy(update={"name": f"part-{part:g}", "part": part})
        people = sum(len(found) for _, found in training_sets(run, kit, data, Report(strict=False), cache=work / "pictures"))
        train(run, kit, data, work, work / "learning-curve")
        with (work / "learning-curve" / run.name / LOG).open(newline="", encoding="utf-8") as file:
            last = {key: float(value) for key, value in list(csv.DictReader(file))[-1].items()}
        log.add(**last | {"step": people})
        log.draw()
        print(f"{people} people", *(f"{key} {value:.4f}" for key, value in last.items()), flush=True)


def main(
    config: Annotated[str, typer.Option(help="a name below configs/, or a .toml file")] = "tinypose-base",
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the folder of the training data")] = Path("../shared/kit"),
    data: Annotated[Path, typer.Option(help="the folder of further sets in COCO's layout")] = Path("out/data"),
    work: Annotated[Path, typer.Option(help="the folder of checkpoints")] = Path("out/training"),
    runs: Annotated[Path, typer.Option(help="the folder of logs and curves")] = RUNS,
    steps: Annotated[int, typer.Option(min=1)] = 2500,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    torch.set_num_threads(threads)
    changes = {"start": "imagenet", "steps": steps, "evaluate_every": steps}
    curve(read_config(config).model_copy(update=changes), kit, data, work, runs)


if __name__ == "__main__":
    typer.run(main)
