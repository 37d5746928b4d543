"""Builds a PyTorch module from another framework's graph, node by node, while it runs an example through it.

Each value of the graph is a tensor of the example, so every shape is known at once, and what depends on no input becomes a
constant of the module. The result is a plain `torch.fx.GraphModule`: no Python control flow, so `torch.export` reads it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from models.convert.source import ConversionError


@dataclass(frozen=True)
class Value:
    """One tensor of the graph. node: its place in the module, None for a constant; tensor: the constant, or the example's."""

    tensor: torch.Tensor
    node: fx.Node | None = None

    @property
    def constant(self) -> bool:
        return self.node is None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def ints(self) -> list[int]:
        """The numbers of a constant, such as axes or a shape; raises ConversionError where the input decides them."""
        if self.node is not None:
            raise ConversionError(f"{self.node.name} depends on the picture but must be a constant; export with fixed shapes")
        return [int(number) for number in self.tensor.reshape(-1).tolist()]


class Builder:
    """The module in the making. Batches of any size may go through it: no step may touch axis 0."""

    def __init__(self) -> None:
        self.root = nn.Module()
        self.graph = fx.Graph()
        self._names: set[str] = set()

    def input(self, example: torch.Tensor) -> Value:
        return Value(example, self.graph.placeholder("image"))

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Value (or list of them) of a function of values and plain arguments; folded where no input is in it."""
        live = [value for value in _values(arguments) if not value.constant]
        with torch.no_grad():
            result = function(*_map(arguments, lambda value: value.tensor), **options)
        if not live:
            return _pack(result, None)
        rank = max(value.tensor.dim() for value in live)
        made = self.graph.call_function(function, tuple(_map(arguments, lambda value: self._argument(value, rank))), options)
        return _pack(result, made, self.graph)

    def module(self, name: str, module: nn.Module, value: Value) -> Value:
        """Apply a module with weights. `name` is the node's in the source, so that reports can be compared."""
        if value.constant:
            return Value(module(value.tensor).detach())
        own = self._own_name(name)
        self.root.add_module(own, module)
        with torch.no_grad():
            result = module(value.tensor)
        return Value(result, self.graph.call_module(own, (value.node,)))

    def build(self, outputs: Sequence[Value]) -> fx.GraphModule:
        """The module; one output is a tensor, several are a tuple."""
        nodes = tuple(self._argument(value, 0) for value in outputs)
        self.graph.output(nodes[0] if len(nodes) == 1 else nodes)
        self.graph.lint()
        return fx.GraphModule(self.root, self.graph).eval()

    def _argument(self, value: Value, rank: int) -> Any:
        """What stands for a value in a call: its node, a plain number, or a buffer of the module."""
        if value.node is not None:
            return value.node
        tensor = value.tensor
        if tensor.numel() == 1 and tensor.dim() <= rank and tensor.dtype.is_floating_point:
            return float(tensor)
        name = self._own_name("constant")
        self.root.register_buffer(name, tensor.detach().clone())
        return self.graph.get_attr(name)

    def _own_name(self, name: str) -> str:
        legal = re.sub(r"\W", "_", name).strip("_") or "node"
        legal = legal if not legal[0].isdigit() else f"n{legal}"
        own, number = legal, 1
        while own in self._names or hasattr(self.root, own):
            number += 1
            own = f"{legal}_{number}"
        self._names.add(own)
        return own


def _pack(result: Any, node: fx.Node | None, graph: fx.Graph | None = None) -> Any:
    if isinstance(result, torch.Tensor):
        return Value(result, node)
    picked = [None if graph is None else graph.call_function(operator.getitem, (node, i)) for i in range(len(result))]
    return [Value(tensor, pick) for tensor, pick in zip(result, picked, strict=True)]


def _values(arguments: Any) -> list[Value]:
    if isinstance(arguments, Value):
        return [arguments]
    if isinstance(arguments, list | tuple):
        return [value for argument in arguments for value in _values(argument)]
    return []


def _map(arguments: Any, change: Callable[[Value], Any]) -> Any:
    if isinstance(arguments, Value):
        return change(arguments)
    if isinstance(arguments, list | tuple):
        return type(arguments)(_map(argument, change) for argument in arguments)
    return arguments
