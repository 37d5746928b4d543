"""Max pooling that pads with zeros.

PyTorch's pads with the smallest number there is, which becomes TFLite's PADV2, and that is no op of the Edge TPU: every ResNet
falls off there at its fourth op. Where nothing negative can come in, zeros are as good, and those are a PAD.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.convert.rewrite_blocks import DepthToSpace
from models.convert.rewrite_deconv import SubPixelConv
from models.convert.rewrite_trace import module_of

_POSITIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softmax)
_POSITIVE_CALLS = {
    torch.relu, functional.relu, functional.relu6, torch.sigmoid, functional.sigmoid, functional.hardsigmoid, torch.abs,
    "relu", "relu_", "sigmoid", "sigmoid_", "abs",
}  # fmt: skip
# What gives nothing negative if nothing negative comes in.
_KEEPING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Identity, nn.Dropout, nn.PixelShuffle, DepthToSpace)
_KEEPING_CALLS = {
    operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul, torch.cat, torch.max_pool2d,
    functional.max_pool2d, functional.avg_pool2d, functional.interpolate, functional.pixel_shuffle,
}  # fmt: skip


def padding_pool(graph: torch.fx.GraphModule, node: torch.fx.Node) -> nn.MaxPool2d | None:
    """The max pooling that the node is, module or function, if it pads; else None."""
    pool = module_of(graph, node, nn.MaxPool2d)
    if node.op == "call_function" and node.target in (functional.max_pool2d, torch.max_pool2d):
        pool = nn.MaxPool2d(*node.args[1:], **{key: value for key, value in node.kwargs.items() if key != "input"})
    return pool if pool is not None and any(_pair(pool.padding)) else None


def can_pad_with_zeros(graph: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
    """Whether the node is a max pooling that pads, and that may do so with zeros."""
    pool = padding_pool(graph, node)
    if pool is None or pool.ceil_mode or pool.return_indices or not node.args:
        return False
    return not_negative(graph, node.args[0])


def pads_for_pooling(graph: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
    """Whether the node pads with minus infinity what is then max pooled, and may do so with zeros."""
    if node.op != "call_function" or node.target is not functional.pad or node.kwargs.get("value") != -torch.inf:
        return False
    pooled = all(module_of(graph, user, nn.MaxPool2d) or user.target is functional.max_pool2d for user in node.users)
    return pooled and not_negative(graph, node.args[0])


def not_negative(graph: torch.fx.GraphModule, node: Any) -> bool:
    """Whether no value of the node's tensor can be below 0, as far as the layers that make it tell."""
    if not isinstance(node, torch.fx.Node):
        return isinstance(node, int | float) and node >= 0
    if (deconv := module_of(graph, node, SubPixelConv)) is not None:
        return isinstance(deconv.activation, _POSITIVE)
    called = node.op in ("call_function", "call_method")
    if module_of(graph, node, _POSITIVE) is not None or (called and node.target in _POSITIVE_CALLS):
        return True
    if module_of(graph, node, _KEEPING) is not None:
        return not_negative(graph, node.args[0])
    if not called or node.target not in _KEEPING_CALLS:
        return False
    tensors = node.args[0] if node.target is torch.cat else node.args[:2] if _binary(node) else node.args[:1]
    return isinstance(tensors, tuple | list) and all(not_negative(graph, tensor) for tensor in tensors)


def zero_padded(pool: nn.MaxPool2d) -> nn.Module:
    """The pooling, its padding as zeros in front of it."""
    vertical, horizontal = _pair(pool.padding)
    bare = nn.MaxPool2d(pool.kernel_size, pool.stride, 0, pool.dilation)
    return nn.Sequential(nn.ZeroPad2d((horizontal, horizontal, vertical, vertical)), bare)


def _binary(node: torch.fx.Node) -> bool:
    return node.target in (operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
