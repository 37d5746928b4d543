"""What an edge device runs badly or not at all, and what could be done: told, never changed, as it changes the function."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.convert.rewrite_pool import can_pad_with_zeros, padding_pool
from models.convert.rewrite_trace import module_of, traced


@dataclass(frozen=True)
class Finding:
    """path: the module or node in the network; what stands there; why it costs; advice: what to do about it."""

    path: str
    what: str
    why: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}: {self.why}; {self.advice}"


_NO_OP = "is no op of the Edge TPU; converters spell it out in several ops, each with its own rounding in int8"
_RELU = "train with ReLU or ReLU6, which fuse into the convolution before"
_MOVES = "moves memory and computes nothing; on the Edge TPU the network is cut where it does not map"
_PADS = "pads with the smallest number, which is PADV2, no op of the Edge TPU"
_STAY = "keep the channels where they are, as reshapes, slices and concatenations do"
_ACTIVATIONS: dict[Any, tuple[str, str, str]] = {
    nn.Hardswish: ("hard swish", _NO_OP, _RELU),
    functional.hardswish: ("hard swish", _NO_OP, _RELU),
    nn.Hardsigmoid: ("hard sigmoid", _NO_OP, "train with the sigmoid, which is the op LOGISTIC"),
    functional.hardsigmoid: ("hard sigmoid", _NO_OP, "train with the sigmoid, which is the op LOGISTIC"),
    nn.SiLU: ("SiLU", "becomes LOGISTIC and MUL, which int8 rounds twice", _RELU),
    functional.silu: ("SiLU", "becomes LOGISTIC and MUL, which int8 rounds twice", _RELU),
    nn.GELU: ("GELU", _NO_OP, _RELU),
    functional.gelu: ("GELU", _NO_OP, _RELU),
}
_MOVE_CALLS = {torch.permute, torch.transpose, torch.swapaxes, "permute", "transpose", "swapaxes"}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_EXCITATION_LENGTH = 12  # nodes between the pooling and the product: reshape, two layers, two activations, reshape, with room


def report(module: nn.Module) -> tuple[Finding, ...]:
    """Findings in the network's order; nothing is changed.

    Activations without an op of their own, squeeze-and-excitation, global pooling and transposes. A network that torch.fx
    cannot trace is looked at module by module: its functional calls and transposes are not seen.
    """
    graph = traced(module)
    if graph is None:
        found = [_of_module(path, part) for path, part in module.named_modules()]
    else:
        found = [_of_node(graph, node) for node in graph.graph.nodes]
    return tuple(finding for finding in found if finding is not None)


def _of_module(path: str, module: nn.Module) -> Finding | None:
    if type(module) in _ACTIVATIONS:
        return Finding(path, *_ACTIVATIONS[type(module)])
    if isinstance(module, nn.AdaptiveAvgPool2d) and _is_one(module.output_size):
        return _pooled(path, excites=False)
    return None


def _of_node(graph: torch.fx.GraphModule, node: torch.fx.Node) -> Finding | None:
    if padding_pool(graph, node) is not None and not can_pad_with_zeros(graph, node):
        path = str(node.target) if node.op == "call_module" else node.name
        return Finding(path, "max pooling that pads", _PADS, "behind a ReLU, zeros would do")
    if node.op == "call_module":
        found = _of_module(str(node.target), module_of(graph, node, nn.Module))
        return _pooled(str(node.target), excites=_excites(node)) if found and "pooling" in found.what else found
    if node.op not in ("call_function", "call_method"):
        return None
    if node.target in _ACTIVATIONS:
        return Finding(node.name, *_ACTIVATIONS[node.target])
    if node.target in _MOVE_CALLS:
        return Finding(node.name, "transpose", _MOVES, _STAY)
    if _pools(node):
        return _pooled(node.name, excites=_excites(node))
    return None


def _pooled(path: str, *, excites: bool) -> Finding:
    """`excites`: the pooled vector comes back as a factor of the tensor."""
    if excites:
        why = "all of the tensor must be there before it is scaled, and int8 rounds the mean, the factors and the product"
        return Finding(path, "squeeze-and-excitation", why, "check int8 accuracy first; retrained without, a network is faster")
    why = "int8 rounds the mean to the scale of the tensor"
    return Finding(path, "global average pooling", why, "check int8 accuracy; the op MEAN over height and width maps")


def _pools(node: torch.fx.Node) -> bool:
    if node.target is functional.adaptive_avg_pool2d:
        return _is_one(node.args[1] if len(node.args) > 1 else node.kwargs.get("output_size"))
    if node.target in (torch.mean, "mean"):
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return isinstance(dims, tuple | list) and sorted(dims) in ([2, 3], [-2, -1])
    return False


def _excites(pool: torch.fx.Node) -> bool:
    node = pool
    for _ in range(_EXCITATION_LENGTH):
        users = [user for user in node.users if user.target not in ("size", getattr)]
        if len(users) != 1:
            return False
        node = users[0]
        if node.op in ("call_function", "call_method") and node.target in _PRODUCTS:
            return True
    return False


def _is_one(size: Any) -> bool:
    return size in (1, (1, 1), [1, 1])
