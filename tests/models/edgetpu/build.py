"""Writes small .tflite files, operator by operator."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

NUMPY = {"INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64, "FLOAT32": np.float32, "INT16": np.int16}
OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "TRANSPOSE_CONV": "TransposeConvOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions", "MAX_POOL_2D": "Pool2DOptions", "AVERAGE_POOL_2D": "Pool2DOptions",
    "ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "CONCATENATION": "ConcatenationOptions",
    "RESHAPE": "ReshapeOptions", "SOFTMAX": "SoftmaxOptions", "MEAN": "ReducerOptions", "SUM": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions", "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions", "PACK": "PackOptions", "SPLIT": "SplitOptions",
    "STRIDED_SLICE": "StridedSliceOptions", "LEAKY_RELU": "LeakyReluOptions", "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "CAST": "CastOptions",
}  # fmt: skip


class Net:
    """A network in the making; methods return the number of the tensor they made. Everything is int8 unless said."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.ops: list[Any] = []
        self.codes: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.done: list[Any] = []

    def next_subgraph(self) -> None:
        """What follows goes into another subgraph, as the bodies of loops and branches do."""
        self.done.append(self._graph())
        self.tensors, self.ops, self.inputs, self.outputs = [], [], [], []

    def tensor(self, shape: list[int], dtype: str = "INT8", name: str = "", signature: list[int] | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name or f"t{len(self.tensors)}", shape, 0
        made.type, made.shapeSignature = getattr(schema.TensorType, dtype), signature
        if dtype in ("INT8", "UINT8", "INT16"):
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [0.05], [0]
        self.tensors.append(made)
        return len(self.tensors) - 1

    def input(self, shape: list[int], dtype: str = "INT8", signature: list[int] | None = None) -> int:
        self.inputs.append(self.tensor(shape, dtype, "image", signature))
        return self.inputs[-1]

    def constant(self, values: Any, dtype: str = "INT32", name: str = "", channels: int = 0, axis: int = 0) -> int:
        array = np.asarray(values, NUMPY[dtype])
        number = self.tensor(list(array.shape), dtype, name)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.buffers.append(buffer)
        self.tensors[number].buffer = len(self.buffers) - 1
        if channels:
            quantization = self.tensors[number].quantization
            quantization.scale, quantization.zeroPoint = [0.01] * channels, [0] * channels
            quantization.quantizedDimension = axis
        return number

    def op(
        self, kind: str, inputs: list[int], shape: list[int] | None, *, dtype: str = "INT8", version: int = 1,
        custom: str = "", name: str = "", outputs: list[int] | None = None, custom_options: bytes = b"", **options: Any
    ) -> int:  # fmt: skip
        made = schema.OperatorT()
        made.opcodeIndex = self._code(kind, version, custom)
        made.inputs = inputs
        made.outputs = outputs if outputs is not None else [self.tensor(shape or [], dtype, name)]
        if kind in OPTIONS:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, OPTIONS[kind])
            made.builtinOptions = getattr(schema, OPTIONS[kind] + "T")()
            for key, value in options.items():
                assert hasattr(made.builtinOptions, key), f"{OPTIONS[kind]} has no {key}"
                setattr(made.builtinOptions, key, value)
        if custom_options:
            made.customOptions = np.frombuffer(custom_options, np.uint8)
        self.ops.append(made)
        return int(made.outputs[0])

    def _code(self, kind: str, version: int, custom: str) -> int:
        number = getattr(schema.BuiltinOperator, kind)
        for index, code in enumerate(self.codes):
            if (code.builtinCode, code.version, code.customCode) == (number, version, custom or None):
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        code.version, code.customCode = version, custom or None
        self.codes.append(code)
        return len(self.codes) - 1

    def shape(self, tensor: int) -> list[int]:
        return list(self.tensors[tensor].shape)

    def conv(self, source: int, depth: int, kernel: int = 1, stride: int = 1, *, name: str = "", **options: Any) -> int:
        _, high, wide, into = self.shape(source)
        weights = self.constant(np.ones((depth, kernel, kernel, into)), "INT8", channels=depth)
        shape = [1, math.ceil(high / stride), math.ceil(wide / stride), depth]
        given = {"strideW": stride, "strideH": stride, "version": 3, **options}
        return self.op("CONV_2D", [source, weights, self.constant([0] * depth)], shape, name=name, **given)

    def depthwise(self, source: int, kernel: int = 3, stride: int = 1, **options: Any) -> int:
        _, high, wide, depth = self.shape(source)
        weights = self.constant(np.ones((1, kernel, kernel, depth)), "INT8", channels=depth, axis=3)
        shape = [1, math.ceil(high / stride), math.ceil(wide / stride), depth]
        given = {"strideW": stride, "strideH": stride, "depthMultiplier": 1, "version": 3, **options}
        return self.op("DEPTHWISE_CONV_2D", [source, weights, self.constant([0] * depth)], shape, **given)

    def transposed(self, source: int, depth: int, kernel: int = 4, stride: int = 2, *, name: str = "", version: int = 3) -> int:
        _, high, wide, into = self.shape(source)
        shape = [1, high * stride, wide * stride, depth]
        weights = self.constant(np.ones((depth, kernel, kernel, into)), "INT8", channels=depth)
        inputs = [self.constant(shape), weights, source, self.constant([0] * depth)]
        return self.op("TRANSPOSE_CONV", inputs, shape, version=version, name=name, strideW=stride, strideH=stride)

    def dense(self, source: int, depth: int, **options: Any) -> int:
        weights = self.constant(np.ones((depth, self.shape(source)[-1])), "INT8")
        shape = [*self.shape(source)[:-1], depth]
        return self.op("FULLY_CONNECTED", [source, weights, self.constant([0] * depth)], shape, **{"version": 4, **options})

    def add(self, left: int, right: int, **options: Any) -> int:
        return self.op("ADD", [left, right], self.shape(left), **{"version": 2, **options})

    def unary(self, kind: str, source: int, dtype: str = "INT8", **options: Any) -> int:
        return self.op(kind, [source], self.shape(source), dtype=dtype, **options)

    def pool(self, source: int, kind: str = "MAX_POOL_2D", stride: int = 2, **options: Any) -> int:
        _, high, wide, depth = self.shape(source)
        shape = [1, math.ceil(high / stride), math.ceil(wide / stride), depth]
        return self.op(kind, [source], shape, strideW=stride, strideH=stride, filterWidth=2, filterHeight=2, **options)

    def reshape(self, source: int, shape: list[int], **options: Any) -> int:
        return self.op("RESHAPE", [source, self.constant(shape)], shape, **options)

    def resize(self, source: int, factor: int = 2, kind: str = "RESIZE_BILINEAR", **options: Any) -> int:
        _, high, wide, depth = self.shape(source)
        size = [high * factor, wide * factor]
        return self.op(kind, [source, self.constant(size)], [1, *size, depth], **{"version": 3, **options})

    def concat(self, *sources: int, axis: int = 3, **options: Any) -> int:
        shape = self.shape(sources[0])
        shape[axis] = sum(self.shape(source)[axis] for source in sources)
        return self.op("CONCATENATION", list(sources), shape, **{"axis": axis, "version": 2, **options})

    def pad(self, source: int, amounts: list[list[int]]) -> int:
        shape = [side + sum(pair) for side, pair in zip(self.shape(source), amounts, strict=True)]
        return self.op("PAD", [source, self.constant(amounts)], shape, version=2)

    def reduce(self, kind: str, source: int, axes: list[int]) -> int:
        shape = [side for axis, side in enumerate(self.shape(source)) if axis not in axes]
        return self.op(kind, [source, self.constant(axes)], shape, version=2)

    def bytes(self) -> bytes:
        model = schema.ModelT()
        model.version, model.subgraphs = 3, [*self.done, self._graph()]
        model.operatorCodes, model.buffers = self.codes, self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _graph(self) -> Any:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.ops, self.inputs, self.outputs
        read = {tensor for op in self.ops for tensor in op.inputs}
        if not self.outputs:
            graph.outputs = [tensor for op in self.ops for tensor in op.outputs if tensor not in read]
        return graph

    def write(self, path: Path) -> Path:
        path.write_bytes(self.bytes())
        return path
