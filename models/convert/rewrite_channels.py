"""Reordering a tensor's channels for nothing: by permuting the weights of the layers that make and read it."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.convert.rewrite_trace import module_of, shape_of, uses

_ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
_ELEMENTWISE_CALLS = {
    torch.relu, functional.relu, functional.relu6, functional.leaky_relu, torch.sigmoid, functional.sigmoid, torch.tanh,
    functional.hardswish, functional.hardsigmoid, functional.silu, functional.gelu, functional.max_pool2d,
    functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.interpolate, functional.dropout,
    "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "contiguous", "clone",
}  # fmt: skip
_BINARY_CALLS = {
    operator.add, operator.iadd, operator.mul, operator.imul, operator.sub, torch.add, torch.mul, torch.sub,
    "add", "add_", "mul", "mul_", "sub",
}  # fmt: skip
_RESHAPES = {
    torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, operator.getitem,
    "view", "reshape", "flatten", "squeeze", "unsqueeze",
}  # fmt: skip
_ASKS = {"size", getattr}  # what only asks for the shape


class _Refused(Exception):
    """The channels of a tensor cannot be reordered through its neighbours."""


def reorder_at(graph: torch.fx.GraphModule, tensor: torch.fx.Node, reader: torch.fx.Node, order: torch.Tensor) -> bool:
    """Make channel i of `tensor` what channel order[i] was, for `reader`, at no cost when the network runs.

    The layers that make the tensor, and all that read it or take part in sums and products with it, get their weights
    permuted, so that nothing but `reader` sees a difference. Needs find_shapes. False, and nothing changed, where something
    on the way has an order of channels of its own (the network's input or output, a concatenation, groups).
    """
    region = _Region(graph, reader, len(order))
    try:
        region.collect(tensor)
    except _Refused:
        return False
    region.permute(order)
    return True


class _Region:
    """All tensors whose channels must be in one order, with the layers that write and read them."""

    def __init__(self, graph: torch.fx.GraphModule, reader: torch.fx.Node, channels: int) -> None:
        self.graph, self.reader, self.channels = graph, reader, channels
        self.nodes: set[torch.fx.Node] = set()
        self.writers: set[str] = set()
        self.readers: set[str] = set()
        self.both: set[str] = set()  # one parameter a channel: batch norms and depthwise convolutions

    def collect(self, start: torch.fx.Node) -> None:
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node in self.nodes:
                continue
            self.nodes.add(node)
            waiting += self._sources(node)
            for user in node.users:
                waiting += self._follows(node, user)
        counted = self.writers | self.readers | self.both
        if any(uses(self.graph, name) > 1 for name in counted):
            raise _Refused

    def _sources(self, node: torch.fx.Node) -> list[torch.fx.Node]:
        """The inputs of a node that must be in the same order as the node itself."""
        if not self._has_channels(node) or not node.args:
            raise _Refused
        if self._dense(node) is not None:
            self.writers.add(str(node.target))
            return []
        if self._per_channel(node) is not None:
            self.both.add(str(node.target))
            return [node.args[0]]
        if module_of(self.graph, node, _ELEMENTWISE) is not None or _calls(node, _ELEMENTWISE_CALLS):
            return [node.args[0]]
        if self._keeps_channels(node):
            return [node.args[0]]
        if _calls(node, _BINARY_CALLS):
            inputs = [arg for arg in node.args if isinstance(arg, torch.fx.Node)]
            return [arg for arg in inputs if not self._broadcast(arg)]
        raise _Refused

    def _follows(self, node: torch.fx.Node, user: torch.fx.Node) -> list[torch.fx.Node]:
        """The users of a node that hand its order on."""
        if user is self.reader or _calls(user, _ASKS):
            return []
        if self._dense(user) is not None:
            self.readers.add(str(user.target))
            return []
        if user.op == "output":
            raise _Refused
        return [user]  # looked at by _sources in its turn

    def permute(self, order: torch.Tensor) -> None:
        """Writers first by row, readers by column: a layer that is both gets both."""
        with torch.no_grad():
            for name in self.writers | self.both:
                layer = self.graph.get_submodule(name)
                for key in ("weight", "bias", "running_mean", "running_var"):
                    value = getattr(layer, key, None)
                    if value is None:
                        continue
                    transposed = key == "weight" and isinstance(layer, nn.ConvTranspose2d) and name in self.writers
                    value.copy_(value[:, order] if transposed else value[order])
            for name in self.readers:
                layer = self.graph.get_submodule(name)
                rows = isinstance(layer, nn.ConvTranspose2d)
                layer.weight.copy_(layer.weight[order] if rows else layer.weight[:, order])

    def _dense(self, node: torch.fx.Node) -> Any:
        layer = module_of(self.graph, node, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
        if isinstance(layer, nn.Linear) and len(shape_of(node) or ()) != 2:
            return None  # it works on the last axis, which are the channels only of (B, C)
        return None if layer is None or getattr(layer, "groups", 1) != 1 else layer

    def _per_channel(self, node: torch.fx.Node) -> Any:
        norm = module_of(self.graph, node, (nn.BatchNorm1d, nn.BatchNorm2d))
        if norm is not None:
            return norm
        conv = module_of(self.graph, node, nn.Conv2d)
        return conv if conv is not None and conv.groups == conv.in_channels == conv.out_channels else None

    def _has_channels(self, node: torch.fx.Node) -> bool:
        shape = shape_of(node)
        return shape is not None and len(shape) in (2, 3, 4) and shape[1] == self.channels

    def _broadcast(self, node: torch.fx.Node) -> bool:
        """One value for all channels, as of spatial attention, has no order of them."""
        shape = shape_of(node)
        return shape is not None and (len(shape) < 2 or (len(shape) == 4 and shape[1] == 1))

    def _keeps_channels(self, node: torch.fx.Node) -> bool:
        """(B, C, 1, 1) <-> (B, C) and the mean of each channel, as squeeze-and-excitation writes them."""
        if _calls(node, {torch.mean, "mean"}):
            dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
            return isinstance(dims, tuple | list) and sorted(dims) in ([2, 3], [-2, -1])
        source = shape_of(node.args[0]) if node.args else None
        made = shape_of(node)
        if not _calls(node, _RESHAPES) or source is None or made is None or not _takes_all(node):
            return False
        return source[:2] == made[:2] and set(source[2:]) <= {1} and set(made[2:]) <= {1}


def _takes_all(node: torch.fx.Node) -> bool:
    """Whether an indexing, as x[:, :, None, None], leaves nothing out and turns nothing round."""
    if node.target is not operator.getitem:
        return True
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    return all(part is None or part is Ellipsis or part == slice(None) for part in index)


def _calls(node: torch.fx.Node, targets: set[Any]) -> bool:
    return node.op in ("call_function", "call_method") and node.target in targets
