"""An OpenVINO network (IR .xml with its .bin) as a PyTorch module.

Its manifest, which says how pixels are normalised and how outputs are read, is found as `graph_source.artifact_of` tells.
Whole-number outputs, such as the positions of maxima, are left out: decoders find these themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import fx

from models.convert.graph_build import Builder, Value
from models.convert.graph_openvino import HANDLERS
from models.convert.graph_simplify import simplify
from models.convert.graph_source import artifact_of, input_size, source_of
from models.convert.source import ConversionError, Source

__all__ = ["import_openvino", "load", "reads"]


def reads(path: Path) -> bool:
    """Whether the file is OpenVINO's IR."""
    return path.suffix.lower() == ".xml" and b"<net" in path.read_bytes()[:400]


def load(path: Path, variant: str | None) -> Source:
    """Read the network in `path` (.xml, its weights beside it). variant: name or folder of the artifact with its manifest.

    Raises ConversionError naming what is missing, or the node that cannot be imported.
    """
    artifact = artifact_of(path, variant)
    module, outputs = import_openvino(path, input_size(artifact), layout=artifact.manifest.input.layout)
    return source_of(artifact, module, outputs, layout=artifact.manifest.input.layout)


def import_openvino(path: Path, size_px: tuple[int, int], *, layout: str = "NCHW") -> tuple[fx.GraphModule, tuple[str, ...]]:
    """The module and the names of its outputs. size_px: (width, height); layout: of the network's input."""
    try:
        import openvino
        from openvino import passes
    except ImportError as error:
        raise ConversionError("reading an OpenVINO network needs it; run `pip install posebus[openvino]`") from error
    try:
        model = openvino.Core().read_model(path)
        width, height = size_px
        model.reshape([1, 3, height, width] if layout == "NCHW" else [1, height, width, 3])
    except RuntimeError as error:
        raise ConversionError(f"{path}: OpenVINO cannot read it for {size_px[0]}x{size_px[1]} pixels: {error}") from error
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    results = [result for result in model.get_results() if result.get_output_element_type(0).is_real()]
    if not results:
        raise ConversionError(f"{path}: has no output of floats")
    values: dict[tuple[str, int], Value] = {}
    builder = Builder()
    needed = _needed(results)
    for node in model.get_ordered_ops():
        if node.get_name() in needed:
            _import_node(builder, node, values)
    module = builder.build([values[_key(result.input(0).get_source_output())] for result in results])
    return simplify(module), tuple(_output_name(result, i) for i, result in enumerate(results))


def _import_node(builder: Builder, node: Any, values: dict[tuple[str, int], Value]) -> None:
    kind = node.get_type_name()
    if kind == "Result":
        return
    if kind == "Parameter":
        made: Value | list[Value] = builder.input(torch.zeros(*node.get_output_shape(0)))
    elif kind == "Constant":
        # Copied: OpenVINO owns the memory. Half-precision weights become float32.
        made = Value(_floats(torch.from_numpy(node.data.copy())))
    elif kind in HANDLERS:
        inputs = [values[_key(source.get_source_output())] for source in node.inputs()]
        made = HANDLERS[kind](builder, node, inputs)
    else:
        raise ConversionError(
            f"node {node.get_friendly_name()!r} is a {kind}, which cannot be imported; supported are "
            f"{', '.join(sorted(HANDLERS))}. Export the network without it, or without its post-processing"
        )
    for i, value in enumerate(made if isinstance(made, list) else [made]):
        values[node.get_name(), i] = value


def _needed(results: list[Any]) -> set[str]:
    """Names of all nodes that the results depend on."""
    waiting, found = list(results), set()
    while waiting:
        node = waiting.pop()
        if node.get_name() not in found:
            found.add(node.get_name())
            waiting += [source.get_source_output().get_node() for source in node.inputs()]
    return found


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _output_name(result: Any, index: int) -> str:
    names = result.input(0).get_source_output().get_names()
    return sorted(names)[0] if names else f"output_{index}"


def _floats(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.float64) else tensor
