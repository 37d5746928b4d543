"""Train TinyPose: `python -m models.tinypose.train --config tinypose-s`.

Plain PyTorch, from top to bottom: read the data, make the network, step, look at the development set, save. The run's
configuration, log and curves go to `models/tinypose/runs/NAME/`, its checkpoints to --work.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn

from models.data.sample import Report
from models.evaluation.coco import AREA_OF_BOX
from models.evaluation.oks import ap_tilde, oks
from models.tinypose.batches import Example, Mix, to_input, upright
from models.tinypose.config import RunConfig, read_config
from models.tinypose.imagenet import load_imagenet
from models.tinypose.network import DepthwiseBlock, TinyPose, layers, settle
from models.tinypose.sets import dev_set, training_sets
from models.tinypose.targets import LOSSES
from models.training.checkpoints import load, save
from models.training.errors import TrainingError
from models.training.parts import groups, listed
from models.training.runs import RunLog
from models.training.schedule import Ema, cosine
from services.pose.decode import DECODERS

RUNS = Path(__file__).parent / "runs"
SAVE_EVERY_S = 120.0
CLIP = 5.0  # of the gradient's norm: a crop that is wrong through and through must not throw the weights about


def train(config: RunConfig, kit: Path, data: Path, work: Path, runs: Path, *, resume: bool = False, stop_at: int = 0) -> Path:
    """Returns the file of the averaged weights, {"network", "config"}; stop_at: end at that step, as if interrupted.

    Raises TrainingError (the loss is not a number, a full disk, another configuration's checkpoint) and DataError.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    report = Report(strict=False)
    sets = training_sets(config, kit, data, report, cache=work / "pictures")
    mix = Mix(sets, (config.width_px, config.height_px), config.augmentation, config.seed)
    dev = dev_set(kit, report)
    print(*(f"{entry.kind} {entry.path}: {len(found)} people" for entry, (_, found) in zip(config.sets, mix.sets, strict=True)))
    print(f"development: {len(dev)} people\n{report}")

    network = new_network(config, work).to(memory_format=torch.channels_last).train()
    if config.start in ("imagenet", "random") or config.keep == "trunk":
        settle_new(network, to_input(mix.batch(2**32 - 1, 64)[1]), trunk=config.start == "random")
    network = network.to(device)
    average = Ema(network, config.ema)
    parts = ((network.neck, 1.0), (network.head, 1.0), (network.trunk, config.trunk_rate))
    parameters = groups(parts, rate=config.learning_rate, decay=config.weight_decay)
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.99), fused=True)
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
    losses: list[float] = []
    end = stop_at or config.until or config.steps
    for step in range(begin, end):
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * cosine(step, config.steps, config.warmup)
        chosen, crops, keypoints = mix.batch(step, config.batch)
        truth = torch.from_numpy(keypoints).to(device)
        with torch.autocast(device, torch.bfloat16):
            outputs = network(to_input(crops, device))
        loss = LOSSES[config.head](outputs, truth, config.network, truth[..., 2])
        if not torch.isfinite(loss):
            those = listed([e.name for e in chosen])
            raise TrainingError(f"step {step}: the loss is {loss.item()}; the batch holds {those}; check them")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        average.update(network)
        losses.append(loss.item())

        last = step + 1 == end
        if (step + 1) % config.evaluate_every == 0 or last:
            row = {"loss": float(np.mean(losses)), "learning_rate": optimiser.param_groups[0]["lr"]}
            row |= evaluate(average.network, config, dev) if dev else {}
            seconds = spent + time.monotonic() - started
            log.add(step=step + 1, seconds=seconds, **row)
            log.draw()
            print(f"step {step + 1}/{end} {seconds:.0f} s", *(f"{k} {v:.4f}" for k, v in row.items()), flush=True)
            losses = []
        if time.monotonic() - saved > SAVE_EVERY_S or last:
            seconds = spent + time.monotonic() - started
            state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            save(checkpoint, state | {"step": step + 1, "seconds": seconds, "config": settings})
            save(weights, {"network": average.network.state_dict(), "config": settings})
            saved = time.monotonic()
    return weights


def new_network(config: RunConfig, work: Path) -> TinyPose:
    """With the start that the configuration names. A run to go on from is looked for in `work`."""
    network = TinyPose(config.network, frozen=config.frozen)
    if config.start == "imagenet":
        load_imagenet(network.trunk)
    elif config.start != "random":
        state = load(work / config.start / "average.pt")["network"]
        mine = network.state_dict()
        wanted = [name for name in mine if config.keep == "all" or name.startswith("trunk.")]
        fits = {name: state[name] for name in wanted if name in state and mine[name].shape == state[name].shape}
        print(f"start: {len(fits)} of {len(mine)} tensors of {config.start}")
        network.load_state_dict(mine | fits)
    return network


def settle_new(network: TinyPose, x: torch.Tensor, *, trunk: bool = False) -> None:
    """Residual branches start small, and the head near 0, where most of a heatmap is to stay. trunk: it is untrained too."""
    blocks = (block for block in network.neck.modules() if isinstance(block, DepthwiseBlock))
    spread: dict[nn.Module, float] = {block.layers[-1]: 0.3 for block in blocks}
    spread |= dict.fromkeys(layers(network.head), 0.05)
    settle(network, network if trunk else nn.ModuleList([network.neck, network.head]), x, spread=spread)


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict(network: TinyPose, config: RunConfig, crops: Any) -> Any:
    """(B, H, W, 3) uint8 RGB -> keypoints (B, 17, 3) in crop pixels, through the decoder that the services use."""
    device = next(network.parameters()).device
    outputs = [output.float().cpu().numpy() for output in network(to_input(crops, device))]
    if config.head == "offsets":
        outputs[1] = outputs[1] * (config.height_px // outputs[1].shape[2])
    boxes = np.tile(np.array([0, 0, config.width_px, config.height_px], np.float32), (len(crops), 1))
    named = dict(zip(network.head.outputs, outputs, strict=True))
    return DECODERS[network.head.decoder](named, (config.width_px, config.height_px), boxes)


def evaluate(network: TinyPose, config: RunConfig, dev: Sequence[Example]) -> dict[str, float]:
    """Mean OKS and AP~ of the people of the development set, each given its box; OKS in crop pixels."""
    found, truth, area = [], [], []
    for part, crops, keypoints in upright(dev, (config.width_px, config.height_px)):
        found.append(predict(network, config, crops))
        truth.append(keypoints)
        for example, crop in zip(part, keypoints, strict=True):
            area.append(_area_in_crop(example, crop))
    values = oks(np.concatenate(found), np.concatenate(truth), np.array(area))
    return {"dev_oks": float(np.nanmean(values)), "dev_ap_tilde": ap_tilde(values)}


def _area_in_crop(example: Example, crop: Any) -> float:
    """The annotation's area, scaled as the crop is: by the ratio of the two keypoint sets' spreads, or of the boxes'."""
    known = crop[:, 2] > 0
    person = example.person
    assert person.keypoints is not None
    box = person.box_xyxy_px
    area = person.area_px or float((box[2] - box[0]) * (box[3] - box[1])) * AREA_OF_BOX
    spread = np.ptp(person.keypoints[known, :2], axis=0).max(), np.ptp(crop[known, :2], axis=0).max()
    return area * float(spread[1] / max(spread[0], 1e-6)) ** 2 if spread[0] > 1 else area


def main(
    config: Annotated[str, typer.Option(help="a name below configs/, or a .toml file")] = "tinypose-s",
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the folder of the training data")] = Path("../shared/kit"),
    data: Annotated[Path, typer.Option(help="the folder of further sets in COCO's layout")] = Path("out/data"),
    work: Annotated[Path, typer.Option(help="the folder of checkpoints")] = Path("out/training"),
    runs: Annotated[Path, typer.Option(help="the folder of logs and curves")] = RUNS,
    resume: Annotated[bool, typer.Option(help="go on after an interruption")] = False,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    torch.set_num_threads(threads)
    print(train(read_config(config), kit, data, work, runs, resume=resume))


if __name__ == "__main__":
    typer.run(main)
