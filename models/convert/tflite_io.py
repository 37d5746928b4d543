"""Inputs and outputs of a TFLite file: names, and pixels as uint8 or int8, by editing the file itself.

The converter names tensors after its own workings, and quantises to int8 only. Renaming, and a CAST or QUANTIZE in front or
behind, are changes of a few bytes that no tool offers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from models.convert.source import ConversionError

Integers = Literal["int8", "uint8"]
_ALIGNMENT = 16
_ZERO_SHIFT = 128  # between the zero points of the same numbers as uint8 and as int8


def set_io(content: bytes, inputs: Sequence[str], outputs: Sequence[str], *, integers: Integers = "int8") -> bytes:
    """Name inputs and outputs, and make the network take (and an integer one give) 8-bit numbers.

    A float32 input becomes uint8, cast in the graph. An int8 input or output stays int8, or becomes uint8 (scale kept, zero
    point + 128, one QUANTIZE each) with integers="uint8". Raises ConversionError for a file of another form.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read(content)
    graph = _only_graph(model)
    for indices, names, kind in ((graph.inputs, inputs, "input"), (graph.outputs, outputs, "output")):
        if len(indices) != len(names):
            raise ConversionError(f"the TFLite network has {len(indices)} {kind}s, expected {', '.join(names)}")
    graph.inputs = [_as_input(schema, model, index, integers) for index in graph.inputs]
    graph.outputs = [_as_output(schema, model, index, integers) for index in graph.outputs]
    _rename(model, graph, inputs, outputs)
    return write(model)


def read(content: bytes) -> Any:
    """The file as objects, all weights in their buffers; raises ConversionError where it is none."""
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        raise ConversionError("not a TFLite file: it does not have the identifier TFL3")
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # behind the flatbuffer, as the quantiser leaves shared ones: older readers know no such place
            buffer.data = np.frombuffer(content, np.uint8, count=buffer.size, offset=buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def write(model: Any) -> bytes:
    """Objects as a file, its weights at multiples of 16 bytes: the format demands it (schema.fbs), and kernels rely on it."""
    import flatbuffers

    class Aligned(flatbuffers.Builder):
        def CreateNumpyVector(self, values: Any) -> int:  # noqa: N802  # its name
            self.Prep(_ALIGNMENT, values.nbytes)
            return int(super().CreateNumpyVector(values))

    builder = Aligned(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operations(content: bytes) -> list[str]:
    """Names of the operations in order, such as CONV_2D."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = read(content)
    return [names[_code(model.operatorCodes[operator.opcodeIndex])] for operator in _only_graph(model).operators]


def _only_graph(model: Any) -> Any:
    if len(model.subgraphs) != 1:
        raise ConversionError(f"the TFLite network has {len(model.subgraphs)} subgraphs; only one can be handled")
    return model.subgraphs[0]


def _code(code: Any) -> int:
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _as_input(schema: Any, model: Any, index: int, integers: Integers) -> int:
    """Index of the tensor that is the input now."""
    graph, tensor = model.subgraphs[0], model.subgraphs[0].tensors[index]
    if tensor.type == schema.TensorType.FLOAT32:
        added = _add_tensor(schema, graph, tensor, schema.TensorType.UINT8, None)
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = schema.TensorType.UINT8, schema.TensorType.FLOAT32
        graph.operators.insert(0, _operator(schema, model, "CAST", added, index, options))
        return added
    if tensor.type == schema.TensorType.INT8 and integers == "uint8":
        added = _add_tensor(schema, graph, tensor, schema.TensorType.UINT8, _shifted(schema, tensor))
        graph.operators.insert(0, _operator(schema, model, "QUANTIZE", added, index, schema.QuantizeOptionsT()))
        return added
    return index


def _as_output(schema: Any, model: Any, index: int, integers: Integers) -> int:
    graph, tensor = model.subgraphs[0], model.subgraphs[0].tensors[index]
    if tensor.type != schema.TensorType.INT8 or integers == "int8":
        return index
    added = _add_tensor(schema, graph, tensor, schema.TensorType.UINT8, _shifted(schema, tensor))
    graph.operators.append(_operator(schema, model, "QUANTIZE", index, added, schema.QuantizeOptionsT()))
    return added


def _add_tensor(schema: Any, graph: Any, like: Any, kind: int, quantisation: Any) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.quantization = like.name, kind, quantisation
    tensor.shape, tensor.shapeSignature, tensor.hasRank = like.shape, like.shapeSignature, True
    tensor.buffer = 0  # the format's empty buffer: nothing is stored for activations
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _shifted(schema: Any, tensor: Any) -> Any:
    quantisation = schema.QuantizationParametersT()
    quantisation.scale = [float(tensor.quantization.scale[0])]
    quantisation.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + _ZERO_SHIFT]
    return quantisation


def _operator(schema: Any, model: Any, name: str, source: int, target: int, options: Any) -> Any:
    wanted = getattr(schema.BuiltinOperator, name)
    codes = [_code(code) for code in model.operatorCodes]
    if wanted not in codes:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = wanted, min(wanted, 127), 1
        model.operatorCodes.append(code)
        codes.append(wanted)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = codes.index(wanted), [source], [target]
    kind = "CastOptions" if name == "CAST" else "QuantizeOptions"
    operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, kind), options
    return operator


def _rename(model: Any, graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for indices, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for index, name in zip(indices, names, strict=True):
            graph.tensors[index].name = name.encode()
    for signature in model.signatureDefs or []:
        for maps, indices, names in (
            (signature.inputs, graph.inputs, inputs), (signature.outputs, graph.outputs, outputs),
        ):  # fmt: skip
            for entry, index, name in zip(maps, indices, names, strict=True):
                entry.name, entry.tensorIndex = name.encode(), index
