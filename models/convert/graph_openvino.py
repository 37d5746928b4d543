"""What each OpenVINO operation is in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from models.convert import graph_ops as ops
from models.convert.graph_build import Builder, Value
from models.convert.source import ConversionError

Handler = Callable[[Builder, Any, list[Value]], "Value | list[Value]"]  # (builder, OpenVINO's node, inputs) -> outputs


def _name(node: Any) -> str:
    return str(node.get_friendly_name())


def _padding(node: Any, attributes: dict[str, Any]) -> tuple[list[int], list[int]]:
    if attributes.get("auto_pad", "explicit") not in ("explicit", "valid"):
        kind = attributes["auto_pad"]
        raise ConversionError(f"node {_name(node)!r}: auto_pad {kind!r} is not supported; export explicit pads")
    return list(attributes["pads_begin"]), list(attributes["pads_end"])


def _convolution(b: Builder, node: Any, inputs: list[Value]) -> Value:
    attributes = node.get_attributes()
    before, after = _padding(node, attributes)
    weight, groups = inputs[1], 1
    if node.get_type_name() == "GroupConvolution":  # (groups, out / groups, in / groups, h, w)
        groups = weight.shape[0]
        weight = Value(weight.tensor.reshape(-1, *weight.shape[2:]))
    return ops.convolution(
        b, _name(node), inputs[0], weight, None, stride=attributes["strides"], before=before, after=after,
        dilation=attributes["dilations"], groups=groups,
    )  # fmt: skip


def _transposed_convolution(b: Builder, node: Any, inputs: list[Value]) -> Value:
    if len(inputs) > 2:
        raise ConversionError(f"node {_name(node)!r}: an output shape given as an input is not supported")
    attributes = node.get_attributes()
    before, after = _padding(node, attributes)
    weight, groups = inputs[1], 1
    if node.get_type_name() == "GroupConvolutionBackpropData":
        groups = weight.shape[0]
        weight = Value(weight.tensor.reshape(-1, *weight.shape[2:]))
    return ops.transposed_convolution(
        b, _name(node), inputs[0], weight, None, stride=attributes["strides"], before=before, after=after,
        dilation=attributes["dilations"], extra=attributes["output_padding"], groups=groups,
    )  # fmt: skip


def _pool(b: Builder, node: Any, inputs: list[Value]) -> Value:
    attributes = node.get_attributes()
    before, after = _padding(node, attributes)
    kernel, stride = list(attributes["kernel"]), list(attributes["strides"])
    ceil = attributes.get("rounding_type", "floor") != "floor"
    if node.get_type_name() == "MaxPool":
        dilation = attributes.get("dilations", [1, 1])
        return ops.max_pool(
            b, inputs[0], kernel=kernel, stride=stride, before=before, after=after, dilation=dilation, ceil=ceil
        )
    counted = not attributes["exclude-pad"]
    return ops.average_pool(
        b, _name(node), inputs[0], kernel=kernel, stride=stride, before=before, after=after, ceil=ceil, count_padding=counted
    )


def _interpolate(b: Builder, node: Any, inputs: list[Value]) -> Value:
    attributes = node.get_attributes()
    if any(attributes["pads_begin"]) or any(attributes["pads_end"]) or attributes["antialias"]:
        raise ConversionError(f"node {_name(node)!r}: resizing with padding or anti-aliasing is not supported")
    mode = {"linear_onnx": "linear"}.get(attributes["mode"], attributes["mode"])
    nearest = attributes["nearest_mode"]
    size = node.get_output_shape(0)[2:]
    coordinates = attributes["coordinate_transformation_mode"]
    return ops.resize(b, _name(node), inputs[0], list(size), mode=mode, coordinates=coordinates, nearest=nearest)


def _reshape(b: Builder, node: Any, inputs: list[Value]) -> Value:
    inputs[1].ints()  # raises where the picture decides the shape
    return ops.reshape(b, _name(node), inputs[0], list(node.get_output_shape(0)), zero_copies=False)


def _split(b: Builder, node: Any, inputs: list[Value]) -> list[Value]:
    (axis,) = inputs[1].ints()
    sizes = [node.get_output_shape(i)[axis] for i in range(node.get_output_size())]
    return ops.split(b, _name(node), inputs[0], sizes, axis)


def _strided_slice(b: Builder, node: Any, inputs: list[Value]) -> Value:
    attributes = node.get_attributes()
    if any(any(attributes[key]) for key in ("new_axis_mask", "shrink_axis_mask", "ellipsis_mask")):
        raise ConversionError(f"node {_name(node)!r}: a slice that adds or drops axes is not supported")
    starts, ends = inputs[1].ints(), inputs[2].ints()
    steps = inputs[3].ints() if len(inputs) > 3 else [1] * len(starts)
    starts = [0 if _masked(attributes["begin_mask"], i) else start for i, start in enumerate(starts)]
    ends = [2**31 if _masked(attributes["end_mask"], i) else end for i, end in enumerate(ends)]
    return ops.cut(b, _name(node), inputs[0], starts, ends, range(len(starts)), steps)


def _masked(mask: list[int], index: int) -> bool:
    return index < len(mask) and bool(mask[index])


def _slice(b: Builder, node: Any, inputs: list[Value]) -> Value:
    starts, ends, steps = (value.ints() for value in inputs[1:4])
    axes = inputs[4].ints() if len(inputs) > 4 else range(len(starts))
    return ops.cut(b, _name(node), inputs[0], starts, ends, axes, steps)


def _reduce(kind: str) -> Handler:
    def handle(b: Builder, node: Any, inputs: list[Value]) -> Value:
        return ops.reduce(b, _name(node), inputs[0], kind, inputs[1].ints(), node.get_attributes()["keep_dims"])

    return handle


def _matmul(b: Builder, node: Any, inputs: list[Value]) -> Value:
    attributes = node.get_attributes()
    flips = (attributes["transpose_a"], attributes["transpose_b"])
    left, right = (
        b.call(torch.transpose, value, -1, -2) if flip and len(value.shape) > 1 else value
        for value, flip in zip(inputs, flips, strict=True)
    )
    result: Value = b.call(torch.matmul, left, right)
    return result


def _prelu(b: Builder, node: Any, inputs: list[Value]) -> Value:
    del node
    result: Value = b.call(F.prelu, inputs[0], Value(inputs[1].tensor.reshape(-1)))
    return result


def _clamp(b: Builder, node: Any, inputs: list[Value]) -> Value:
    attributes = node.get_attributes()
    result: Value = b.call(torch.clamp, inputs[0], float(attributes["min"]), float(attributes["max"]))
    return result


def _convert(b: Builder, node: Any, inputs: list[Value]) -> Value:
    """Between kinds of floats nothing is to be done: all is float32 here."""
    if inputs[0].constant or not node.get_output_element_type(0).is_real():
        dtype = torch.float32 if node.get_output_element_type(0).is_real() else torch.int64
        result: Value = b.call(torch.Tensor.to, inputs[0], dtype)
        return result
    return inputs[0]


def _broadcast(b: Builder, node: Any, inputs: list[Value]) -> Value:
    if not inputs[0].constant:
        raise ConversionError(f"node {_name(node)!r}: broadcasting what depends on the picture is not supported")
    result: Value = b.call(torch.broadcast_to, inputs[0], tuple(node.get_output_shape(0)))
    return result


def _apply(function: Callable[..., Any]) -> Handler:
    def handle(b: Builder, node: Any, inputs: list[Value]) -> Value:
        del node
        result: Value = b.call(function, *inputs)
        return result

    return handle


HANDLERS: dict[str, Handler] = {
    "Convolution": _convolution,
    "GroupConvolution": _convolution,
    "ConvolutionBackpropData": _transposed_convolution,
    "GroupConvolutionBackpropData": _transposed_convolution,
    "MaxPool": _pool,
    "AvgPool": _pool,
    "Interpolate": _interpolate,
    "Reshape": _reshape,
    "Transpose": lambda b, node, inputs: ops.transpose(b, _name(node), inputs[0], inputs[1].ints()),
    "Concat": lambda b, node, inputs: ops.concat(b, _name(node), inputs, node.get_attributes()["axis"]),
    "Split": _split,
    "VariadicSplit": _split,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "Squeeze": lambda b, node, inputs: ops.squeeze(b, _name(node), inputs[0], inputs[1].ints() if len(inputs) > 1 else []),
    "Unsqueeze": lambda b, node, inputs: ops.unsqueeze(b, _name(node), inputs[0], inputs[1].ints()),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "Softmax": lambda b, node, inputs: ops.softmax(b, _name(node), inputs[0], node.get_attributes()["axis"]),
    "MatMul": _matmul,
    "Convert": _convert,
    "Broadcast": _broadcast,
    "Add": _apply(torch.add),
    "Subtract": _apply(torch.sub),
    "Multiply": _apply(torch.mul),
    "Divide": _apply(torch.div),
    "Power": _apply(torch.pow),
    "Maximum": _apply(torch.maximum),
    "Minimum": _apply(torch.minimum),
    "Relu": _apply(F.relu),
    "PRelu": _prelu,
    "Clamp": _clamp,
    "Sigmoid": _apply(torch.sigmoid),
    "HSwish": _apply(F.hardswish),
    "HSigmoid": _apply(F.hardsigmoid),
    "HardSigmoid": lambda b, node, inputs: ops.hard_sigmoid(b, inputs[0], float(inputs[1].tensor), float(inputs[2].tensor)),
    "Swish": _apply(F.silu),
    "Gelu": lambda b, node, inputs: b.call(F.gelu, inputs[0]),
    "Mish": _apply(F.mish),
    "Tanh": _apply(torch.tanh),
    "Exp": _apply(torch.exp),
    "Sqrt": _apply(torch.sqrt),
    "SoftPlus": _apply(F.softplus),
}
