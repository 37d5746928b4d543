"""Exact rewrites: the same function in ops that the target runs.

| what | onnx, tensorrt | tflite, edgetpu |
|---|---|---|
| batch norm behind a convolution or linear layer | folded | folded |
| transposed convolution | stays: both run it | convolution + depth to space + crop (rewrite_deconv) |
| PixelShuffle | stays: exports as DepthToSpace | slices, reshapes, a concatenation (rewrite_blocks) |
| max pooling that pads, of what cannot be negative | stays | zeros, then pooling (rewrite_pool) |
| PixelUnshuffle | stays: exports as SpaceToDepth | part of the next convolution, or a strided one of its own |

TFLite on a CPU runs transposed convolutions, but slower: SimpleBaseline with ResNet-18, 256x192, two x86 threads, takes 175 ms
as it is and 127 ms rewritten; in int8 43 and 34 ms; FastPose with ResNet-18 takes the same time either way.
Everything else is reported by `report`, never changed.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from models.convert.fold import fold_norms
from models.convert.rewrite_blocks import DepthToSpace, absorb_unshuffle, block_order, block_sampler, can_absorb, reordering
from models.convert.rewrite_channels import reorder_at
from models.convert.rewrite_deconv import SubPixelConv, deconv_name
from models.convert.rewrite_layers import layers_as_modules
from models.convert.rewrite_pool import can_pad_with_zeros, padding_pool, pads_for_pooling, zero_padded
from models.convert.rewrite_report import Finding, report
from models.convert.rewrite_trace import Change, find_shapes, insert_module, module_of, shape_of, traced, uses
from models.convert.rewrite_untraced import rewrite_modules
from models.convert.source import ConversionError

__all__ = ["Change", "Finding", "Target", "report", "rewrite"]

Target = Literal["edgetpu", "tflite", "onnx", "tensorrt"]
_TARGETS: tuple[Target, ...] = ("edgetpu", "tflite", "onnx", "tensorrt")
_ACTIVATIONS = (nn.ReLU, nn.ReLU6)


def rewrite(module: nn.Module, target: Target, example: Any) -> tuple[nn.Module, tuple[Change, ...]]:
    """An equal network (to 1e-5) in ops that the target runs, and what was changed. Works on a copy, in eval mode.

    example: a tensor that `module` takes, (B, C, H, W); networks with any batch size stay so. A network that torch.fx cannot
    trace keeps its batch norms, and its shuffles cost a 1 x 1 convolution.
    """
    if target not in _TARGETS:
        raise ValueError(f"target {target!r} is not known; choose one of {', '.join(_TARGETS)}")
    module = copy.deepcopy(module).eval().requires_grad_(False)
    graph = traced(module)
    changes: list[Change] = []
    if graph is not None:
        if target in ("edgetpu", "tflite"):
            layers_as_modules(graph)
        changes += fold_norms(graph)
    if target in ("edgetpu", "tflite"):
        changes += rewrite_modules(module, example) if graph is None else _rewrite_graph(graph, example)
    return (module if graph is None else graph), tuple(changes)


def _rewrite_graph(graph: torch.fx.GraphModule, example: Any) -> list[Change]:
    find_shapes(graph, example)
    changes = []
    for node in list(graph.graph.nodes):
        if (factor := _factor(graph, node, nn.PixelShuffle, functional.pixel_shuffle)) is not None:
            changes.append(_rewrite_shuffle(graph, node, factor))
        elif (factor := _factor(graph, node, nn.PixelUnshuffle, functional.pixel_unshuffle)) is not None:
            changes.append(_rewrite_unshuffle(graph, node, factor))
    changes += _rewrite_pools(graph)
    deconvs = [(node, module_of(graph, node, nn.ConvTranspose2d)) for node in graph.graph.nodes]
    changes += [_rewrite_deconv(graph, node, deconv) for node, deconv in deconvs if deconv is not None]
    graph.delete_all_unused_submodules()
    graph.graph.lint()
    graph.recompile()
    return changes


def _rewrite_shuffle(graph: torch.fx.GraphModule, node: torch.fx.Node, factor: int) -> Change:
    what = f"pixel shuffle by {factor}"
    depth = _depth(node)
    order = block_order(depth // factor**2, factor, factor)
    how = "slices, reshapes and a concatenation; "
    if reorder_at(graph, node.args[0], node, order):
        how += "the channels of the layers before it are permuted for that"
    else:
        insert_module(graph, node, f"{_path(node)}_order", reordering(order))
        how += f"a 1 x 1 convolution {depth} -> {depth} permutes the channels for that"
    path = _replace(graph, node, DepthToSpace(factor, factor))
    return Change(path, what, how)


def _rewrite_unshuffle(graph: torch.fx.GraphModule, node: torch.fx.Node, factor: int) -> Change:
    what = f"pixel unshuffle by {factor}"
    user = next(iter(node.users))
    conv = module_of(graph, user, nn.Conv2d)
    if conv is None or len(node.users) > 1 or uses(graph, user.target) > 1 or not can_absorb(conv):
        return Change(_replace(graph, node, block_sampler(_depth(node), factor)), what, "a strided depthwise convolution")
    graph.set_submodule(str(user.target), absorb_unshuffle(conv, factor))
    path = _path(node)
    node.replace_all_uses_with(node.args[0])
    graph.graph.erase_node(node)
    return Change(path, what, f"part of {user.target}, now with stride {conv.stride[0] * factor}")


def _rewrite_pools(graph: torch.fx.GraphModule) -> list[Change]:
    pools = [(node, padding_pool(graph, node)) for node in graph.graph.nodes if can_pad_with_zeros(graph, node)]
    pads = [node for node in graph.graph.nodes if pads_for_pooling(graph, node)]
    for node in pads:
        node.update_kwarg("value", 0.0)
    changes = [Change(node.name, "padding of a max pooling", "zeros") for node in pads]
    for node, pool in pools:
        path = _replace(graph, node, zero_padded(pool))
        changes.append(Change(path, "max pooling that pads", "zeros as padding, then pooling"))
    return changes


def _rewrite_deconv(graph: torch.fx.GraphModule, node: torch.fx.Node, deconv: nn.ConvTranspose2d) -> Change:
    """With the activation behind it, which then stands where converters fuse it into the convolution."""
    if uses(graph, node.target) == 1 and len(node.users) == 1:
        user = next(iter(node.users))
        activation = module_of(graph, user, _ACTIVATIONS)
        if activation is not None or _is_relu(user):
            path = _replace(graph, node, SubPixelConv(deconv, activation or nn.ReLU()))
            user.replace_all_uses_with(user.args[0])
            graph.graph.erase_node(user)
            return Change(path, deconv_name(deconv), "convolution, activation, depth to space, crop")
    path = _replace(graph, node, SubPixelConv(deconv))
    return Change(path, deconv_name(deconv), "convolution, depth to space, crop")


def _replace(graph: torch.fx.GraphModule, node: torch.fx.Node, module: nn.Module) -> str:
    """Let `module` do what the node did, under the same name where no other node has it."""
    path = _path(node)
    name = path if node.op != "call_module" or uses(graph, path) == 1 else f"{path}_{node.name}"
    if node.op == "call_module" and name == path:
        graph.set_submodule(path, module)
        return path
    graph.add_submodule(name, module)
    with graph.graph.inserting_before(node):
        made = graph.graph.call_module(name, (node.args[0],))
    made.meta.update(node.meta)
    node.replace_all_uses_with(made)
    graph.graph.erase_node(node)
    return path


def _factor(graph: torch.fx.GraphModule, node: torch.fx.Node, kind: type[nn.Module], function: Any) -> int | None:
    if (module := module_of(graph, node, kind)) is not None:
        return int(getattr(module, "upscale_factor", None) or module.downscale_factor)
    if node.op == "call_function" and node.target is function:
        return int(node.args[1] if len(node.args) > 1 else next(iter(node.kwargs.values())))
    return None


def _path(node: torch.fx.Node) -> str:
    return str(node.target) if node.op == "call_module" else node.name


def _depth(node: torch.fx.Node) -> int:
    shape = shape_of(node.args[0])
    if shape is None or len(shape) != 4:
        raise ConversionError(f"{_path(node)}: takes a tensor of shape {shape}; only (B, C, H, W) can be rewritten")
    return shape[1]


def _is_relu(node: torch.fx.Node) -> bool:
    return node.op == "call_function" and node.target in (torch.relu, functional.relu)
