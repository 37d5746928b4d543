"""The rewrites for networks that torch.fx cannot trace: module by module, blind to what stands before and behind."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.convert.rewrite_blocks import DepthToSpace, block_order, block_sampler, reordering
from models.convert.rewrite_deconv import SubPixelConv, deconv_name
from models.convert.rewrite_trace import Change

_KINDS = (nn.ConvTranspose2d, nn.PixelShuffle, nn.PixelUnshuffle)


def rewrite_modules(root: nn.Module, example: Any) -> list[Change]:
    """Rewrite in place. example: a tensor that `root` takes; it is run once, as shuffles do not know their channels."""
    depths = _depths(root, example)
    changes = []
    for path, depth in depths.items():
        made, change = _rewritten(path, root.get_submodule(path), depth)
        if path == "":
            raise ValueError(f"the network is itself a {change.what}; wrap it in torch.nn.Sequential")
        root.set_submodule(path, made)
        changes.append(change)
    return changes


def _rewritten(path: str, module: Any, depth: int) -> tuple[nn.Module, Change]:
    if isinstance(module, nn.ConvTranspose2d):
        return SubPixelConv(module), Change(path, deconv_name(module), "convolution, depth to space, crop")
    if isinstance(module, nn.PixelUnshuffle):
        factor = module.downscale_factor
        return block_sampler(depth, factor), Change(path, f"pixel unshuffle by {factor}", "a strided depthwise convolution")
    factor = module.upscale_factor
    order = block_order(depth // factor**2, factor, factor)
    how = f"slices, reshapes and a concatenation; a 1 x 1 convolution {depth} -> {depth} permutes the channels for that"
    made = nn.Sequential(reordering(order), DepthToSpace(factor, factor))
    return made, Change(path, f"pixel shuffle by {factor}", how)


def _depths(root: nn.Module, example: Any) -> dict[str, int]:
    """Module -> channels of its input, for the modules that are to be rewritten and are used."""
    depths: dict[str, int] = {}
    handles = []
    for path, module in root.named_modules():
        if isinstance(module, _KINDS):

            def note(_: nn.Module, args: tuple[Any, ...], path: str = path) -> None:
                depths[path] = args[0].shape[1]

            handles.append(module.register_forward_pre_hook(note))
    with torch.no_grad():
        root(example)
    for handle in handles:
        handle.remove()
    return depths
