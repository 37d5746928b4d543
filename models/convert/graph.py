"""What surrounds a network when it is exported: pixels in, normalisation inside, and, where asked for, keypoints out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.convert.source import Source

Tensor = Any  # torch has no types here


class Pixels(nn.Module):
    """A network that takes pixels: (B, H, W, 3), uint8 or float 0..255, in the source's colour order.

    Cast first, then everything else: TensorRT 8.6 converts uint8 inputs to floats and does nothing else with them.
    """

    def __init__(self, source: Source, module: Any | None = None, *, normalise: bool = True, decode: bool = False) -> None:
        super().__init__()
        self.network = source.module if module is None else module
        self.normalise = normalise
        self.decode = decode
        mean, std = torch.tensor(source.mean), torch.tensor(source.std)
        self.register_buffer("scale", (1 / std).reshape(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = image.float().permute(0, 3, 1, 2)  # (B, 3, H, W)
        if self.normalise:
            x = x * self.scale + self.shift
        outputs = self.network(x)
        outputs = (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)
        return (keypoints_of(outputs[0]),) if self.decode else outputs


def keypoints_of(heatmaps: Tensor) -> Tensor:
    """Heatmaps (B, K, h, w) -> (B, 1, K, 3): y, x as shares of the input's height and width, and the maximum's value.

    The maximum, moved a quarter of a cell towards the higher neighbour in each direction (as in Newell et al. 2016 and
    AlphaPose); on the border it stays. Cell i's centre is (i + 0.5) / cells. The layout is that of MoveNet SinglePose.
    """
    count, kinds, rows, columns = heatmaps.shape
    flat = heatmaps.reshape(-1, kinds, rows * columns)
    score, best = flat.max(dim=2)  # (B, K)
    y, x = torch.div(best, columns, rounding_mode="floor"), best % columns

    def at(row: Tensor, column: Tensor) -> Tensor:
        inside = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
        return flat.gather(2, inside.unsqueeze(2)).squeeze(2)

    def moved(cell: Tensor, cells: int, rise: Tensor) -> Tensor:
        off_border = ((cell > 0) & (cell < cells - 1)).float()
        return (cell.float() + 0.25 * torch.sign(rise) * off_border + 0.5) / cells

    found_x = moved(x, columns, at(y, x + 1) - at(y, x - 1))
    found_y = moved(y, rows, at(y + 1, x) - at(y - 1, x))
    return torch.stack([found_y, found_x, score], dim=2).unsqueeze(1)  # (B, 1, K, 3)


def example(source: Source, batch: int, *, dtype: str = "uint8") -> Tensor:
    """Pixels of the right form, (batch, H, W, 3), for tracing: a ramp, the same on every call."""
    size = batch * source.height_px * source.width_px * 3
    ramp = torch.arange(size) % 251
    return ramp.reshape(batch, source.height_px, source.width_px, 3).to(getattr(torch, dtype))
