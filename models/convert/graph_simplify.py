"""Makes an imported module what its author wrote: biases and batch norms back in their convolutions, shuffles by name."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Conv = nn.Conv2d | nn.ConvTranspose2d


class ChannelShuffle(nn.Module):
    """Mixes the channels of groups (ShuffleNet, Zhang et al. 2018): channel g * n + i goes to i * groups + g."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, self.groups, channels // self.groups, height, width)
        return x.transpose(1, 2).reshape(batch, channels, height, width)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


def simplify(module: fx.GraphModule) -> fx.GraphModule:
    """In place: fold what can be folded; the answers stay the same up to rounding."""
    for node in list(module.graph.nodes):
        _fold_batch_norm(module, node)
        _fold_affine(module, node)
        _name_shuffle(module, node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _fold_batch_norm(module: fx.GraphModule, node: fx.Node) -> None:
    conv = _conv_before(module, node)
    if conv is None or node.op != "call_module":
        return
    norm = module.get_submodule(str(node.target))
    if not isinstance(norm, nn.BatchNorm2d):
        return
    transposed = isinstance(conv, nn.ConvTranspose2d)
    if transposed and conv.groups != 1:
        return
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias, transposed
    )
    _replace(node, node.args[0])


def _fold_affine(module: fx.GraphModule, node: fx.Node) -> None:
    """A convolution, then + or * a constant a channel."""
    if node.op != "call_function" or node.target not in (torch.add, torch.mul) or len(node.args) != 2:
        return
    first, second = node.args
    constant, before = (first, second) if _conv_of(module, second) is not None else (second, first)
    conv = _conv_of(module, before)
    values = _per_channel(module, constant, 0 if conv is None else conv.out_channels)
    if conv is None or values is None or len(before.users) != 1:
        return
    with torch.no_grad():
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        if node.target is torch.add:
            conv.bias = nn.Parameter(bias + values)
        elif isinstance(conv, nn.Conv2d):
            conv.weight = nn.Parameter(conv.weight * values.reshape(-1, 1, 1, 1))
            conv.bias = nn.Parameter(bias * values)
        else:
            return
    _replace(node, before)


def _name_shuffle(module: fx.GraphModule, node: fx.Node) -> None:
    """reshape (-1, g, n, h, w), swap axes 1 and 2, reshape (-1, g * n, h, w)."""
    if not _is(node, torch.reshape) or not _is(node.args[0], torch.permute):
        return
    swap: Any = node.args[0]
    if not _is(swap.args[0], torch.reshape) or len(swap.users) != 1 or len(swap.args[0].users) != 1:
        return
    taken: Any = swap.args[0]
    apart, joined = list(taken.args[1]), list(node.args[1])
    if list(swap.args[1]) != [0, 2, 1, 3, 4] or len(apart) != 5 or joined != [-1, apart[1] * apart[2], *apart[3:]]:
        return
    name = f"shuffle_{node.name}"
    module.add_submodule(name, ChannelShuffle(apart[1]))
    with module.graph.inserting_after(node):
        made = module.graph.call_module(name, (taken.args[0],))
    node.replace_all_uses_with(made)
    module.graph.erase_node(node)


def _conv_before(module: fx.GraphModule, node: fx.Node) -> Any:
    """The convolution that this node alone uses as its first argument."""
    before = node.args[0] if node.args else None
    conv = _conv_of(module, before)
    return conv if conv is not None and isinstance(before, fx.Node) and len(before.users) == 1 else None


def _conv_of(module: fx.GraphModule, node: Any) -> Any:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    found = module.get_submodule(str(node.target))
    return found if isinstance(found, nn.Conv2d | nn.ConvTranspose2d) else None


def _per_channel(module: fx.GraphModule, value: Any, channels: int) -> torch.Tensor | None:
    """(channels,) of a constant that has one number for each channel of NCHW, or one number."""
    if isinstance(value, int | float):
        return torch.full((channels,), float(value))
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return None
    tensor = operator.attrgetter(str(value.target))(module)
    fits = tuple(tensor.shape) in ((1, channels, 1, 1), (channels, 1, 1)) and tensor.dtype.is_floating_point
    return tensor.reshape(-1) if fits else None


def _is(node: Any, function: Any) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target is function


def _replace(node: fx.Node, by: Any) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)
