"""How much an operator computes and how many parameters it holds."""

from __future__ import annotations

import math

from models.edgetpu.graph import Op, Subgraph
from models.edgetpu.rules import RULES

CONVOLUTIONS = ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
DEPTHWISE = ("DEPTHWISE_CONV_2D",)
# What only renames or moves a tensor where it lies, and so costs a CPU next to nothing.
FREE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def macs(graph: Subgraph, op: Op) -> int:
    """Multiply-accumulates of one inference; 0 for operators without weights.

    Weights are laid out OHWI for (transposed) convolutions, 1HWO for depthwise ones, OI for fully connected layers
    (tensorflow/lite/schema/schema.fbs). A transposed convolution applies its kernel once an input pixel.
    """
    weights = graph.input(op, 1)
    if weights is None or op.kind not in CONVOLUTIONS + DEPTHWISE or not op.outputs:
        return 0
    out, kernel = graph.output(op).size, weights.shape
    if op.kind == "CONV_2D" and len(kernel) == 4:
        return out * math.prod(kernel[1:])
    if op.kind == "DEPTHWISE_CONV_2D" and len(kernel) == 4:
        return out * math.prod(kernel[1:3])
    if op.kind == "FULLY_CONNECTED" and len(kernel) == 2:
        return out * kernel[1]
    source = graph.input(op, 2)
    if op.kind == "TRANSPOSE_CONV" and len(kernel) == 4 and source is not None:
        return source.size * math.prod(kernel[:3])
    return 0


def parameters(op: Op) -> tuple[int, ...]:
    """Numbers of the inputs that are parameters: weights, bias, constant data; not the arguments (axes, sizes)."""
    rule = RULES.get(op.kind)
    roles = rule.roles if rule else "d*"
    return tuple(number for number in range(len(op.inputs)) if role(roles, number) != "a")


def role(roles: str, number: int) -> str:
    """The role of an input: see rules.Rule."""
    plain = roles.rstrip("*")
    if number < len(plain):
        return plain[number]
    return plain[-1] if roles.endswith("*") else "a"
