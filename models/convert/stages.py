"""Parts of a TFLite network that can be run one after another, and what its layers write, for looking inside it.

The interpreter's own way of keeping all tensors wants XNNPACK left out, without which int8 runs twenty times slower (0.8 s
instead of 0.04 s a picture of PP-TinyPose). Here the tensors that are wanted become outputs, and the kernels are those of the
real run.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.convert.tflite_io import read, write

BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}  # the input that is the bias

Tensors = dict[int, NDArray[Any]]  # by index


@dataclass
class Stage:
    """Operations that need only what earlier stages passed on; no layer in it feeds another one of it.

    layers: output tensor -> operation with weights. passed: output tensors that later stages need, or the network's own.
    last_used: tensors that no later stage reads.
    """

    model: Any
    operators: list[Any]
    inputs: list[int]
    layers: dict[int, Any]
    passed: list[int]
    last_used: list[int]

    def run(
        self, states: Sequence[Tensors], pictures: Sequence[NDArray[np.uint8]], threads: int, wanted: Iterable[int]
    ) -> Iterator[Tensors]:
        """The wanted tensors of each picture, as they are stored; states: what earlier stages passed on, one a picture."""
        outputs = list(wanted)
        if not outputs:
            yield from ({} for _ in states)
            return
        content, places = _part(self.model, self.operators, self.inputs, outputs)
        interpreter = _interpreter(content, threads)
        entries = {int(index) for index in self.model.subgraphs[0].inputs}
        details = {int(entry["index"]): entry for entry in interpreter.get_input_details()}
        for state, picture in zip(states, pictures, strict=True):
            for index in self.inputs:
                detail = details[places[index]]
                value = _pixels(picture, detail) if index in entries else state[index]
                interpreter.set_tensor(detail["index"], value)
            interpreter.invoke()
            yield {index: interpreter.get_tensor(places[index]) for index in outputs}


def stages(model: Any) -> list[Stage]:
    """Cut by depth: the number of layers with weights on the longest way from the input."""
    graph = model.subgraphs[0]
    depths: dict[int, int] = {}
    groups: dict[int, list[Any]] = {}
    for operator in graph.operators:
        depth = max((depths.get(int(index), 0) for index in operator.inputs), default=0)
        depth += operator_name(model, operator) in BIAS
        groups.setdefault(depth, []).append(operator)
        depths.update({int(index): depth for index in operator.outputs})
    read_last = {int(index): depth for depth in sorted(groups) for each in groups[depth] for index in each.inputs}
    read_last |= {int(index): max(groups) + 1 for index in graph.outputs}
    made = set(depths) | {int(index) for index in graph.inputs}
    return [_stage(model, groups[depth], depth, made, depths, read_last) for depth in sorted(groups)]


def _stage(
    model: Any, operators: list[Any], depth: int, made: set[int], depths: dict[int, int], read_last: dict[int, int]
) -> Stage:
    written = [int(index) for operator in operators for index in operator.outputs]
    needed = dict.fromkeys(int(index) for operator in operators for index in operator.inputs)
    inputs = [index for index in needed if index in made and index not in written]
    layers = {int(each.outputs[0]): each for each in operators if operator_name(model, each) in BIAS}
    passed = [index for index in written if read_last.get(index, -1) > depth]
    return Stage(model, operators, inputs, layers, passed, [index for index in inputs if read_last[index] == depth])


def operator_name(model: Any, operator: Any) -> str:
    """Such as CONV_2D."""
    from ai_edge_litert import schema_py_generated as schema

    code = model.operatorCodes[operator.opcodeIndex]
    value = max(code.builtinCode, code.deprecatedBuiltinCode)  # old files have only the second, which ends at 127
    return _names(schema)[value]


@functools.cache
def _names(schema: Any) -> dict[int, str]:
    return {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def weighted(model: Any) -> Iterator[Any]:
    """The layers with weights, in order."""
    return (operator for operator in model.subgraphs[0].operators if operator_name(model, operator) in BIAS)


def run_tensors(
    content: bytes, wanted: Iterable[int], pictures: Sequence[NDArray[np.uint8]], threads: int
) -> Iterator[Tensors]:
    """The wanted tensors of each picture, dequantised."""
    outputs = [int(index) for index in wanted]
    model = read(content)
    graph = model.subgraphs[0]
    part, places = _part(model, graph.operators, [int(index) for index in graph.inputs], outputs)
    interpreter = _interpreter(part, threads)
    (entry,) = interpreter.get_input_details()
    answers = {detail["index"]: detail["quantization"] for detail in interpreter.get_output_details()}
    for picture in pictures:
        interpreter.set_tensor(entry["index"], _pixels(picture, entry))
        interpreter.invoke()
        tensors = {}
        for index in outputs:
            value, (scale, zero) = interpreter.get_tensor(places[index]), answers[places[index]]
            tensors[index] = (value.astype(np.float32) - zero) * np.float32(scale) if scale else value
        yield tensors


def _pixels(picture: NDArray[np.uint8], entry: Any) -> NDArray[Any]:
    """As the network's input stores them."""
    (scale, zero), dtype = entry["quantization"], entry["dtype"]
    values = picture[None].astype(np.float32)
    if scale and dtype != np.float32:
        ends = np.iinfo(dtype)
        values = np.clip(np.rint(values / scale) + zero, ends.min, ends.max)
    return np.asarray(values, dtype)


def _part(
    model: Any, operators: Sequence[Any], inputs: Sequence[int], outputs: Sequence[int]
) -> tuple[bytes, dict[int, int]]:
    """A network of these operations alone; and where its tensors, by their indices in the whole, are in it."""
    from ai_edge_litert import schema_py_generated as schema

    graph, part, network = model.subgraphs[0], schema.SubGraphT(), schema.ModelT()
    network.version, network.operatorCodes, network.subgraphs = model.version, model.operatorCodes, [part]
    network.buffers = [schema.BufferT()]  # the first is the empty one of all activations
    part.tensors, part.operators = [], []
    places: dict[int, int] = {}

    def place(index: int) -> int:
        if index >= 0 and index not in places:
            tensor = copy.copy(graph.tensors[index])
            buffer = model.buffers[tensor.buffer]
            tensor.buffer = 0
            if buffer.data is not None and len(buffer.data):
                network.buffers.append(buffer)
                tensor.buffer = len(network.buffers) - 1
            places[index] = len(part.tensors)
            part.tensors.append(tensor)
        return places.get(index, -1)

    for operator in operators:
        operator = copy.copy(operator)
        operator.inputs = [place(int(index)) for index in operator.inputs]
        operator.outputs = [place(int(index)) for index in operator.outputs]
        part.operators.append(operator)
    part.inputs, part.outputs = [place(index) for index in inputs], [place(index) for index in outputs]
    return write(network), places


def _interpreter(content: bytes, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


@dataclass
class Bias:
    """int32 numbers of one layer. scale: (1,) or (C,) float64, of one of them."""

    model: Any
    operator: Any
    place: int
    values: NDArray[np.int32]
    scale: NDArray[np.float64]

    def replace(self, values: NDArray[np.int32]) -> None:
        """This layer's alone, even where others have read the same numbers."""
        graph = self.model.subgraphs[0]
        tensor = graph.tensors[self.operator.inputs[self.place]]
        if sum(int(index) == int(self.operator.inputs[self.place]) for each in graph.operators for index in each.inputs) > 1:
            tensor = copy.copy(tensor)
            graph.tensors.append(tensor)
            inputs = [int(index) for index in self.operator.inputs]
            inputs[self.place] = len(graph.tensors) - 1
            self.operator.inputs = inputs
        if sum(each.buffer == tensor.buffer for each in graph.tensors) > 1:
            self.model.buffers.append(copy.copy(self.model.buffers[tensor.buffer]))
            tensor.buffer = len(self.model.buffers) - 1
        self.model.buffers[tensor.buffer].data = np.frombuffer(values.astype("<i4").tobytes(), np.uint8)


def bias_of(model: Any, operator: Any) -> Bias | None:
    """None where a layer has none, or one that is not of int32."""
    from ai_edge_litert import schema_py_generated as schema

    place = BIAS[operator_name(model, operator)]
    if len(operator.inputs) <= place or operator.inputs[place] < 0:
        return None
    tensor = model.subgraphs[0].tensors[operator.inputs[place]]
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.INT32 or tensor.quantization is None or data is None or not len(data):
        return None
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<i4").astype(np.int32)
    return Bias(model, operator, place, values, np.asarray(tensor.quantization.scale, np.float64))
