"""Train tinydet: `python -m models.tinydet.train --config tinydet-m`.

Plain PyTorch, from top to bottom: read the data, make the network, step, look at the development sets, save. The run's
configuration, log and curves go to `models/tinydet/runs/NAME/`, its checkpoints to --work.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn

from models.data.sample import Report
from models.tinydet.config import RunConfig, read_config
from models.tinydet.data import Mix, development, tensors, training_mix
from models.tinydet.loss import losses
from models.tinydet.measure import average_precision, detect, quarter_turned
from models.tinydet.network import TinyDet, cells, flat, settle_new, start_from, start_from_imagenet
from models.tinydet.scene import Scene
from models.tinypose.batches import to_input
from models.training.checkpoints import load, save
from models.training.errors import TrainingError
from models.training.parts import groups, listed
from models.training.runs import RunLog
from models.training.schedule import Ema, cosine

RUNS = Path(__file__).parent / "runs"
SAVE_EVERY_S = 120.0
SETTLE_STEP = 2**32 - 1  # a batch that no run comes to
CLIP = 10.0  # of the gradient's norm: a picture that is wrong through and through must not throw the weights about
Dev = Mapping[str, Sequence[Scene]]


def train(config: RunConfig, mix: Mix, dev: Dev, work: Path, runs: Path, *, resume: bool = False, stop_at: int = 0) -> Path:
    """Returns the file of the averaged weights, {"network", "config"}; stop_at: end at that step, as if interrupted.

    Raises TrainingError (the loss is not a number, a full disk, another configuration's checkpoint) and DataError.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    network = new_network(config, work).to(memory_format=torch.channels_last).train()
    if config.start in ("imagenet", "random"):
        settle_new(network, to_input(np.stack([scene.image for scene in mix.batch(SETTLE_STEP, 48)])))
    network = network.to(device)
    average = Ema(network, config.ema)
    slices = ((network.trunk, config.trunk_rate), (network.neck, 1.0), (network.up, 1.0), (network.head, 1.0))
    optimiser = torch.optim.AdamW(groups(slices, rate=config.learning_rate, decay=config.weight_decay), betas=(0.9, 0.99))
    points, strides = (t.to(device) for t in cells(config.network))
    settings = config.model_dump(mode="json")
    checkpoint, weights, begin, spent = work / config.name / "checkpoint.pt", work / config.name / "average.pt", 0, 0.0
    if resume:
        state = load(checkpoint, settings)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        begin, spent = state["step"], state["seconds"]
    log = RunLog(runs / config.name, settings, resume_at=begin)

    started = saved = time.monotonic()
    row: dict[str, list[float]] = {"loss": [], "score_loss": [], "box_loss": [], "cells": []}
    end = stop_at or config.until or config.steps
    for step in range(begin, end):
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * cosine(step, config.steps, config.warmup)
        scenes = mix.batch(step, config.batch)
        people, ignored = ([boxes.to(device) for boxes in part] for part in tensors(scenes))
        with torch.autocast(device, torch.bfloat16):
            outputs = network(to_input(np.stack([scene.image for scene in scenes]), device))
        parts = losses(*flat(outputs), points, strides, people, ignored)
        if not torch.isfinite(parts.total):
            those = listed([s.name for s in scenes])
            raise TrainingError(f"step {step}: the loss is {parts.total.item()}; the batch holds {those}; check them")
        optimiser.zero_grad(set_to_none=True)
        parts.total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        average.update(network)
        for name, value in zip(row, (parts.total, parts.score, parts.box, parts.cells), strict=True):
            row[name].append(float(value.detach() if isinstance(value, torch.Tensor) else value))

        last = step + 1 == end
        if (step + 1) % config.evaluate_every == 0 or last:
            means = {name: float(np.mean(values)) for name, values in row.items()}
            means |= {"learning_rate": optimiser.param_groups[0]["lr"]} | evaluate(average.network, dev)
            seconds = spent + time.monotonic() - started
            log.add(step=step + 1, seconds=seconds, **means)
            log.draw()
            print(f"step {step + 1}/{end} {seconds:.0f} s", *(f"{k} {v:.4f}" for k, v in means.items()), flush=True)
            row = {name: [] for name in row}
        if time.monotonic() - saved > SAVE_EVERY_S or last:
            seconds = spent + time.monotonic() - started
            state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            save(checkpoint, state | {"step": step + 1, "seconds": seconds, "config": settings})
            save(weights, {"network": average.network.state_dict(), "config": settings})
            saved = time.monotonic()
    return weights


def new_network(config: RunConfig, work: Path) -> TinyDet:
    """With the start that the configuration names. A run to go on from is looked for in `work`."""
    network = TinyDet(config.network, frozen=config.frozen)
    if config.start == "imagenet":
        start_from_imagenet(network)
    elif config.start != "random":
        state = load(work / config.start / "average.pt")
        donor = TinyDet(RunConfig(**state["config"]).network)
        donor.load_state_dict(state["network"])
        print(f"start: {start_from(network, donor)} of {len(network.state_dict())} tensors of {config.start}")
    return network


def evaluate(network: TinyDet, dev: Dev) -> dict[str, float]:
    """AP50 of each development set, and with its pictures turned by 90 degrees: of people who lie, as far as turning goes."""
    found = {}
    for name, scenes in dev.items():
        found[f"{name}_ap50"] = average_precision(detect(network, scenes), scenes)
        turned = [quarter_turned(scene) for scene in scenes]
        found[f"{name}_turned_ap50"] = average_precision(detect(network, turned), turned)
    return found


def main(
    config: Annotated[str, typer.Option(help="a name below configs/, or a .toml file")] = "tinydet-m",
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the folder of the training data")] = Path("../shared/kit"),
    data: Annotated[Path, typer.Option(help="the folder of further sets in COCO's layout")] = Path("out/data"),
    work: Annotated[Path, typer.Option(help="the folder of checkpoints")] = Path("out/training"),
    runs: Annotated[Path, typer.Option(help="the folder of logs and curves")] = RUNS,
    resume: Annotated[bool, typer.Option(help="go on after an interruption")] = False,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    torch.set_num_threads(threads)
    settings = read_config(config)
    report = Report(strict=False)
    mix, dev = training_mix(settings, kit, data, report), development(kit, report)
    print(*(f"{s.kind} {s.path}: {len(found)} pictures" for s, found in zip(settings.sets, mix.sets, strict=True)), sep="\n")
    print(*(f"development, {name}: {len(scenes)} pictures" for name, scenes in dev.items()), report, sep="\n")
    print(train(settings, mix, dev, work, runs, resume=resume))


if __name__ == "__main__":
    typer.run(main)
