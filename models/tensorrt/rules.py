"""What can be said of an ONNX network for TensorRT from the file alone: opset, operators, types, dynamic sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from models.tensorrt.finding import Finding, error, note, warning
from models.tensorrt.onnx_graph import OnnxGraph, attribute, every_node, title
from models.tensorrt.table import (
    IN_BOTH,
    IN_NONE,
    NEW,
    OLD,
    OLDEST_OPSET,
    ONLY_NEW,
    OPSETS,
    OTHER_SCHEMES,
    OWN_PLUGINS,
    PLUGIN_DOMAINS,
    RESIZE_COORDINATES,
    RESIZE_MODES,
    RESIZE_NEAREST,
    UINT8_SINCE,
)

Check = Callable[[OnnxGraph, Any], Iterator[Finding]]
INT32_MAX = 2**31 - 1


def look_over(graph: OnnxGraph) -> list[Finding]:
    """All findings of the rules but those on quantisation; each once, where nodes of the same name share one."""
    found = [*_opset(graph), *_inputs(graph), *_weights(graph), *_names(graph)]
    for node in every_node(graph.model.graph):
        found.extend(_operator(graph, node))
    return list(dict.fromkeys(found))


def _opset(graph: OnnxGraph) -> Iterator[Finding]:
    if not graph.opset:
        yield error("opset", "the file names no opset of ONNX's own operators", "export it again")
    elif graph.opset < OLDEST_OPSET:
        text = f"opset {graph.opset} is older than {OLDEST_OPSET}, the oldest that is supported"
        yield warning("opset", text, "convert with onnx.version_converter")
    for release, newest in OPSETS.items():
        if graph.opset > newest:
            say = error if release == NEW else warning
            text = f"opset {graph.opset} is newer than {newest}, the newest of TensorRT {release}"
            yield say("opset", text, f"export with opset {newest}")


def _inputs(graph: OnnxGraph) -> Iterator[Finding]:
    for value in graph.inputs:
        shape, kind = graph.shapes.get(value.name, ()), graph.types.get(value.name, "")
        open_sides = [position for position, side in enumerate(shape) if side < 0]
        if 0 in open_sides:
            yield note(value.name, "the batch is dynamic: an engine needs a profile, posebus builds 1 to 8")
        if sides := [position for position in open_sides if position > 0]:
            text = f"dimensions {', '.join(map(str, sides))} are dynamic: the engine is tuned for one size and needs a profile"
            yield warning(value.name, text, "export with fixed height and width")
        if kind == "UINT8":
            yield from _pixels(graph, value.name)
        elif kind in ("DOUBLE", "STRING", "INT16", "UINT16", "UINT32", "UINT64", "COMPLEX64"):
            say = warning if kind == "DOUBLE" else error
            yield say(value.name, f"input of type {kind}", "export with float32 or uint8 inputs")


def _pixels(graph: OnnxGraph, name: str) -> Iterator[Finding]:
    """UINT8 is allowed for inputs and outputs of the network only, so the first thing must be a Cast."""
    others = [graph.nodes[index] for index in graph.consumers.get(name, ()) if graph.nodes[index].op_type != "Cast"]
    for node in others:
        text = f"reads the uint8 input {name!r} directly; TensorRT has uint8 for inputs only"
        yield error(title(node), text, "cast it to float first")
    if not others:
        yield note(name, f"uint8 input, cast at once: the tables name that from TensorRT {UINT8_SINCE} on, {OLD} does not")


def _names(graph: OnnxGraph) -> Iterator[Finding]:
    """Two quantising operators of one name: the parser of TensorRT for RTX 1.7 refuses the second."""
    names = Counter(node.name for node in graph.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear"))
    for name, count in names.items():
        if name and count > 1:
            text = f"{count} quantising operators have this name; the parser refuses the second"
            yield warning(name, text, "give each its own")


def _weights(graph: OnnxGraph) -> Iterator[Finding]:
    wide = [name for name, kind in graph.types.items() if kind == "INT64" and name in graph.constants]
    doubles = [name for name, kind in graph.types.items() if kind == "DOUBLE" and name in graph.constants]
    for name in wide:
        values = graph.values(name)
        sizes = np.abs(values.astype(np.float64)) if values is not None else np.zeros(0)
        # Slices to the end are written as the largest integer, and clamping leaves their meaning.
        if np.any((sizes > INT32_MAX) & (sizes < 2**62)):
            yield warning(name, f"constant beyond 32 bits: TensorRT {OLD} clamps it", "keep constants within 32 bits")
    if wide:
        yield note(f"{len(wide)} constants", f"of type INT64, such as {wide[0]!r}: TensorRT {OLD} casts them to INT32")
    if doubles:
        text = f"of type DOUBLE, such as {doubles[0]!r}: cast to float32"
        yield warning(f"{len(doubles)} constants", text, "export in float32")


def _operator(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    kind = node.op_type
    if kind in OWN_PLUGINS and node.domain in PLUGIN_DOMAINS and kind not in IN_BOTH:
        text = f"needs the plugin {kind}, which ships with TensorRT but not with TensorRT for RTX"
        yield warning(title(node), text, "load libnvinfer_plugin before the engine")
    elif node.domain not in ("", "ai.onnx"):
        yield error(
            title(node), f"operator of the domain {node.domain!r}: needs a plugin of yours",
            "export with ONNX's own operators, or register a plugin",
        )
    elif kind in IN_NONE:
        yield error(
            title(node), "is in no release's table of supported operators", OTHER_SCHEMES.get(kind,
            "rewrite it, or cut it off and do it on the host"),
        )
    elif kind in ONLY_NEW:
        yield warning(title(node), f"is supported by TensorRT {NEW} but not by {OLD}", "export with an older opset")
    elif kind not in IN_BOTH:
        yield error(title(node), "is unknown to the tables of supported operators", "register a plugin, or rewrite it")
    else:
        for check in _LIMITS.get(kind, ()):
            yield from check(graph, node)


def _resize(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    mode = attribute(node, "mode", "nearest")
    coordinates = attribute(node, "coordinate_transformation_mode", "half_pixel")
    nearest = attribute(node, "nearest_mode", "round_prefer_floor")
    if mode not in RESIZE_MODES:
        yield error(title(node), f"mode {mode!r}; TensorRT has {', '.join(RESIZE_MODES)}", "resize linearly")
    if coordinates not in RESIZE_COORDINATES:
        yield error(title(node), f"coordinates {coordinates!r} are not supported", "use half_pixel or asymmetric")
    if mode == "nearest" and nearest not in RESIZE_NEAREST:
        yield error(title(node), f"nearest mode {nearest!r} is not supported", "use floor")
    if attribute(node, "antialias", 0):
        yield error(title(node), "antialiasing is not supported", "resize without it")


def _max_pool(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    if len(node.output) > 1 and node.output[1]:
        yield error(title(node), "its output of indices is not supported", "export without return_indices")
    yield from _dilations(graph, node)


def _dilations(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    if any(item != 1 for item in attribute(node, "dilations", [])):
        yield error(title(node), "a pool with dilations is not supported", "pool without")


def _constant(number: int, what: str) -> Check:
    def check(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
        if len(node.input) > number and node.input[number] and node.input[number] not in graph.constants:
            yield warning(
                title(node), f"{what} is computed; TensorRT needs a constant there, or folds it itself",
                "fold constants before export (onnxsim, polygraphy surgeon sanitize)",
            )

    return check


def _nms(graph: OnnxGraph, node: Any) -> Iterator[Finding]:
    yield warning(
        title(node), "the number of its outputs is dynamic; TensorRT for RTX has no implementation of it",
        "cut it off and suppress on the host",
    )


_LIMITS: dict[str, tuple[Check, ...]] = {
    "Resize": (_resize,),
    "MaxPool": (_max_pool,),
    "AveragePool": (_dilations,),
    "LpPool": (_dilations,),
    "TopK": (_constant(1, "K"),),
    "CumSum": (_constant(1, "the axis"),),
    "Squeeze": (_constant(1, "the axes"),),
    "Unsqueeze": (_constant(1, "the axes"),),
    "ReduceSum": (_constant(1, "the axes"),),
    "ReduceMean": (_constant(1, "the axes"),),
    "ReduceMax": (_constant(1, "the axes"),),
    "NonMaxSuppression": (_nms,),
}
