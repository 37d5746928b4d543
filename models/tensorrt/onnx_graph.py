"""An ONNX file with its wiring: who makes a tensor, who reads it, which are constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.manifest import ModelError

INSTALL = "checking .onnx files needs the package onnx; run `pip install posebus[tensorrt-check]`"


@dataclass(frozen=True)
class OnnxGraph:
    """model: onnx.ModelProto; nodes: of the main graph, in order; shapes: by tensor, -1 where only known at run time."""

    path: Path
    model: Any
    nodes: tuple[Any, ...]
    constants: dict[str, Any]  # onnx.TensorProto by name
    producer: dict[str, int]
    consumers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def opset(self) -> int:
        return max((item.version for item in self.model.opset_import if item.domain in ("", "ai.onnx")), default=0)

    @property
    def inputs(self) -> list[Any]:
        return [value for value in self.model.graph.input if value.name not in self.constants]

    def values(self, name: str) -> NDArray[Any] | None:
        """A constant's values; None where it is no constant, or its data lie in a file that is not there."""
        if name not in self.constants:
            return None
        from onnx import numpy_helper

        try:
            return np.asarray(numpy_helper.to_array(self.constants[name], base_dir=str(self.path.parent)))
        except (OSError, ValueError):
            return None

    def maker(self, name: str) -> Any:
        """The node that makes a tensor; None for inputs and constants."""
        return self.nodes[self.producer[name]] if name in self.producer else None


def read_graph(path: Path) -> OnnxGraph:
    """Read an .onnx file; raises ModelError naming the file and what is wrong with it."""
    try:
        import onnx
    except ImportError as error:
        raise ModelError(INSTALL) from error
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf has several decode errors, by implementation
        raise ModelError(f"{path} is no ONNX model, or damaged ({error}); give an .onnx file") from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(f"{path} is no ONNX model: it has no operators or no opset; give an .onnx file")
    return _wired(path, model)


def _wired(path: Path, model: Any) -> OnnxGraph:
    nodes = tuple(model.graph.node)
    constants = {item.name: item for item in model.graph.initializer}
    for node in nodes:
        for item in node.attribute:
            if node.op_type == "Constant" and item.name == "value":
                constants[node.output[0]] = item.t
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(index)
    graph = OnnxGraph(path, model, nodes, constants, producer, {name: tuple(found) for name, found in readers.items()})
    _infer(graph)
    return graph


def _infer(graph: OnnxGraph) -> None:
    """Types and shapes, as far as ONNX's own inference finds them."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(graph.model)
    except Exception:  # a model that cannot be inferred is still checked, with what it says itself
        inferred = graph.model
    for value in (*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info):
        tensor = value.type.tensor_type
        graph.types[value.name] = onnx.TensorProto.DataType.Name(tensor.elem_type)
        graph.shapes[value.name] = tuple(item.dim_value if item.HasField("dim_value") else -1 for item in tensor.shape.dim)
    for name, constant in graph.constants.items():
        graph.types[name] = onnx.TensorProto.DataType.Name(constant.data_type)
        graph.shapes[name] = tuple(constant.dims)


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """An attribute's plain value."""
    from onnx import helper

    for item in node.attribute:
        if item.name == name:
            value = helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return default


def every_node(graph: Any) -> Iterator[Any]:
    """All nodes, those in the bodies of If, Loop and Scan too."""
    for node in graph.node:
        yield node
        for item in node.attribute:
            if item.HasField("g"):
                yield from every_node(item.g)
            for body in item.graphs:
                yield from every_node(body)


def title(node: Any, index: int | None = None) -> str:
    """What a node is called: its name, or its first output's where it has none."""
    name = node.name or (node.output[0] if node.output else "")
    return f"{node.op_type} {name!r}" if name else f"{node.op_type} {index}"
