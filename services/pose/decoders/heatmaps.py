"""Heatmaps -> keypoints: the largest value of each map, refined to parts of a cell in the way the network was trained for.

All take one output, (N, 17, h, w) or (N, h, w, 17). Nothing in (N, 17, h, 17) tells the two apart: it is read as the first, so
a network with channels last must not have maps of 17 rows (none published has; crops of 68 pixels and stride 4 would).

Two coordinate systems are in use, both in pixel centres of the crop:
* stride: cell c is crop pixel c * W / w (AlphaPose, HRNet, MMPose's `MSRAHeatmap`, PaddleDetection),
* UDP: cell c is crop pixel c * (W - 1) / (w - 1), so the outermost cells are the outermost pixels (Huang et al., CVPR 2020).
The centre of crop pixel u lies at u + 0.5 in our continuous coordinates.
"""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.runtimes.base import Outputs
from services.pose.decoders.dark import blurred_step, step
from services.pose.decoders.outputs import Maps, maps_of, only

BLUR_CELLS = 11  # kernel of DARK's modulation for the training targets' sigma of 2 cells, as in the authors' configurations


def heatmaps_plain(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """The cell with the largest value, not refined."""
    maps = maps_of(only(outputs, "heatmaps_plain"), "heatmaps_plain", len(boxes))
    cell, score = maps.best()
    return maps.keypoints(maps.positions(cell), _stride(maps, size_px), score)


def heatmaps(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """The largest value refined by DARK (PP-TinyPose; HRNet and SimpleBaseline trained with `MSRAHeatmap`).

    DARK (Zhang et al., CVPR 2020) fits a Gaussian to the logarithm of the 3 x 3 cells about the maximum; without its blur,
    which brings 0.0005 OKS on coco-mini. Cell i lies at stride * i + 0.5 crop pixels, measured there too.
    """
    maps = maps_of(only(outputs, "heatmaps"), "heatmaps", len(boxes))
    cell, score = maps.best()
    return maps.keypoints(step(maps, cell), _stride(maps, size_px), score)


def heatmaps_quarter(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """The largest value moved by a quarter of a cell towards its larger neighbours: AlphaPose's `heatmap_to_coord_simple`.

    alphapose/utils/transforms.py: x and y each move by 0.25 * sign(value after - value before), unless the maximum lies in the
    first two rows or columns or in the last one; then neither moves. There, cell c becomes picture pixel xmin + c * width / w,
    the inverse of the affine that cut the crop with the same xmin and width: crop pixel c * W / w.
    """
    maps = maps_of(only(outputs, "heatmaps_quarter"), "heatmaps_quarter", len(boxes))
    cell, score = maps.best()
    position = maps.positions(cell)
    inside = (position > 1).all(axis=0) & maps.inside(position)
    neighbours = np.array([[-1], [-maps.columns], [1], [maps.columns]])
    values = maps.at(np.where(inside, cell, maps.columns + 1) + neighbours)
    before, after = values[:2], values[2:]  # in x and y
    quarter = np.where(inside, np.float32(0.25), np.float32(0)) * np.subtract(after > before, after < before, dtype=np.float32)
    return maps.keypoints(position + quarter, _stride(maps, size_px), score)


def heatmaps_udp(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """Networks trained with unbiased data processing (MMPose's `UDPHeatmap`, gaussian): UDP coordinates, refined by DARK."""
    maps = maps_of(only(outputs, "heatmaps_udp"), "heatmaps_udp", len(boxes))
    cell, score = maps.best()
    return maps.keypoints(step(maps, cell), _unbiased(maps, size_px), score)


def heatmaps_udp_blurred(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """The same with DARK's modulation, a Gaussian blur of 11 x 11 cells before the fit, as MMPose does it by default."""
    maps = maps_of(only(outputs, "heatmaps_udp_blurred"), "heatmaps_udp_blurred", len(boxes))
    cell, score = maps.best()
    return maps.keypoints(blurred_step(maps, cell, BLUR_CELLS), _unbiased(maps, size_px), score)


def _stride(maps: Maps, size_px: tuple[int, int]) -> tuple[float, float]:
    return size_px[0] / maps.columns, size_px[1] / maps.rows


def _unbiased(maps: Maps, size_px: tuple[int, int]) -> tuple[float, float]:
    return (size_px[0] - 1) / (maps.columns - 1), (size_px[1] - 1) / (maps.rows - 1)
