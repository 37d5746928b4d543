"""Make a trained network fit for int8: `python -m models.ship.qat out/training/tinypose-s/average.pt`.

For where the converter's own means (equal channels, chosen ranges, corrected biases) lose more than .01 OKS. The network goes
on learning with its weights and activations rounded as int8 rounds them; what it learns is to answer like itself before, in
floats: that needs no labels, and cannot drift to other ones.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn

from models.ship.trained import Pictures, Trained, read_trained
from models.tinypose.batches import to_input
from models.training.checkpoints import save
from models.training.errors import TrainingError
from models.training.fake_quant import fake_quantised, ranges, real
from models.training.runs import RunLog
from models.training.schedule import cosine

LOOKS = 10  # batches that give ranges before the first step: with none, the first steps undo what training has learned
RANGES_FIXED = 0.7  # of the steps: then ranges stay, and weights settle into them
CLIP = 1.0
REPORT_EVERY = 25


def quantise_aware(
    trained: Trained, pictures: Pictures, *, steps: int = 300, batch: int = 16, rate: float = 1e-4, log: RunLog | None = None
) -> nn.Module:
    """The network, trained in place for so many steps. Raises TrainingError where the loss is not a number."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = trained.network.to(device=device, memory_format=torch.channels_last)
    teacher = copy.deepcopy(network).eval().requires_grad_(False)
    rounding = fake_quantised(network).train()
    with torch.no_grad():
        for step in range(LOOKS):
            rounding(to_input(pictures(step, batch), device))
    weights = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=rate, betas=(0.9, 0.99))
    losses: list[float] = []
    started = time.monotonic()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * cosine(step, steps, min(20, max(1, steps // 10)))
        for found in ranges(rounding):
            found.learns = step < RANGES_FIXED * steps
        x = to_input(pictures(LOOKS + step, batch), device)
        with torch.no_grad():
            right = teacher(x)
        loss = trained.unlike(rounding(x), right)
        if not torch.isfinite(loss):
            raise TrainingError(f"step {step}: the loss is {loss.item()}; lower --rate (now {rate})")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, CLIP)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps:
            print(f"int8: step {step + 1}/{steps} unlike the float network by {np.mean(losses):.4f}", flush=True)
            if log is not None:
                seconds, lr = time.monotonic() - started, optimiser.param_groups[0]["lr"]
                log.add(step=step + 1, seconds=seconds, unlike=float(np.mean(losses)), learning_rate=lr)
            losses = []
    return real(network).eval()


def fine_tune(
    weights: Path, target: Path, kit: Path, data: Path, *, steps: int = 300, batch: int = 16, rate: float = 1e-4,
    runs: Path | None = None,
) -> Path:  # fmt: skip
    """From average.pt of a run to a file that is the same but for its weights; a log and curves beside those of the run."""
    trained = read_trained(weights, runs)
    torch.manual_seed(trained.config.seed)
    settings = {"weights": weights.name, "run": trained.config.name, "steps": steps, "batch": batch, "rate": rate}
    log = RunLog(trained.runs / "int8", settings)
    network = quantise_aware(trained, trained.pictures(kit, data), steps=steps, batch=batch, rate=rate, log=log)
    log.draw()
    save(target, {"network": network.cpu().state_dict(), "config": trained.settings, "int8": settings})
    return target


def main(
    weights: Annotated[Path, typer.Argument(help="average.pt of a run")],
    out: Annotated[Path | None, typer.Option(help="default: int8.pt beside it")] = None,
    steps: Annotated[int, typer.Option(min=1)] = 300,
    batch: Annotated[int, typer.Option(min=1)] = 16,
    rate: Annotated[float, typer.Option(help="learning rate at its highest")] = 1e-4,
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the folder of the training data")] = Path("../shared/kit"),
    data: Annotated[Path, typer.Option(help="the folder of further sets in COCO's layout")] = Path("out/data"),
    runs: Annotated[Path | None, typer.Option(help="the folder of logs; default: runs/ of the network's package")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    torch.set_num_threads(threads)
    print(fine_tune(weights, out or weights.with_name("int8.pt"), kit, data, steps=steps, batch=batch, rate=rate, runs=runs))


if __name__ == "__main__":
    typer.run(main)
