"""Reads .tflite files, and refuses what is none or is damaged.

The layout is TensorFlow Lite's schema (tensorflow/lite/schema/schema.fbs); the parser is the one that ships in ai-edge-litert.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from common.manifest import ModelError
from models.edgetpu.graph import Model, Op, Subgraph, Tensor

IDENTIFIER = b"TFL3"
# TensorFlow Lite counts a tensor's elements in an int (RuntimeShape::FlatSize): more is no network but damage.
MAX_ELEMENTS = 2**31 - 1
_SCHEMA = "ai_edge_litert.schema_py_generated"


def read_model(path: Path) -> Model:
    """Read a .tflite file.

    Raises ModelError, naming the file and what is wrong with it, where it is missing, of another kind, or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise ModelError(f"{path} is no TensorFlow Lite model: {_seems(content)}; give a .tflite file")
    schema = _schema()
    try:
        return _model(path, content, schema)
    except ModelError:
        raise
    except Exception as error:  # the flatbuffers reader verifies nothing: damaged bytes raise whatever they lead to
        raise ModelError(
            f"{path} is damaged or cut short ({type(error).__name__}: {error}); copy or convert it again"
        ) from error


def _seems(content: bytes) -> str:
    if not content:
        return "it is empty"
    known = {b"PK\x03\x04": "a zip archive", b"\x89HDF": "a Keras HDF5 file", b"<htm": "a web page", b"<!DO": "a web page",
             b"vers": "a Git LFS pointer"}  # fmt: skip
    if content[:4] in known:
        return f"it looks like {known[content[:4]]}"
    if content[:1] == b"\x08" and b"onnx" in content[:4096].lower():
        return "it looks like an ONNX model"
    return f"bytes 4 to 8 are {content[4:8]!r}, not {IDENTIFIER!r}"


def _schema() -> Any:
    try:
        return importlib.import_module(_SCHEMA)
    except ImportError as error:
        raise ModelError("reading .tflite files needs ai-edge-litert; run `pip install posebus[tflite]`") from error


def _model(path: Path, content: bytes, schema: Any) -> Model:
    parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    if not parsed.subgraphs:
        raise ModelError(f"{path} holds no subgraph: it is damaged; convert it again")
    names = _Names(schema)
    buffers = [_data(buffer, content, path) for buffer in parsed.buffers or []]
    codes = [names.code(code) for code in parsed.operatorCodes or []]
    subgraphs = tuple(_subgraph(path, part, buffers, codes, names) for part in parsed.subgraphs)
    return Model(path, subgraphs, len(content), _text(parsed.description))


def _data(buffer: Any, content: bytes, path: Path) -> bytes | None:
    if buffer.data is not None and len(buffer.data):
        return bytes(buffer.data)
    if buffer.offset > 1:  # models above 2 GB keep their constants behind the flatbuffer
        if buffer.offset + buffer.size > len(content):
            raise ModelError(f"{path} is cut short: a constant ends at byte {buffer.offset + buffer.size} of {len(content)}")
        return content[buffer.offset : buffer.offset + buffer.size]
    return None


class _Names:
    """The schema's enumerations by name."""

    def __init__(self, schema: Any) -> None:
        self.ops = _by_value(schema.BuiltinOperator)
        self.types = _by_value(schema.TensorType)
        self._enumerations = {
            "padding": _by_value(schema.Padding),
            "fused_activation_function": _by_value(schema.ActivationFunctionType),
            "weights_format": _by_value(schema.FullyConnectedOptionsWeightsFormat),
        }

    def code(self, code: Any) -> tuple[str, int, str]:
        # Operators above 127 do not fit the first field; the larger of both is meant (schema.fbs, OperatorCode).
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return self.ops.get(number, f"BUILTIN_{number}"), code.version, _text(code.customCode)

    def options(self, op: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for source in (op.builtinOptions, op.builtinOptions2):
            for key, value in vars(source).items() if source is not None else ():
                name = re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower()
                names = self._enumerations.get(name)
                found[name] = names.get(value, str(value)) if names else _plain(value)
        return found


def _by_value(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int) and not name.startswith("_")}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list):
        return tuple(item.item() if isinstance(item, np.generic) else item for item in value)
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace") if value else ""


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values) if values is not None else ()


def _subgraph(path: Path, part: Any, buffers: list[bytes | None], codes: list[tuple[str, int, str]], names: _Names) -> Subgraph:
    tensors = tuple(_tensor(index, tensor, buffers, names) for index, tensor in enumerate(part.tensors or []))
    for tensor in tensors:
        if tensor.size > MAX_ELEMENTS or any(side < -1 for side in tensor.shape):
            sides = "x".join(map(str, tensor.shape))
            raise ModelError(f"{path} is damaged: tensor {tensor.index} {tensor.name!r} is {sides}; copy or convert it again")
    ops = tuple(_op(index, op, codes, names) for index, op in enumerate(part.operators or []))
    graph = Subgraph(_text(part.name), tensors, ops, _numbers(part.inputs), _numbers(part.outputs))
    for owner, indices in [("the graph", graph.inputs + graph.outputs), *((op.label, op.inputs + op.outputs) for op in ops)]:
        wrong = [index for index in indices if not -1 <= index < len(tensors)]
        if wrong:
            raise ModelError(f"{path} is damaged: {owner} names tensor {wrong[0]} of {len(tensors)}; convert it again")
    made: set[int] = set()
    for op in ops:
        later = [tensor for tensor in op.inputs if tensor in graph.producer and tensor not in made]
        if later:
            raise ModelError(f"{path} is damaged: {op.label} {op.index} reads tensor {later[0]} before it is made")
        made.update(op.outputs)
    return graph


def _tensor(index: int, tensor: Any, buffers: list[bytes | None], names: _Names) -> Tensor:
    quantisation = tensor.quantization
    scales = quantisation.scale if quantisation is not None else None
    shape, signature = _numbers(tensor.shape), _numbers(tensor.shapeSignature)
    open_batch = bool(signature) and signature[0] == -1 and shape[:1] == (1,) and -1 not in signature[1:]
    return Tensor(
        index=index,
        name=_text(tensor.name),
        dtype=names.types.get(tensor.type, f"TYPE_{tensor.type}"),
        shape=shape,
        dynamic=(-1 in signature and not open_batch) or -1 in shape,
        open_batch=open_batch,
        scales=tuple(float(scale) for scale in scales) if scales is not None else (),
        zero_points=_numbers(quantisation.zeroPoint) if quantisation is not None else (),
        axis=int(quantisation.quantizedDimension) if quantisation is not None else 0,
        data=buffers[tensor.buffer],
        variable=bool(tensor.isVariable),
    )


def _op(index: int, op: Any, codes: list[tuple[str, int, str]], names: _Names) -> Op:
    kind, version, custom = codes[op.opcodeIndex]
    return Op(
        index=index,
        kind=kind,
        version=version,
        inputs=_numbers(op.inputs),
        outputs=_numbers(op.outputs),
        options=names.options(op),
        custom=custom if kind == "CUSTOM" else "",
        custom_bytes=len(op.customOptions) if op.customOptions is not None else 0,
    )
