"""An ONNX network as a PyTorch module.

Its manifest, which says how pixels are normalised and how outputs are read, is found as `graph_source.artifact_of` tells.
Opsets 7 and later; shapes are fixed to the manifest's picture, the batch stays free.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from models.convert.graph_build import Builder, Value
from models.convert.graph_onnx import HANDLERS, Options
from models.convert.graph_simplify import simplify
from models.convert.graph_source import artifact_of, input_size, source_of
from models.convert.source import ConversionError, Source

__all__ = ["import_onnx", "load", "reads"]

# What Python, NumPy and PyTorch raise for a node whose attributes, number of inputs, shapes or types do not belong together.
_UNFIT = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


def reads(path: Path) -> bool:
    """Whether the file is ONNX, by its name: the format has no mark of its own."""
    return path.suffix.lower() == ".onnx"


def load(path: Path, variant: str | None) -> Source:
    """Read the network in `path`. variant: name or folder of the artifact with its manifest.

    Raises ConversionError naming what is missing, or the node that cannot be imported.
    """
    model = _read(path)  # first: a damaged file is no reason to ask for a manifest
    artifact = artifact_of(path, variant)
    layout = artifact.manifest.input.layout
    module, outputs = _imported(path, model, input_size(artifact), layout)
    return source_of(artifact, module, outputs, layout=layout)


def import_onnx(path: Path, size_px: tuple[int, int], *, layout: str = "NCHW") -> tuple[fx.GraphModule, tuple[str, ...]]:
    """The module and the names of its outputs. size_px: (width, height); layout: of the network's input."""
    return _imported(path, _read(path), size_px, layout)


def _read(path: Path) -> Any:
    """The ONNX model with all its weights; those of large networks may lie in a second file."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConversionError("reading an ONNX network needs the package onnx; run `pip install posebus[convert]`") from error
    damaged = f"{path}: is not an ONNX network that can be read, or a damaged one"
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ConversionError(f"{damaged}: {error}; copy or export it again") from error
    if not model.graph.node:
        raise ConversionError(f"{damaged}: it holds no nodes; copy or export it again")
    # Names only; whether one leads out of the folder is checked where it is opened.
    names = {entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"}
    if missing := sorted(name for name in names if not (path.parent / name).is_file()):
        raise ConversionError(f"{path}: its weights lie in a second file that is missing; copy {missing[0]!r} beside it")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ConversionError(f"{path}: its weights in a second file cannot be read: {error}; export it again") from error
    return model


def _imported(path: Path, model: Any, size_px: tuple[int, int], layout: str) -> tuple[fx.GraphModule, tuple[str, ...]]:
    graph = model.graph
    values = {tensor.name: Value(_weights(path, tensor)) for tensor in graph.initializer}
    sources = [source for source in graph.input if source.name not in values]
    if len(sources) != 1:
        names = ", ".join(source.name for source in sources) or "none"
        raise ConversionError(f"{path}: has the inputs {names}; networks with one picture as input are supported")
    builder = Builder()
    width, height = size_px
    shape = (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
    _check_input(path, sources[0], shape)
    values[sources[0].name] = builder.input(torch.zeros(shape))
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    needed = _needed(graph)
    for index, node in enumerate(graph.node):
        if any(name in needed for name in node.output):
            _import_node(path, builder, node.name or f"{node.op_type}_{index}", node, opset, values)
    _check_made(f"{path}: the network's output", [output.name for output in graph.output], values)
    outputs = [output.name for output in graph.output if values[output.name].tensor.dtype.is_floating_point]
    if not outputs:
        raise ConversionError(f"{path}: has no output of floats")
    return simplify(builder.build([values[name] for name in outputs])), tuple(outputs)


def _import_node(path: Path, builder: Builder, name: str, node: Any, opset: int, values: dict[str, Value]) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in HANDLERS:
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise ConversionError(
            f"{path}: node {name!r} is a {kind}, which cannot be imported; supported are {', '.join(sorted(HANDLERS))}. "
            "Export the network without it, or without its post-processing"
        )
    _check_made(f"{path}: node {name!r} ({node.op_type})", [source for source in node.input if source], values)
    try:
        options: Options = {attribute.name: _option(attribute) for attribute in node.attribute} | {"opset": opset}
        inputs = [values[source] if source else None for source in node.input]
        made = HANDLERS[node.op_type](builder, name, inputs, options)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from error
    except _UNFIT as error:
        raise ConversionError(f"{path}: node {name!r} ({node.op_type}) does not fit its inputs: {_reason(error)}") from error
    values |= zip(node.output, made if isinstance(made, list) else [made], strict=False)


def _check_made(who: str, names: list[str], values: dict[str, Value]) -> None:
    absent = next((name for name in names if name not in values), None)
    if absent is not None:
        raise ConversionError(f"{who} takes {absent!r}, which nothing before it makes; the file is damaged: export it again")


def _needed(graph: Any) -> set[str]:
    """Names of all values that the outputs depend on."""
    producers = {output: node for node in graph.node for output in node.output}
    waiting, found = [output.name for output in graph.output], set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += list(producers[name].input) if name in producers else []
    return found


def _check_input(path: Path, source: Any, shape: tuple[int, ...]) -> None:
    """Raise unless the graph's own input shape allows the manifest's picture; the batch may be anything."""
    dims = [dim.dim_value for dim in source.type.tensor_type.shape.dim]  # 0: free
    if len(dims) != 4 or any(own not in (0, wanted) for own, wanted in zip(dims[1:], shape[1:], strict=True)):
        raise ConversionError(f"{path}: input {source.name!r} is {dims} (0: free), the manifest's picture is {list(shape)}")


def _option(attribute: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    return value


def _weights(path: Path, stored: Any) -> torch.Tensor:
    try:
        return _tensor(stored)
    except _UNFIT as error:
        raise ConversionError(
            f"{path}: the constant {stored.name!r} of type {stored.data_type} and shape {list(stored.dims)} cannot be read: "
            f"{_reason(error)}; the file is damaged, or of a type that PyTorch has not: export it again"
        ) from error


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error).strip() or type(error).__name__


def _tensor(stored: Any) -> torch.Tensor:
    """A stored tensor; floats of any width as float32: the module computes in it."""
    import onnx

    tensor = torch.from_numpy(np.array(onnx.numpy_helper.to_array(stored)))  # a copy: the file's bytes cannot be written to
    return tensor.float() if tensor.dtype in (torch.float16, torch.float64, torch.bfloat16) else tensor
