"""The published limits of single operators, as checks: each answers None, or what breaks the limit.

Where the documentation speaks of the batch dimension it is dimension 0 of tensors with four and more dimensions, and a
leading 1 of tensors with fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models.edgetpu.graph import Op, Subgraph, Tensor

Check = Callable[[Subgraph, Op], str | None]
SOFTMAX_MAX = 16_000
MEAN_DEPTH_MULTIPLE = 4


def no_fused_activation(graph: Subgraph, op: Op) -> str | None:
    activation = op.options.get("fused_activation_function", "NONE")
    return None if activation == "NONE" else f"has the fused activation {activation}"


def same_dilation(graph: Subgraph, op: Op) -> str | None:
    x, y = op.options.get("dilation_w_factor", 1), op.options.get("dilation_h_factor", 1)
    return None if x == y else f"dilation is {x} in x and {y} in y"


def constant_is_zero_padding(graph: Subgraph, op: Op) -> str | None:
    """CONCATENATION: a constant input is allowed beside one other, and only if it is zero."""
    tensors = [graph.tensors[index] for index in op.inputs]
    constants = [tensor for tensor in tensors if tensor.constant]
    if not constants:
        return None
    if len(tensors) != 2:
        return f"has the constant {constants[0].name!r} among {len(tensors)} inputs"
    values = constants[0].values()
    zero = constants[0].zero_points[0] if constants[0].zero_points else 0
    return None if values is not None and bool(np.all(values == zero)) else f"the constant {constants[0].name!r} is not zero"


def default_weights_format(graph: Subgraph, op: Op) -> str | None:
    found = op.options.get("weights_format", "DEFAULT")
    return None if found == "DEFAULT" else f"weights are in the format {found}"


def one_dimensional_output(graph: Subgraph, op: Op) -> str | None:
    shape = graph.output(op).shape
    return None if sum(side > 1 for side in shape) <= 1 else f"the output {_sides(shape)} has more than one dimension above 1"


def one_dimensional_softmax(graph: Subgraph, op: Op) -> str | None:
    shape = graph.tensors[op.inputs[0]].shape
    if sum(side > 1 for side in shape) > 1:
        return f"the input {_sides(shape)} has more than one dimension above 1"
    size = math.prod(shape)
    return None if size <= SOFTMAX_MAX else f"the input has {size} elements, more than {SOFTMAX_MAX}"


def one_dimensional_alpha(graph: Subgraph, op: Op) -> str | None:
    alpha = graph.input(op, 1)
    if alpha is None or all(side == 1 for side in alpha.shape[:-1]):
        return None
    return f"alpha is {_sides(alpha.shape)}, only its innermost dimension may exceed 1 (Keras: shared_axes=[1, 2])"


def no_batch_reduction(graph: Subgraph, op: Op) -> str | None:
    source = graph.tensors[op.inputs[0]]
    axes = _axes(graph.input(op, 1), source.rank)
    if axes is None:
        return "the axes are no constant"
    return "reduces the batch dimension" if _batch(source) in axes else None


def mean_depth(graph: Subgraph, op: Op) -> str | None:
    """MEAN: a reduction over z needs a z-dimension that is a multiple of 4."""
    source = graph.tensors[op.inputs[0]]
    axes = _axes(graph.input(op, 1), source.rank)
    if axes is None or source.rank < 3 or source.rank - 1 not in axes:
        return None
    depth = source.shape[-1]
    return None if depth % MEAN_DEPTH_MULTIPLE == 0 else f"reduces z, which is {depth} and no multiple of {MEAN_DEPTH_MULTIPLE}"


def no_batch_packing(graph: Subgraph, op: Op) -> str | None:
    result = graph.output(op)
    axis = op.options.get("axis", 0) % max(result.rank, 1)
    return "packs into the batch dimension" if axis == 0 else None


def no_batch_padding(graph: Subgraph, op: Op) -> str | None:
    amounts = graph.input(op, 1)
    values = amounts.values() if amounts is not None else None
    if values is None:
        return "the amounts are no constant"
    batch = _batch(graph.tensors[op.inputs[0]])
    return "pads the batch dimension" if batch is not None and np.any(values[batch]) else None


def no_batch_split(graph: Subgraph, op: Op) -> str | None:
    source = graph.tensors[op.inputs[1]]
    axes = _axes(graph.input(op, 0), source.rank)
    if axes is None:
        return "the axis is no constant"
    return "splits the batch dimension" if _batch(source) in axes else None


def unit_strides(graph: Subgraph, op: Op) -> str | None:
    strides = graph.input(op, 3)
    values = strides.values() if strides is not None else None
    if values is None:
        return "the strides are no constant"
    return None if np.all(values == 1) else f"strides are {[int(value) for value in values]}"


def no_slice_masks(graph: Subgraph, op: Op) -> str | None:
    for mask in ("ellipsis_mask", "new_axis_mask"):
        if op.options.get(mask, 0):
            return f"has the {mask} {op.options[mask]}"
    return None


def at_most_three_dimensions(graph: Subgraph, op: Op) -> str | None:
    for tensor in (graph.tensors[op.inputs[0]], graph.output(op)):
        if outer := [side for side in tensor.shape[:-3] if side > 1]:
            return f"{tensor.name!r} {_sides(tensor.shape)} has the outer dimension {outer[0]}"
    return None


def _batch(tensor: Tensor) -> int | None:
    return 0 if tensor.rank >= 4 or (tensor.rank >= 2 and tensor.shape[0] == 1) else None


def _axes(tensor: Tensor | None, rank: int) -> set[int] | None:
    values = tensor.values() if tensor is not None else None
    return None if values is None else {int(axis) % max(rank, 1) for axis in np.ravel(values)}


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
