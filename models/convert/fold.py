"""Folding what the network's input and its batch norms need into convolutions, exactly."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from models.convert.rewrite_trace import Change, module_of, traced, uses

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class PixelsToInput(nn.Module):
    """Raw pixels -> what a network was trained on: (pixel - mean) / std, red and blue swapped where asked.

    It is one 1 x 1 convolution, in front of the network's own layers. To fold the mean into the bias of a first convolution
    that pads with zeros would be wrong along the border: that padding stands for `mean`, not for black, and the bias would
    subtract the mean there too. As a convolution of its own it is exact everywhere, costs 9 multiplications a pixel, and
    quantises without loss: each output channel has one weight that is not zero, which int8 per channel represents exactly.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], *, swap_red_blue: bool) -> None:
        """mean, std: in pixel units 0..255, in the order of the network's channels, as in the manifest."""
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean {mean} and std {std} must be 3 values each, std above 0")
        takes = [2, 1, 0] if swap_red_blue else [0, 1, 2]
        self.affine = nn.Conv2d(3, 3, 1, groups=1 if swap_red_blue else 3)
        scale, offset = torch.tensor(std).reciprocal(), torch.tensor(mean) / torch.tensor(std)
        with torch.no_grad():
            self.affine.bias.copy_(-offset)
            self.affine.weight.zero_()
            for channel in range(3):
                self.affine.weight[channel, takes[channel] if swap_red_blue else 0] = scale[channel]
        self.requires_grad_(False)

    def forward(self, pixels: Any) -> Any:
        return self.affine(pixels)  # (B, 3, H, W)


def fold_input(
    module: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], swap_red_blue: bool = False
) -> nn.Module:
    """The network in front of which stands its normalisation: takes raw pixels (B, 3, H, W), 0..255, as float.

    mean, std: (pixel - mean) / std is what `module` takes, in the order of its channels. swap_red_blue: the pixels come in
    the other order than `module` takes. Borders are exact too, see PixelsToInput. The module itself is not copied.
    """
    if tuple(mean) == (0.0, 0.0, 0.0) and tuple(std) == (1.0, 1.0, 1.0) and not swap_red_blue:
        return module
    return nn.Sequential(PixelsToInput(tuple(mean), tuple(std), swap_red_blue=swap_red_blue), module).eval()


def fold_batch_norm(module: nn.Module) -> tuple[nn.Module, tuple[Change, ...]]:
    """A copy in which each batch norm right behind a convolution or linear layer is part of that layer's weights.

    Exact up to rounding (1e-6 relative). The copy is in eval mode. A network that torch.fx cannot trace is returned as it
    is; a batch norm behind anything else, or behind a layer that is used twice, stays.
    """
    graph = traced(copy.deepcopy(module).eval())
    if graph is None:
        return module, ()
    return graph, fold_norms(graph)


def fold_norms(graph: torch.fx.GraphModule) -> tuple[Change, ...]:
    """fold_batch_norm in place, on a traced network."""
    changes = []
    for node in list(graph.graph.nodes):
        norm = module_of(graph, node, _NORMS)
        if norm is None or not norm.track_running_stats or not node.args:
            continue
        before = node.args[0]
        layer = module_of(graph, before, (*_CONVOLUTIONS, nn.Linear))
        if layer is None or len(before.users) > 1 or uses(graph, before.target) > 1 or uses(graph, node.target) > 1:
            continue
        _absorb(layer, norm)
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
        changes.append(Change(str(node.target), "batch norm", f"folded into the weights of {before.target}"))
    graph.delete_all_unused_submodules()
    graph.recompile()
    return tuple(changes)


def _absorb(layer: Any, norm: Any) -> None:
    """Scale the layer's output channels, and move them, as the norm would."""
    with torch.no_grad():
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -norm.running_mean * scale
        if norm.bias is not None:
            shift = shift + norm.bias
        if layer.bias is not None:
            shift = shift + layer.bias * scale
        weight = layer.weight
        if isinstance(layer, nn.ConvTranspose2d):  # (Cin, Cout / groups, ...), so the outputs of a group are in axis 1
            grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
            scaled = grouped * scale.reshape(layer.groups, 1, -1, *[1] * (weight.ndim - 2))
            weight.copy_(scaled.reshape(weight.shape))
        else:
            weight.mul_(scale.reshape(-1, *[1] * (weight.ndim - 1)))
        layer.bias = nn.Parameter(shift, requires_grad=False)
