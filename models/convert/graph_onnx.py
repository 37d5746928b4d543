"""What each ONNX operator is in PyTorch; opsets 7 and later, where inputs and attributes changed places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from models.convert import graph_ops as ops
from models.convert.graph_build import Builder, Value
from models.convert.source import ConversionError

Options = dict[str, Any]  # a node's attributes, and `opset`
# (builder, name of the node, inputs: Value, or None for one left out, attributes) -> output, or list of them
Handler = Callable[[Builder, str, list[Any], Options], "Value | list[Value]"]


def _pads(name: str, options: Options) -> tuple[list[int], list[int]]:
    if options.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        raise ConversionError(f"node {name!r}: auto_pad {options['auto_pad']!r} is not supported; export explicit pads")
    pads = list(options.get("pads", [0, 0, 0, 0]))
    return pads[:2], pads[2:]


def _ints(value: Value | None, default: list[int]) -> list[int]:
    return default if value is None else value.ints()


def _given(inputs: list[Any], index: int) -> Value | None:
    return inputs[index] if index < len(inputs) else None


def _conv(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    before, after = _pads(name, options)
    return ops.convolution(
        b, name, inputs[0], inputs[1], _given(inputs, 2), stride=options.get("strides", [1, 1]), before=before, after=after,
        dilation=options.get("dilations", [1, 1]), groups=options.get("group", 1),
    )  # fmt: skip


def _conv_transpose(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    if "output_shape" in options:
        raise ConversionError(f"node {name!r}: output_shape is not supported; export with pads")
    before, after = _pads(name, options)
    return ops.transposed_convolution(
        b, name, inputs[0], inputs[1], _given(inputs, 2), stride=options.get("strides", [1, 1]), before=before, after=after,
        dilation=options.get("dilations", [1, 1]), extra=options.get("output_padding", [0, 0]), groups=options.get("group", 1),
    )  # fmt: skip


def _pool(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    before, after = _pads(name, options)
    kernel, stride = options["kernel_shape"], options.get("strides", [1, 1])
    ceil = bool(options.get("ceil_mode", 0))
    if "count_include_pad" in options or options["kind"] == "average":
        counted = bool(options.get("count_include_pad", 0))
        return ops.average_pool(
            b, name, inputs[0], kernel=kernel, stride=stride, before=before, after=after, ceil=ceil, count_padding=counted
        )
    dilation = options.get("dilations", [1, 1])
    return ops.max_pool(b, inputs[0], kernel=kernel, stride=stride, before=before, after=after, dilation=dilation, ceil=ceil)


def _resize(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    """Resize (opset 10: data, scales; later: data, roi, scales, sizes) and Upsample."""
    x: Value = inputs[0]
    old = options["opset"] < 11 or options.get("upsample", False)
    scales, sizes = (_given(inputs, 1), None) if old else (_given(inputs, 2), _given(inputs, 3))
    if sizes is not None and sizes.tensor.numel():
        size = sizes.ints()[-2:]
    else:
        factors = options.get("scales") if scales is None else scales.tensor.reshape(-1).tolist()
        if not factors or (scales is not None and not scales.constant):
            raise ConversionError(f"node {name!r}: its size depends on the picture; export with fixed shapes")
        size = [int(side * factor) for side, factor in zip(x.shape[-2:], factors[-2:], strict=True)]
    coordinates = options.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = options.get("nearest_mode", "floor" if old else "round_prefer_floor")
    return ops.resize(b, name, x, size, mode=options.get("mode", "nearest"), coordinates=coordinates, nearest=rounding)


def _reshape(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    return ops.reshape(b, name, inputs[0], inputs[1].ints(), zero_copies=not options.get("allowzero", 0))


def _flatten(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    if options.get("axis", 1) != 1:
        raise ConversionError(f"node {name!r}: flattening from axis {options['axis']} is not supported; 1 is")
    return ops.reshape(b, name, inputs[0], [inputs[0].shape[0], -1])


def _slice(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    if "starts" in options:
        starts, ends = options["starts"], options["ends"]
        axes = options.get("axes", list(range(len(starts))))
        return ops.cut(b, name, inputs[0], starts, ends, axes, [1] * len(starts))
    starts, ends = inputs[1].ints(), inputs[2].ints()
    axes = _ints(_given(inputs, 3), list(range(len(starts))))
    return ops.cut(b, name, inputs[0], starts, ends, axes, _ints(_given(inputs, 4), [1] * len(starts)))


def _split(b: Builder, name: str, inputs: list[Any], options: Options) -> list[Value]:
    axis = options.get("axis", 0)
    sizes = _ints(_given(inputs, 1), options.get("split", []))
    if not sizes:
        parts = options.get("num_outputs")
        if parts is None:
            raise ConversionError(f"node {name!r}: a split without sizes is not supported; export its sizes")
        step = -(-inputs[0].shape[axis] // parts)
        sizes = [min(step, inputs[0].shape[axis] - i * step) for i in range(parts)]
    return ops.split(b, name, inputs[0], sizes, axis)


def _axes(inputs: list[Any], options: Options) -> list[int]:
    """Axes: an attribute until opset 12 (reductions: 17), an input later."""
    return _ints(_given(inputs, 1), list(options.get("axes", [])))


def _pad(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    pads = _ints(_given(inputs, 1), list(options.get("pads", [])))
    given = _given(inputs, 2)
    value = options.get("value", 0.0) if given is None else float(ops.fixed(name, given, "value"))
    half = len(pads) // 2
    return ops.pad(b, name, inputs[0], pads[:half], pads[half:], options.get("mode", "constant"), value)


def _clip(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    limits = [_given(inputs, 1), _given(inputs, 2)]
    low, high = (
        options.get(key) if limit is None else float(ops.fixed(name, limit, key))
        for key, limit in zip(("min", "max"), limits, strict=True)
    )
    if (low, high) == (0.0, 6.0):
        result: Value = b.call(F.relu6, inputs[0])
    else:
        result = b.call(torch.clamp, inputs[0], low, high)
    return result


def _gemm(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    if options.get("transA", 0) or options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0:
        raise ConversionError(f"node {name!r}: a Gemm with transA, alpha or beta is not supported")
    weight = inputs[1] if options.get("transB", 0) else b.call(torch.transpose, inputs[1], 0, 1)
    bias = _given(inputs, 2)
    flat = None if bias is None else Value(bias.tensor.reshape(-1), bias.node)
    result: Value = b.call(F.linear, inputs[0], weight, flat)
    return result


def _batch_norm(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    x, scale, shift, mean, var = inputs[:5]
    return ops.batch_norm(b, name, x, scale, shift, mean, var, options.get("epsilon", 1e-5))


def _cast(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    """To floats nothing is to be done; to whole numbers only for constants."""
    floats, kinds = {1, 10, 11, 16}, {6: torch.int32, 7: torch.int64, 9: torch.bool}
    if options["to"] in floats:
        return Value(inputs[0].tensor.float()) if inputs[0].constant else inputs[0]
    if not inputs[0].constant or options["to"] not in kinds:
        raise ConversionError(f"node {name!r}: casts the picture's values to type {options['to']}; only floats are supported")
    return Value(inputs[0].tensor.to(kinds[options["to"]]))


def _constant(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    del b, inputs
    for key, kind in (("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
                      ("value_ints", torch.int64)):  # fmt: skip
        if key in options:
            return Value(torch.tensor(options[key], dtype=kind))
    if "value" not in options:
        raise ConversionError(f"node {name!r}: a constant of this kind is not supported")
    return Value(options["value"])


def _shape(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    """Shapes are fixed, so a shape is a constant; reshapes ignore its batch."""
    del b, name
    return Value(torch.tensor(inputs[0].shape[options.get("start", 0) : options.get("end")], dtype=torch.int64))


def _gather(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    x, index = inputs
    axis = options.get("axis", 0)
    if not index.constant or index.tensor.dim() > 1 or (not x.constant and axis % len(x.shape) == 0):
        raise ConversionError(f"node {name!r}: gathers along the batch, or by an index that is no constant list")
    index = Value(torch.where(index.tensor < 0, index.tensor + x.shape[axis], index.tensor))
    if index.tensor.dim() == 0:
        result: Value = b.call(torch.select, x, axis, int(index.tensor))
    else:
        result = b.call(torch.index_select, x, axis, index)
    return result


def _reduce(kind: str) -> Handler:
    def handle(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
        return ops.reduce(b, name, inputs[0], kind, _axes(inputs, options), bool(options.get("keepdims", 1)))

    return handle


def _apply(function: Callable[..., Any]) -> Handler:
    def handle(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
        del name, options
        result: Value = b.call(function, *inputs)
        return result

    return handle


def _divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """ONNX divides whole numbers to whole numbers; only constants are ever whole here."""
    return a // b if not a.is_floating_point() else a / b


def _div(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    del name, options
    whole = all(not value.tensor.is_floating_point() for value in inputs)
    result: Value = b.call(_divide if whole else torch.div, *inputs)
    return result


def _depth_to_space(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    if options.get("mode", "DCR") != "CRD":
        raise ConversionError(f"node {name!r}: DepthToSpace in mode DCR is not supported; PyTorch's PixelShuffle exports CRD")
    result: Value = b.call(F.pixel_shuffle, inputs[0], options["blocksize"])
    return result


def _identity(b: Builder, name: str, inputs: list[Any], options: Options) -> Value:
    del b, name, options
    value: Value = inputs[0]
    return value


HANDLERS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "MaxPool": lambda b, name, inputs, options: _pool(b, name, inputs, options | {"kind": "max"}),
    "AveragePool": lambda b, name, inputs, options: _pool(b, name, inputs, options | {"kind": "average"}),
    "GlobalAveragePool": lambda b, name, inputs, options: ops.reduce(b, name, inputs[0], "mean", [2, 3], True),
    "GlobalMaxPool": lambda b, name, inputs, options: ops.reduce(b, name, inputs[0], "max", [2, 3], True),
    "Resize": _resize,
    "Upsample": lambda b, name, inputs, options: _resize(b, name, inputs, options | {"upsample": True}),
    "DepthToSpace": _depth_to_space,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": lambda b, name, inputs, options: ops.transpose(b, name, inputs[0], options.get("perm", [])),
    "Concat": lambda b, name, inputs, options: ops.concat(b, name, inputs, options["axis"]),
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Squeeze": lambda b, name, inputs, options: ops.squeeze(b, name, inputs[0], _axes(inputs, options)),
    "Unsqueeze": lambda b, name, inputs, options: ops.unsqueeze(b, name, inputs[0], _axes(inputs, options)),
    "Pad": _pad,
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "Softmax": lambda b, name, inputs, options: ops.softmax(b, name, inputs[0], options.get("axis", -1)),
    "Gemm": _gemm,
    "MatMul": _apply(torch.matmul),
    "Add": _apply(torch.add),
    "Sub": _apply(torch.sub),
    "Mul": _apply(torch.mul),
    "Div": _div,
    "Pow": _apply(torch.pow),
    "Max": _apply(torch.maximum),
    "Min": _apply(torch.minimum),
    "Relu": _apply(F.relu),
    "PRelu": lambda b, name, inputs, options: b.call(
        F.prelu, inputs[0], Value(ops.fixed(name, inputs[1], "slope").reshape(-1))
    ),
    "LeakyRelu": lambda b, name, inputs, options: b.call(F.leaky_relu, inputs[0], options.get("alpha", 0.01)),
    "Elu": lambda b, name, inputs, options: b.call(F.elu, inputs[0], options.get("alpha", 1.0)),
    "Clip": _clip,
    "HardSigmoid": lambda b, name, inputs, options: ops.hard_sigmoid(
        b, inputs[0], options.get("alpha", 0.2), options.get("beta", 0.5)
    ),
    "HardSwish": _apply(F.hardswish),
    "Sigmoid": _apply(torch.sigmoid),
    "Softplus": _apply(F.softplus),
    "Mish": _apply(F.mish),
    "Tanh": _apply(torch.tanh),
    "Exp": _apply(torch.exp),
    "Sqrt": _apply(torch.sqrt),
    "Cast": _cast,
    "Constant": _constant,
    "Shape": _shape,
    "Identity": _identity,
    "Dropout": _identity,
}
