"""What every rewrite is held to. Needs PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.convert.rewrite import rewrite
from tests.models.fastpose.random_weights import assert_equal

FOREIGN = (nn.ConvTranspose2d, nn.PixelShuffle, nn.PixelUnshuffle)


def assert_rewritten(network: Any, x: Any, target: Any = "edgetpu") -> tuple[Any, list[str]]:
    """Rewrite, check that it is equal, alone and in a batch, and that nothing foreign is left."""
    rewritten, changes = rewrite(network, target, x[:1])
    assert_equal(rewritten(x), network(x))
    if target in ("edgetpu", "tflite"):
        assert not [name for name, module in rewritten.named_modules() if isinstance(module, FOREIGN)]
    return rewritten, [str(change) for change in changes]


def macs(network: Any, x: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops() // 2
