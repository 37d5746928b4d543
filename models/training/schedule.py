"""How large a step is, and the average of the weights that is shipped."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn


def cosine(step: int, steps: int, warmup: int, end: float = 0.01) -> float:
    """The factor of the learning rate at `step` of `steps`: a linear rise over `warmup`, then half a cosine down to `end`."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Ema:
    """The exponential moving average of a network's weights: what is evaluated and shipped.

    decay: of the average at the end; in the first steps it is (1 + step) / (10 + step), so that the start is forgotten soon.
    """

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.step = decay, 0

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, network: nn.Module) -> None:
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            mine.lerp_(theirs, 1 - decay) if mine.is_floating_point() else mine.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.step = state["step"]
