"""A finished training run, of whichever network: what quantising, converting and shipping need of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.data.sample import Report
from models.tinydet import config as tinydet_config
from models.tinydet import train as tinydet_train
from models.tinydet.data import training_mix
from models.tinydet.network import TinyDet, cells, flat
from models.tinypose import config as tinypose_config
from models.tinypose import train as tinypose_train
from models.tinypose.batches import Mix
from models.tinypose.network import TinyPose
from models.tinypose.sets import training_sets
from models.training.checkpoints import load
from models.training.errors import TrainingError

Kind = Literal["tinypose", "tinydet"]
Outputs = tuple[Tensor, ...]
Pictures = Callable[[int, int], NDArray[np.uint8]]
Likeness = Callable[[Outputs, Outputs], Tensor]


@dataclass(frozen=True)
class Trained:
    """network: with the averaged weights. runs: the folder of the run's log and curves. quantised: by models.ship.qat.

    unlike: how far the network's outputs are from another's, a scalar; where nobody is, only scores count.
    """

    kind: Kind
    config: Any
    settings: dict[str, Any]
    network: nn.Module
    runs: Path
    unlike: Likeness
    quantised: bool = False

    def pictures(self, kit: Path, data: Path) -> Pictures:
        """(step, count) -> what the network was trained on at that step, (count, H, W, 3) uint8 RGB, changed as it was then."""
        report = Report(strict=False)
        if self.kind == "tinypose":
            size = (self.config.width_px, self.config.height_px)
            poses = Mix(training_sets(self.config, kit, data, report), size, self.config.augmentation, self.config.seed)
            return lambda step, count: poses.batch(step, count)[1]
        scenes = training_mix(self.config, kit, data, report)
        return lambda step, count: np.stack([scene.image for scene in scenes.batch(step, count)])


def read_trained(path: Path, runs: Path | None = None) -> Trained:
    """average.pt of a run of either network. runs: the folder of logs, by default the network's own. Raises TrainingError."""
    state = load(path)
    settings: dict[str, Any] = state["config"] if isinstance(state.get("config"), dict) else {}
    if {"head", "neck"} <= settings.keys():
        pose = tinypose_config.RunConfig(**settings)
        network: nn.Module = TinyPose(pose.network, frozen=pose.frozen)
        kind: Kind = "tinypose"
        made: Any = (pose, (runs or tinypose_train.RUNS) / pose.name, _pose_unlike(pose.head))
    elif {"variant", "frozen"} <= settings.keys():
        det = tinydet_config.RunConfig(**settings)
        network, kind = TinyDet(det.network, frozen=det.frozen), "tinydet"
        made = (det, (runs or tinydet_train.RUNS) / det.name, _det_unlike(cells(det.network)[1]))
    else:
        raise TrainingError(f"{path} is of no known network; give average.pt of `python -m models.tinypose.train` or tinydet's")
    network.load_state_dict(state["network"])
    config, log, unlike = made
    return Trained(kind, config, settings, network, log, unlike, quantised="int8" in state)


def _pose_unlike(head: str) -> Likeness:
    def heat(mine: Tensor, theirs: Tensor) -> Tensor:
        """As the training counts: cells near keypoints more."""
        return ((mine - theirs) ** 2 * (1 + 8 * theirs.clamp(0, 1))).sum(dim=(2, 3)).mean()

    def offsets(mine: Outputs, theirs: Outputs) -> Tensor:
        near = theirs[0].clamp(0, 1).repeat(1, 2, 1, 1)
        vectors = (F.smooth_l1_loss(mine[1], theirs[1], reduction="none", beta=0.1) * near).sum() / near.sum().clamp(min=1)
        return heat(mine[0], theirs[0]) + vectors

    def simcc(mine: Outputs, theirs: Outputs) -> Tensor:
        pairs = zip(mine, theirs, strict=True)
        return sum((F.kl_div(m.log_softmax(-1), t.log_softmax(-1), log_target=True, reduction="none").sum(-1).mean()
                    for m, t in pairs), torch.zeros(()))  # fmt: skip

    return {"heatmaps": lambda mine, theirs: heat(mine[0], theirs[0]), "offsets": offsets, "simcc": simcc}[head]


def _det_unlike(strides: Tensor) -> Likeness:
    def unlike(mine: Outputs, theirs: Outputs) -> Tensor:
        """Binary cross-entropy of the scores above what it is at best, and distances in cells where there is somebody."""
        (logits, distances), (right, sides) = flat(mine), flat(theirs)
        score = right.sigmoid()
        people = score.sum().clamp(min=1)
        cross = F.binary_cross_entropy_with_logits(logits, score, reduction="sum")
        least = F.binary_cross_entropy_with_logits(right, score, reduction="sum")
        boxes = (distances - sides).abs().mean(-1) / strides.to(score.device)
        return (cross - least + (boxes * score).sum()) / people

    return unlike
