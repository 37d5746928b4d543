"""A small TFLite network twice, in floats and in int8, for tests of what quantisation does. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.convert.stages import run_tensors
from models.convert.tflite_io import read, write
from tests.models.edgetpu.build import Net

RELU = 1
SHAPES = ((1, 8, 6, 8), (1, 8, 6, 8), (1, 8, 6, 4))  # of what the three layers write
KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D")
WEIGHTS = ((8, 2, 2, 3), (1, 3, 3, 8), (4, 1, 1, 8))
OPTIONS: tuple[dict[str, int], ...] = (
    {"strideH": 2, "strideW": 2, "fusedActivationFunction": RELU},
    {"strideH": 1, "strideW": 1, "depthMultiplier": 1},
    {"strideH": 1, "strideW": 1},
)
AXES = (0, 3, 0)  # of the output channels


@dataclass
class Layer:
    weights: np.ndarray
    bias: np.ndarray


def layers(seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)
    made = []
    for shape, axis in zip(WEIGHTS, AXES, strict=True):
        width = np.sqrt(np.prod(shape) / shape[axis]) * (300 if not made else 1)  # pixels are 0..255
        made.append(Layer(rng.normal(0, 1 / width, shape), rng.normal(0.7, 0.2, shape[axis])))
    return made


def pictures(count: int) -> list[np.ndarray]:
    """Coloured squares, (16, 12, 3) uint8."""
    rng = np.random.default_rng(5)
    return [np.kron(rng.integers(0, 255, (4, 3, 3)), np.ones((4, 4, 1))).astype(np.uint8) for _ in range(count)]


def float_network(of: list[Layer], *, biases: bool = True) -> bytes:
    """Convolution with stride 2 and a fused ReLU, depthwise convolution, convolution; without biases (which only a fully
    connected layer may lack), the last is one of those instead."""
    return _network(of, None, (0.0, 0.0, 0.0), biases, False)


def int8_network(
    of: list[Layer], *, shifts: tuple[float, ...] = (0.0, 0.0, 0.0), biases: bool = True, shared: bool = False
) -> bytes:
    """Quantised to ranges on `pictures`. shifts: of each layer's biases, in units of its output; shared: all layers of as many
    channels read one bias buffer."""
    reference = float_network(of, biases=biases)
    written = [operator.outputs[0] for operator in read(reference).subgraphs[0].operators]
    found = list(run_tensors(reference, written, pictures(8), 1))
    ranges = [
        (min(0.0, *(float(each[index].min()) for each in found)), max(float(each[index].max()) for each in found))
        for index in written
    ]
    return _network(of, ranges, shifts, biases, shared)


def _network(of: list[Layer], ranges: Any, shifts: tuple[float, ...], biases: bool, shared: bool) -> bytes:
    net, dtype = Net(), "FLOAT32" if ranges is None else "INT8"
    current, scale = net.input([1, 16, 12, 3], dtype), 1.0
    if ranges is not None:
        _set(net, current, [1.0], [-128])
    numbers: dict[int, int] = {}
    for i, layer in enumerate(of):
        if ranges is None:
            weights, bias = net.constant(layer.weights, "FLOAT32"), net.constant(layer.bias, "FLOAT32")
        else:
            steps = np.abs(layer.weights).max(axis=tuple(a for a in range(4) if a != AXES[i]), keepdims=True) / 127
            weights = net.constant(np.rint(layer.weights / steps), "INT8")
            _set(net, weights, steps.ravel(), np.zeros(steps.size, int), AXES[i])
            bias = net.constant(np.rint((layer.bias + shifts[i]) / (steps.ravel() * scale)), "INT32")
            _set(net, bias, steps.ravel() * scale, np.zeros(steps.size, int))
            first = numbers.setdefault(steps.size, bias)
            if shared:
                net.tensors[bias].buffer = net.tensors[first].buffer
        last = i == len(of) - 1 and not biases
        kind = "FULLY_CONNECTED" if last else KINDS[i]
        if last:
            net.tensors[weights].shape = [4, 8]
        inputs, version = [current, weights, -1 if last else bias], 1 if ranges is None else 3
        options = {"keepNumDims": True} if last else OPTIONS[i]
        current = net.op(kind, inputs, list(SHAPES[i]), dtype=dtype, version=version, **options)
        if ranges is not None:
            low, high = ranges[i]
            scale = (high - low) / 255
            _set(net, current, [scale], [round(-128 - low / scale)])
    net.outputs = [current]
    return write(read(net.bytes()))  # aligned


def _set(net: Net, tensor: int, scale: Any, zero: Any, axis: int = 0) -> None:
    from ai_edge_litert import schema_py_generated as schema

    quantisation = schema.QuantizationParametersT()
    quantisation.scale, quantisation.zeroPoint = np.asarray(scale, np.float32), np.asarray(zero, np.int64)
    quantisation.quantizedDimension = axis
    net.tensors[tensor].quantization = quantisation
