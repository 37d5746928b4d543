"""Networks with weights that matter: batch norms that do something and outputs of about 1. Needs PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

TOLERANCE = 1e-5  # of the largest output, or of 1: what float32 leaves of sums in another order


def with_random_weights(network: Any, seed: int = 0) -> Any:
    """The network, in eval mode, its weights and its batch norms' statistics drawn anew."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            fan_in = module.weight[0].numel() if not isinstance(module, nn.ConvTranspose2d) else module.weight.shape[0] * 4
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.3, generator=generator)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return network.eval().requires_grad_(False)


def assert_equal(found: Any, expected: Any) -> None:
    """Equal to 1e-5; works for tensors and arrays."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert expected.size
    scale = max(1.0, float(np.abs(expected).max()))
    assert float(np.abs(found - expected).max()) <= TOLERANCE * scale
