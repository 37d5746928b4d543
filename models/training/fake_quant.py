"""A network that computes as its int8 file will: weights and activations rounded to 8 bits, and gradients as if they were not.

Per channel symmetric weights and per tensor asymmetric activations, as TFLite's int8 has them; the gradient of rounding is
taken as 1 inside the range and 0 outside (straight-through: Bengio et al., arXiv:1308.3432; Jacob et al., CVPR 2018).
Activations are rounded where the file keeps them: behind a layer with its fused ReLU, and behind a sum.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from models.tinypose.network import ConvNorm

LEVELS = 127
FUSED = (F.relu, F.relu6)
SLOWNESS = 0.95  # of a range's moving average: the mean extremes of 20 batches, as the converter takes those of its pictures


class FakeWeights(nn.Module):
    """One scale for each output channel; -127..127. ConvNorm's own scale, a factor a channel, changes nothing of it."""

    def forward(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            step = weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=1e-8) / LEVELS
            zero = torch.zeros(len(step), dtype=torch.int32, device=step.device)
        return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -LEVELS, LEVELS)


class FakeActivation(nn.Module):
    """256 levels between the moving averages of the extremes, which contain 0. `learns`: whether they still move."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.learns = True
        self.register_buffer("low", torch.tensor(float("inf")))
        self.register_buffer("high", torch.tensor(float("-inf")))

    def forward(self, x: Tensor) -> Tensor:
        if self.learns:
            self._look(x.detach())
        step = ((self.high - self.low) / 255).clamp(min=1e-8)
        zero = (-128 - torch.round(self.low / step)).clamp(-128, 127).int()
        return torch.fake_quantize_per_tensor_affine(x.float(), step, zero, -128, 127)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _look(self, x: Tensor) -> None:
        low, high = (value.float() for value in torch.aminmax(x))
        low, high = low.clamp(max=0), high.clamp(min=0)
        if torch.isinf(self.low):
            self.low.copy_(low)
            self.high.copy_(high)
        else:
            self.low.lerp_(low, 1 - SLOWNESS)
            self.high.lerp_(high, 1 - SLOWNESS)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, ConvNorm) or super().is_leaf_module(m, module_qualified_name)


def fake_quantised(network: nn.Module) -> fx.GraphModule:
    """The same network, its parameters shared, rounding like int8.

    It is made of `ConvNorm`, sums, resizing and ReLU6, as TinyPose and tinydet are. Call `real` when it is trained.
    """
    graph = _Tracer().trace(network)
    module = fx.GraphModule(network, graph)
    for node in list(graph.nodes):
        if _kept(module, node):
            name = f"range_{node.name}"
            module.add_submodule(name, FakeActivation())
            with graph.inserting_after(node):
                rounded = graph.call_module(name, (node,))
            node.replace_all_uses_with(rounded, delete_user_cb=lambda user, made=rounded: user is not made)
    for layer in module.modules():
        if isinstance(layer, ConvNorm):
            parametrize.register_parametrization(layer, "weight", FakeWeights())
    graph.lint()
    module.recompile()
    return module


def _kept(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the file keeps this tensor; what only a ReLU reads is never written, and a resize keeps its input's range."""
    if len(node.users) == 1 and next(iter(node.users)).target in FUSED:
        return False
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), ConvNorm)
    return node.op == "placeholder" or (node.op == "call_function" and node.target in (operator.add, *FUSED))


def ranges(module: nn.Module) -> list[FakeActivation]:
    return [each for each in module.modules() if isinstance(each, FakeActivation)]


def real(network: nn.Module) -> nn.Module:
    """Take the rounding off the weights again, in place: they keep their float values."""
    for layer in network.modules():
        if isinstance(layer, ConvNorm) and parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return network


def state_of(network: nn.Module) -> dict[str, Any]:
    """The state of a network under its own names, whether its weights are rounded or not."""
    return {name.replace("parametrizations.weight.original", "weight"): value for name, value in network.state_dict().items()}
