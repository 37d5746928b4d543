"""Max pooling without padding of its own.

It pads with the smallest number there is, which becomes TFLite's PADV2, and that is no op of the Edge TPU: every ResNet falls
off there at its fourth op. Behind an activation that gives nothing negative, zeros are as good, and those are a PAD.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.convert.rewrite_blocks import DepthToSpace
from models.convert.rewrite_deconv import SubPixelConv
from models.convert.rewrite_trace import module_of

_POSITIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softmax)
_POSITIVE_CALLS = {torch.relu, functional.relu, functional.relu6, torch.sigmoid, "relu", "relu_", "sigmoid", "sigmoid_"}
_KEEPING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Identity, nn.Dropout, nn.PixelShuffle, DepthToSpace)


def pads(pool: nn.MaxPool2d) -> bool:
    """Whether the pooling pads its input."""
    return any(_pair(pool.padding))


def can_pad_with_zeros(graph: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
    """Whether the node is a max pooling that pads, and that may do so with zeros."""
    pool = module_of(graph, node, nn.MaxPool2d)
    if pool is None or not pads(pool) or pool.ceil_mode or pool.return_indices or not node.args:
        return False
    return not_negative(graph, node.args[0])


def not_negative(graph: torch.fx.GraphModule, node: Any) -> bool:
    """Whether no value of the node's tensor can be below 0, as far as the layer that makes it tells."""
    while module_of(graph, node, _KEEPING) is not None and node.args:
        node = node.args[0]
    if module_of(graph, node, _POSITIVE) is not None:
        return True
    deconv = module_of(graph, node, SubPixelConv)
    if deconv is not None:
        return isinstance(deconv.activation, _POSITIVE)
    called = isinstance(node, torch.fx.Node) and node.op in ("call_function", "call_method")
    return called and node.target in _POSITIVE_CALLS


def zero_padded(pool: nn.MaxPool2d) -> nn.Module:
    """The pooling, its padding as zeros in front of it."""
    vertical, horizontal = _pair(pool.padding)
    bare = nn.MaxPool2d(pool.kernel_size, pool.stride, 0, pool.dilation)
    return nn.Sequential(nn.ZeroPad2d((horizontal, horizontal, vertical, vertical)), bare)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
