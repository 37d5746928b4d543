"""What surrounds a network when it is exported: pixels in, normalisation inside, and, where asked for, keypoints out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from models.convert.source import Source

Tensor = Any  # torch has no types here


class Pixels(nn.Module):
    """A network that takes pixels: (B, H, W, 3), uint8 or float 0..255, in the source's colour order.

    Cast first, then everything else: TensorRT 8.6 converts uint8 inputs to floats and does nothing else with them.
    module: instead of the source's own. normalise: False where that module does it. decode: keypoints out, see keypoints_of.
    channels_last: outputs (B, C, h, w) become (B, h, w, C).
    """

    def __init__(
        self, source: Source, module: Any | None = None, *, normalise: bool = True, decode: bool = False,
        channels_last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = source.module if module is None else module
        self.normalise = normalise
        self.size_px = (source.width_px, source.height_px) if decode else None
        self.channels_last = channels_last
        mean, std = torch.tensor(source.mean), torch.tensor(source.std)
        self.register_buffer("scale", (1 / std).reshape(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = image.float().permute(0, 3, 1, 2)  # (B, 3, H, W)
        if self.normalise:
            x = x * self.scale + self.shift
        outputs = self.network(x)
        outputs = (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)
        if self.size_px is not None:
            return (keypoints_of(outputs[0], self.size_px),)
        if self.channels_last:
            return tuple(value.permute(0, 2, 3, 1) if value.ndim == 4 else value for value in outputs)
        return outputs


def keypoints_of(heatmaps: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Heatmaps (B, K, h, w) of crops of size_px (width, height) -> (B, K, 3): x, y in crop pixels, the maximum's value.

    The same as the decoder `heatmaps_quarter` of services/pose: the maximum, moved by a quarter of a cell towards the larger
    neighbours, unless it lies near the border; cell c is at c * stride + 0.5; a map without a value above 0 gives cell 0.
    """
    _, kinds, rows, columns = heatmaps.shape
    flat = heatmaps.reshape(-1, kinds, rows * columns)
    score, best = flat.max(dim=2)  # (B, K)
    best = best * (score > 0)
    y, x = torch.div(best, columns, rounding_mode="floor"), best % columns
    inside = (x > 1) & (x < columns - 1) & (y > 1) & (y < rows - 1)
    centre = torch.where(inside, best, torch.full_like(best, columns + 1))

    def at(step: int) -> Tensor:
        return flat.gather(2, (centre + step).unsqueeze(2)).squeeze(2)

    quarter = inside.float() * 0.25
    x = x.float() + quarter * torch.sign(at(1) - at(-1))
    y = y.float() + quarter * torch.sign(at(columns) - at(-columns))
    width, height = size_px
    return torch.stack([x * (width / columns) + 0.5, y * (height / rows) + 0.5, score.clamp(min=0)], dim=2)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: where others use the cores too, its threads spin while they wait for each other.

    PP-TinyPose on two cores with a load of 9: 7.1 s a picture with two threads, 0.17 s with one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def example(source: Source, batch: int, *, dtype: str = "uint8") -> Tensor:
    """Pixels of the right form, (batch, H, W, 3), for tracing: a ramp, the same on every call."""
    size = batch * source.height_px * source.width_px * 3
    ramp = torch.arange(size) % 251
    return ramp.reshape(batch, source.height_px, source.width_px, 3).to(getattr(torch, dtype))
