"""Where Q and DQ operators stand in an int8 network, against what TensorRT asks for.

Rules from NVIDIA's "Working with quantized types", sections on explicit quantisation and Q/DQ placement: quantise all inputs
of weighted operators; weights per channel, activations per tensor; symmetric, so zero points are 0; leave biases in float;
quantise the residual input of a skip connection, or the addition runs in float between two conversions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from models.tensorrt.finding import Finding, error, warning
from models.tensorrt.onnx_graph import OnnxGraph, attribute, title

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTISED_TYPES = ("INT8", "FLOAT8E4M3FN", "INT4", "FLOAT4E2M1")
# What int8 passes through unchanged, so a DQ before it counts for what follows.
PASSES = ("Relu", "Clip", "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity")


def is_quantised(graph: OnnxGraph) -> bool:
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes)


def look_over(graph: OnnxGraph) -> list[Finding]:
    """Findings on an explicitly quantised network; none for a float one."""
    if not is_quantised(graph):
        return []
    found: list[Finding] = []
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            found += _pair(graph, node)
        elif node.op_type in WEIGHTED:
            found += _weighted(graph, node)
        elif node.op_type == "Add":
            found += _residual(graph, node)
    return found


def _pair(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    kind = _quantised_type(graph, node)
    if kind and kind not in QUANTISED_TYPES:
        fix = "leave biases in float" if kind == "INT32" else "quantise symmetrically to int8"
        yield error(title(node), f"quantised to {kind}; TensorRT takes INT8", fix)
    zero = graph.values(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if zero is not None and np.any(np.asarray(zero, np.float32) != 0):
        yield error(title(node), f"zero point {np.ravel(zero)[0]}; TensorRT needs 0", "quantise symmetrically")
    scale = graph.values(node.input[1])
    if scale is None:
        yield warning(title(node), "its scale is no constant", "quantise statically")
    elif scale.size > 1 and not _of_weights(graph, node):
        yield error(
            title(node), f"{scale.size} scales on an activation; TensorRT quantises activations per tensor",
            "quantise activations per tensor",
        )


def _quantised_type(graph: OnnxGraph, node: Any) -> str:
    if node.op_type == "DequantizeLinear":
        return graph.types.get(node.input[0], "")
    if len(node.input) > 2 and node.input[2]:
        return graph.types.get(node.input[2], "")
    return "UINT8"  # the default of QuantizeLinear without a zero point


def _of_weights(graph: OnnxGraph, node: Any) -> bool:
    """Whether a Q or DQ works on a constant, directly or through its Q."""
    source = node.input[0]
    maker = graph.maker(source)
    return source in graph.constants or (maker is not None and maker.op_type == "QuantizeLinear" and _of_weights(graph, maker))


def _weighted(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    data, weights = _dequantiser(graph, node.input[0]), _dequantiser(graph, node.input[1])
    if data is None and weights is None:
        yield warning(
            title(node), "is not quantised while others are: it runs in float, between two conversions",
            "quantise its input and weights",
        )
        return
    if data is None:
        yield warning(
            title(node), f"weights are quantised, the input {node.input[0]!r} is not: it runs in float",
            "put a Q/DQ pair before it",
        )
    if weights is None:
        yield warning(
            title(node), f"the input is quantised, the weights {node.input[1]!r} are not: it runs in float",
            "quantise the weights",
        )
    elif node.op_type in ("Conv", "ConvTranspose"):
        yield from _per_channel(graph, node, weights)


def _per_channel(graph: OnnxGraph, node: Any, weights: Any) -> Iterator[Finding]:
    scale, wanted = graph.values(weights.input[1]), 0 if node.op_type == "Conv" else 1
    if scale is None:
        return
    channels = _channels(graph, node, wanted)
    if scale.size == 1 and channels != 1:
        yield warning(title(node), "weights are quantised per tensor: accuracy suffers", "quantise weights per channel")
    elif scale.size > 1 and attribute(weights, "axis", 1) != wanted:
        axis = attribute(weights, "axis", 1)
        yield error(
            title(node), f"weights are quantised along axis {axis}, not {wanted}, its output channels",
            f"quantise along axis {wanted}",
        )


def _channels(graph: OnnxGraph, node: Any, axis: int) -> int:
    weights = _dequantiser(graph, node.input[1])
    shape = graph.shapes.get(weights.input[0], ()) if weights is not None else ()
    return shape[axis] if len(shape) > axis else 0


def _dequantiser(graph: OnnxGraph, name: str) -> Any:
    """The DQ that a tensor comes from, through what int8 passes unchanged; None if there is none."""
    maker = graph.maker(name)
    while maker is not None and maker.op_type in PASSES:
        maker = graph.maker(maker.input[0])
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _residual(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    """An addition of a quantised convolution's output and a tensor that is not quantised."""
    if any(name in graph.constants for name in node.input):
        return
    makers = [graph.maker(name) for name in node.input]
    from_convolution = [maker for maker in makers if maker is not None and maker.op_type in ("Conv", "ConvTranspose")]
    quantised = [maker for maker in from_convolution if _dequantiser(graph, maker.input[0]) is not None]
    if quantised and not any(_dequantiser(graph, name) is not None for name in node.input):
        other = next((name for name, maker in zip(node.input, makers, strict=True) if maker is not quantised[0]), node.input[0])
        yield warning(
            title(node), f"residual addition: the input {other!r} is not quantised, so it runs in float",
            "put a Q/DQ pair on the residual input",
        )
