"""Networks as torch.fx graphs, for the rewrites that must see what is connected to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx.passes.shape_prop import ShapeProp


@dataclass(frozen=True)
class Change:
    """One exact rewrite. path: the module's name in the network that was given; what: what stood there; how: what does now."""

    path: str
    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}: {self.how}"


def traced(module: nn.Module) -> torch.fx.GraphModule | None:
    """The network as a graph that shares its modules; None where Python control flow cannot be traced."""
    if isinstance(module, torch.fx.GraphModule):
        return module
    try:
        return torch.fx.symbolic_trace(module)
    except Exception:  # tracing runs the network's own code, which may raise anything at all
        return None


def find_shapes(graph: torch.fx.GraphModule, example: Any) -> None:
    """Run the network on `example` and note each node's shape, for shape_of."""
    with torch.no_grad():
        ShapeProp(graph).propagate(example)


def shape_of(node: Any) -> tuple[int, ...] | None:
    """The shape of a node's tensor; None where it is no single tensor or was not found."""
    meta = node.meta.get("tensor_meta") if isinstance(node, torch.fx.Node) else None
    return tuple(meta.shape) if meta is not None and hasattr(meta, "shape") else None


def module_of(graph: torch.fx.GraphModule, node: Any, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> Any:
    """The module that a node calls, if it is one of `kinds`; else None."""
    if not isinstance(node, torch.fx.Node) or node.op != "call_module":
        return None
    module = graph.get_submodule(str(node.target))
    return module if isinstance(module, kinds) else None


def uses(graph: torch.fx.GraphModule, target: Any) -> int:
    """How often the network calls the module of this name."""
    return sum(node.op == "call_module" and node.target == target for node in graph.graph.nodes)


def insert_module(graph: torch.fx.GraphModule, before: torch.fx.Node, path: str, module: nn.Module) -> torch.fx.Node:
    """Put `module` in front of the node's first input; returns the new node."""
    graph.add_submodule(path, module)
    source = before.args[0]
    with graph.graph.inserting_before(before):
        made = graph.graph.call_module(path, (source,))
    before.replace_input_with(source, made)
    return made
