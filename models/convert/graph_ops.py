"""The operations that networks of cameras are made of, in PyTorch; both importers call them.

Names and meanings are those of ONNX and OpenVINO where these agree. Spatial arguments are (vertical, horizontal). All raise
ConversionError naming the node for what PyTorch cannot do in the same way.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from models.convert.graph_build import Builder, Value
from models.convert.source import ConversionError

Ints = Sequence[int]


def convolution(
    b: Builder, name: str, x: Value, weight: Value, bias: Value | None, *,
    stride: Ints, before: Ints, after: Ints, dilation: Ints, groups: int,
) -> Value:  # fmt: skip
    """weight: (out, in / groups, h, w), a constant; padding before and after each spatial axis."""
    kernel = _weight(name, x, weight)
    x, padding = _padded(b, x, before, after, 0.0)
    out, per_group = kernel.shape[:2]
    made = nn.Conv2d(
        per_group * groups, out, tuple(kernel.shape[2:]), tuple(stride), padding, tuple(dilation), groups, bias is not None
    )
    _fill(name, made, kernel, bias)
    return b.module(name, made, x)


def transposed_convolution(
    b: Builder, name: str, x: Value, weight: Value, bias: Value | None, *,
    stride: Ints, before: Ints, after: Ints, dilation: Ints, extra: Ints, groups: int,
) -> Value:  # fmt: skip
    """weight: (in, out / groups, h, w), a constant; padding is cut off the output, `extra` added at its end."""
    kernel = _weight(name, x, weight)
    if list(before) != list(after):
        raise ConversionError(f"node {name!r}: a transposed convolution with uneven padding {before}, {after} is not supported")
    made = nn.ConvTranspose2d(
        kernel.shape[0], kernel.shape[1] * groups, tuple(kernel.shape[2:]), tuple(stride), tuple(before), tuple(extra), groups,
        bias is not None, tuple(dilation),
    )  # fmt: skip
    _fill(name, made, kernel, bias)
    return b.module(name, made, x)


def batch_norm(b: Builder, name: str, x: Value, scale: Value, shift: Value, mean: Value, var: Value, eps: float) -> Value:
    """Batch normalisation with fixed statistics."""
    made = nn.BatchNorm2d(x.shape[1], eps=eps)
    with torch.no_grad():
        made.weight.copy_(fixed(name, scale, "scale"))
        made.bias.copy_(fixed(name, shift, "shift"))
    made.running_mean = fixed(name, mean, "mean").clone().float()
    made.running_var = fixed(name, var, "variance").clone().float()
    return b.module(name, made.eval(), x)


def max_pool(
    b: Builder, x: Value, *, kernel: Ints, stride: Ints, before: Ints, after: Ints, dilation: Ints, ceil: bool
) -> Value:
    x, padding = _padded(b, x, before, after, -math.inf)
    if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):  # PyTorch refuses such padding inside the pool
        x, padding = b.call(F.pad, x, [padding[1], padding[1], padding[0], padding[0]], value=-math.inf), (0, 0)
    pooled: Value = b.call(
        F.max_pool2d, x, tuple(kernel), tuple(stride), tuple(padding), dilation=tuple(dilation), ceil_mode=ceil
    )
    return pooled


def average_pool(
    b: Builder, name: str, x: Value, *, kernel: Ints, stride: Ints, before: Ints, after: Ints, ceil: bool, count_padding: bool
) -> Value:
    if list(before) != list(after) and not count_padding:
        raise ConversionError(f"node {name!r}: average pooling that leaves out uneven padding {before}, {after}: not supported")
    x, padding = _padded(b, x, before, after, 0.0)
    pooled: Value = b.call(
        F.avg_pool2d, x, tuple(kernel), tuple(stride), tuple(padding), ceil_mode=ceil, count_include_pad=count_padding
    )
    return pooled


def resize(b: Builder, name: str, x: Value, size: Ints, *, mode: str, coordinates: str, nearest: str) -> Value:
    """Change height and width of NCHW to `size`. mode: nearest, linear or cubic; coordinates and nearest as ONNX names them."""
    height, width = (int(side) for side in size)
    if (height, width) == x.shape[2:]:
        return x
    larger = height >= x.shape[2] and width >= x.shape[3]
    whole = larger and height % x.shape[2] == 0 and width % x.shape[3] == 0
    result: Value
    if mode == "nearest":
        # Enlarging by whole numbers, all roundings of these coordinates repeat each pixel.
        floor = coordinates == "asymmetric" and (nearest == "floor" or (nearest == "simple" and larger))
        if floor or (whole and coordinates in ("half_pixel", "pytorch_half_pixel") and nearest != "ceil"):
            result = b.call(F.interpolate, x, size=(height, width), mode="nearest")
            return result
    elif mode in ("linear", "cubic") and coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        kind = "bilinear" if mode == "linear" else "bicubic"
        corners = coordinates == "align_corners"
        result = b.call(F.interpolate, x, size=(height, width), mode=kind, align_corners=corners)
        return result
    raise ConversionError(
        f"node {name!r}: resizing {x.shape[2:]} to {(height, width)} by {mode!r} with coordinates {coordinates!r}, "
        f"rounding {nearest!r} has no equal in PyTorch; export with half_pixel or align_corners, "
        "or nearest with asymmetric, floor"
    )


def reshape(b: Builder, name: str, x: Value, target: Ints, *, zero_copies: bool = True) -> Value:
    """Reshape; the batch stays outermost, whatever size the target's first axis was exported with."""
    shape = [x.shape[i] if size == 0 and zero_copies else int(size) for i, size in enumerate(target)]
    if -1 in shape:
        known = math.prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = x.tensor.numel() // max(known, 1)
    if math.prod(shape) != x.tensor.numel() or not shape:
        raise ConversionError(f"node {name!r}: {x.shape} cannot be reshaped to {list(target)}")
    if not x.constant:
        shape[0] = -1
    result: Value = b.call(torch.reshape, x, shape)
    return result


def transpose(b: Builder, name: str, x: Value, order: Ints) -> Value:
    order = [axis % len(x.shape) for axis in order] if order else list(range(len(x.shape)))[::-1]
    _keep_batch(name, x, order[0] == 0, "moves the batch axis")
    result: Value = b.call(torch.permute, x, order)
    return result


def concat(b: Builder, name: str, parts: Sequence[Value], axis: int) -> Value:
    live = next((part for part in parts if not part.constant), parts[0])
    axis %= len(live.shape)
    _keep_batch(name, live, axis != 0, "joins along the batch axis")
    if not live.constant and any(part.constant for part in parts):
        raise ConversionError(f"node {name!r}: joins a constant to the picture's values, which fixes the batch; not supported")
    result: Value = b.call(torch.cat, list(parts), dim=axis)
    return result


def split(b: Builder, name: str, x: Value, sizes: Ints, axis: int) -> list[Value]:
    axis %= len(x.shape)
    _keep_batch(name, x, axis != 0, "splits the batch")
    parts: list[Value] = b.call(torch.split, x, [int(size) for size in sizes], dim=axis)
    return parts


def cut(b: Builder, name: str, x: Value, starts: Ints, ends: Ints, axes: Ints, steps: Ints) -> Value:
    """A slice along some axes; negative numbers count from the end."""
    index: list[slice] = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise ConversionError(f"node {name!r}: a slice with step {step} is not supported; steps must be positive")
        size = x.shape[axis]
        first, last, _ = slice(start, end, step).indices(size)
        whole = (first, last, step) == (0, size, 1)
        _keep_batch(name, x, axis % len(x.shape) != 0 or whole, "takes a part of the batch")
        if not whole:
            index[axis] = slice(first, last, step)
    result: Value = b.call(operator.getitem, x, tuple(index))
    return result


def reduce(b: Builder, name: str, x: Value, kind: str, axes: Ints, keep: bool) -> Value:
    """kind: mean, sum or max."""
    axes = [axis % len(x.shape) for axis in axes] or list(range(1, len(x.shape)))
    _keep_batch(name, x, 0 not in axes, "reduces the batch")
    function = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}[kind]
    result: Value = b.call(function, x, list(axes), keepdim=keep)
    return result


def squeeze(b: Builder, name: str, x: Value, axes: Ints) -> Value:
    axes = [axis % len(x.shape) for axis in axes] or [i for i, size in enumerate(x.shape) if size == 1 and (i or x.constant)]
    _keep_batch(name, x, 0 not in axes, "drops the batch axis")
    result: Value = b.call(torch.squeeze, x, tuple(axes))
    return result


def unsqueeze(b: Builder, name: str, x: Value, axes: Ints) -> Value:
    for axis in sorted(axis % (len(x.shape) + len(axes)) for axis in axes):
        _keep_batch(name, x, axis != 0, "puts an axis before the batch")
        x = b.call(torch.unsqueeze, x, axis)
    return x


def pad(b: Builder, name: str, x: Value, before: Ints, after: Ints, mode: str, value: float) -> Value:
    """Padding of every axis, outermost first. mode: constant, reflect or edge."""
    _keep_batch(name, x, before[0] == after[0] == 0, "pads the batch")
    amounts = [side for pair in zip(before[::-1], after[::-1], strict=True) for side in pair]
    while len(amounts) > 2 and amounts[-2:] == [0, 0]:
        amounts = amounts[:-2]
    kind = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}.get(mode)
    if kind is None:
        raise ConversionError(f"node {name!r}: padding {mode!r} is not supported; constant, reflect and edge are")
    result: Value = b.call(F.pad, x, amounts, mode=kind, value=value if kind == "constant" else None)
    return result


def hard_sigmoid(b: Builder, x: Value, alpha: float, beta: float) -> Value:
    """clip(alpha * x + beta, 0, 1); PyTorch's own where it is the same."""
    result: Value
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and math.isclose(beta, 0.5):
        result = b.call(F.hardsigmoid, x)
    else:
        result = b.call(torch.clamp, b.call(torch.add, b.call(torch.mul, x, alpha), beta), 0.0, 1.0)
    return result


def softmax(b: Builder, name: str, x: Value, axis: int) -> Value:
    axis %= len(x.shape)
    _keep_batch(name, x, axis != 0, "normalises along the batch")
    result: Value = b.call(F.softmax, x, dim=axis)
    return result


def fixed(name: str, value: Value, what: str) -> torch.Tensor:
    """A constant's tensor; of what the picture decides only the example's value is known."""
    if not value.constant:
        raise ConversionError(f"node {name!r}: its {what} depends on the picture; a constant is supported")
    return value.tensor


def _weight(name: str, x: Value, weight: Value) -> torch.Tensor:
    if len(x.shape) != 4 or weight.tensor.dim() != 4:
        raise ConversionError(f"node {name!r}: only two-dimensional convolutions are supported, its input is {x.shape}")
    if not weight.constant:
        raise ConversionError(f"node {name!r}: its weights depend on the picture; constant weights are supported")
    return weight.tensor.float()


def _fill(name: str, made: nn.Conv2d | nn.ConvTranspose2d, kernel: torch.Tensor, bias: Value | None) -> None:
    with torch.no_grad():
        made.weight.copy_(kernel)
        if bias is not None:
            made.bias.copy_(fixed(name, bias, "bias").reshape(-1))


def _padded(b: Builder, x: Value, before: Ints, after: Ints, value: float) -> tuple[Value, tuple[int, int]]:
    """Uneven padding becomes a step of its own; even padding is left to the operation."""
    if list(before) == list(after):
        return x, (before[0], before[1])
    return b.call(F.pad, x, [before[1], after[1], before[0], after[0]], value=value), (0, 0)


def _keep_batch(name: str, x: Value, kept: bool, what: str) -> None:
    if not kept and not x.constant:
        raise ConversionError(f"node {name!r} {what}: networks must treat each picture of a batch alike")
