"""What a .tflite file holds, as plain records: tensors, operators in order, their options.

The layout is TensorFlow Lite's schema (tensorflow/lite/schema/schema.fbs); the reader is the one that ships in ai-edge-litert.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.manifest import ModelError

IDENTIFIER = b"TFL3"
# The operator into which edgetpu_compiler folds what runs on the device.
COMPILED_OP = "edgetpu-custom-op"
_SCHEMA = "ai_edge_litert.schema_py_generated"
_NUMPY = {
    "FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "i1", "UINT8": "u1", "BOOL": "?", "INT16": "<i2",
    "UINT16": "<u2", "INT32": "<i4", "UINT32": "<u4", "INT64": "<i8", "UINT64": "<u8",
}  # fmt: skip
_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "BFLOAT16": 16, "COMPLEX64": 64, "COMPLEX128": 128}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph.

    shape: () for a scalar; dtype: as the schema says, `INT8`; dynamic: a dimension is only known at run time;
    open_batch: only the first is, and is 1 so far, as Keras writes it.
    scales, zero_points: empty where not quantised, one a channel of `axis` where per channel; data: a constant's bytes.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    dynamic: bool = False
    open_batch: bool = False
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: bytes | None = field(default=None, repr=False)
    variable: bool = False

    @property
    def constant(self) -> bool:
        return self.data is not None

    @property
    def quantised(self) -> bool:
        return bool(self.scales)

    @property
    def per_channel(self) -> bool:
        return len(self.scales) > 1

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Elements; a dynamic dimension counts as 1."""
        return math.prod(max(side, 1) for side in self.shape)

    @property
    def size_bytes(self) -> int:
        bits = np.dtype(_NUMPY[self.dtype]).itemsize * 8 if self.dtype in _NUMPY else _BITS.get(self.dtype, 8)
        return (self.size * bits + 7) // 8

    def values(self) -> NDArray[Any] | None:
        """A constant's values in its shape; None where it is no constant, or of a type that NumPy has not."""
        if self.data is None or self.dtype not in _NUMPY or len(self.data) != self.size_bytes:
            return None
        return np.frombuffer(self.data, _NUMPY[self.dtype]).reshape(self.shape)


@dataclass(frozen=True)
class Op:
    """One operator. kind: `CONV_2D`, `CUSTOM`; custom: a custom operator's name; inputs: -1 where left out."""

    index: int
    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: str = ""
    custom_bytes: int = 0

    @property
    def label(self) -> str:
        return self.custom or self.kind


@dataclass(frozen=True)
class Subgraph:
    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def producer(self) -> dict[int, int]:
        """Tensor -> the operator that makes it; graph inputs and constants have none."""
        return {tensor: op.index for op in self.ops for tensor in op.outputs}

    @cached_property
    def consumers(self) -> dict[int, tuple[int, ...]]:
        """Tensor -> the operators that read it."""
        found: dict[int, list[int]] = {}
        for op in self.ops:
            for tensor in dict.fromkeys(op.inputs):
                found.setdefault(tensor, []).append(op.index)
        return {tensor: tuple(ops) for tensor, ops in found.items()}

    def input(self, op: Op, number: int) -> Tensor | None:
        """An operator's input, None where it is left out."""
        if number >= len(op.inputs) or op.inputs[number] < 0:
            return None
        return self.tensors[op.inputs[number]]

    def output(self, op: Op, number: int = 0) -> Tensor:
        return self.tensors[op.outputs[number]]

    def name_of(self, op: Op) -> str:
        """What an operator is called: the name of its first output."""
        return self.output(op).name if op.outputs else ""


@dataclass(frozen=True)
class Model:
    path: Path
    subgraphs: tuple[Subgraph, ...]
    size_bytes: int
    description: str = ""


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
