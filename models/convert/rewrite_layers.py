"""Layers that a network calls as functions, as modules, so that the rewrites meet each kind in one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.convert.source import ConversionError

_SIGNATURES: dict[Any, tuple[str, ...]] = {
    functional.linear: ("input", "weight", "bias"),
    functional.conv2d: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    functional.conv_transpose2d: (
        "input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation",
    ),
}  # fmt: skip


def layers_as_modules(graph: torch.fx.GraphModule) -> None:
    """Replace functional linear layers and (transposed) 2-D convolutions by modules, where their weights are constants.

    Raises ConversionError for a transposed convolution whose weights the network computes: it could not be rewritten.
    """
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target not in _SIGNATURES:
            continue
        given = dict(zip(_SIGNATURES[node.target], node.args, strict=False)) | node.kwargs
        weight, bias = (_constant(graph, given.get(key)) for key in ("weight", "bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            if node.target is functional.conv_transpose2d:
                raise ConversionError(f"{node.name}: a transposed convolution whose weights are computed cannot be rewritten")
            continue
        options = {key: value for key, value in given.items() if key not in ("input", "weight", "bias")}
        _replace(graph, node, given["input"], _module(node.target, weight, bias, options))
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _module(function: Callable[..., Any], weight: Any, bias: Any, options: dict[str, Any]) -> nn.Module:
    made: Any
    groups = options.get("groups", 1)
    if function is functional.linear:
        made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    elif function is functional.conv2d:
        made = nn.Conv2d(weight.shape[1] * groups, weight.shape[0], weight.shape[2:], bias=bias is not None, **options)
    else:
        sizes = weight.shape[0], weight.shape[1] * groups, weight.shape[2:]
        made = nn.ConvTranspose2d(*sizes, bias=bias is not None, **options)
    made.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return made.eval()


def _constant(graph: torch.fx.GraphModule, node: Any) -> Any:
    """The tensor that a node reads from the network itself; None where it is computed, or no node."""
    if not isinstance(node, torch.fx.Node) or node.op != "get_attr":
        return None
    owner, _, name = str(node.target).rpartition(".")
    return getattr(graph.get_submodule(owner), name)


def _replace(graph: torch.fx.GraphModule, node: torch.fx.Node, source: Any, module: nn.Module) -> None:
    name = f"{node.name}_layer"
    graph.add_submodule(name, module)
    with graph.graph.inserting_before(node):
        made = graph.graph.call_module(name, (source,))
    node.replace_all_uses_with(made)
    graph.graph.erase_node(node)
