"""What the loops of both trainers share beside the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn


def groups(parts: Iterable[tuple[nn.Module, float]], *, rate: float, decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: each part learns at its share of `rate`; scales and biases do not decay.

    `base` is the rate at the height of the schedule, which `lr` follows.
    """
    out = []
    for module, share in parts:
        for flat in (False, True):
            chosen = [p for p in module.parameters() if p.requires_grad and (p.ndim == 1) == flat]
            lr = rate * share
            out.append({"params": chosen, "base": lr, "lr": lr, "weight_decay": 0.0 if flat else decay})
    return [group for group in out if group["params"]]


def listed(names: Sequence[str]) -> str:
    """The first eight, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
