"""DARK: the top of the Gaussian whose logarithm fits the cells about a maximum (Zhang et al., CVPR 2020, arXiv 1910.06278)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from services.pose.decoders.outputs import Indices, Maps

TINY = np.float32(1e-10)  # what the logarithm takes for 0, as in the authors' code
FLAT = np.float32(1e-6)  # determinants below are no peak
ROWS = np.repeat([-1, 0, 1], 3)[:, None]  # of the 3 x 3 cells about a maximum, and their columns
COLUMNS = np.tile([-1, 0, 1], 3)[:, None]
# Derivatives as differences of those cells: first in x and y, second in yy, xx and xy.
DIFFERENCES = np.array(
    [
        [0, 0, 0, -0.5, 0, 0.5, 0, 0, 0],
        [0, -0.5, 0, 0, 0, 0, 0, 0.5, 0],
        [0, 1, 0, 0, -2, 0, 0, 1, 0],
        [0, 0, 0, 1, -2, 1, 0, 0, 0],
        [0.25, 0, -0.25, 0, 0, 0, -0.25, 0, 0.25],
    ],
    np.float32,
)


def step(maps: Maps, cell: Indices) -> Floats:
    """(P,) maxima as cells -> x and y (2, P) of their tops in cells, at most one cell from there.

    Maxima on the border and flat ones stay where they are.
    """
    position = maps.positions(cell)
    inside = maps.inside(position)
    patch = maps.at(np.where(inside, cell, maps.columns + 1) + (ROWS * maps.columns + COLUMNS))  # (9, P)
    return _newton(patch, position, inside)


def blurred_step(maps: Maps, cell: Indices, kernel: int) -> Floats:
    """The same on maps blurred by a Gaussian of `kernel` (odd) cells, 0 beyond the border, sigma as OpenCV derives it.

    Only the 3 x 3 cells that the fit reads are blurred: (kernel + 2)^2 values of a map, not all of them.
    """
    position = maps.positions(cell)
    reach = np.arange(-(kernel // 2) - 1, kernel // 2 + 2)[:, None]  # (kernel + 2, 1)
    at_x, at_y = position[0] + reach, position[1] + reach  # (kernel + 2, P)
    known_y, known_x = (at_y >= 0) & (at_y < maps.rows), (at_x >= 0) & (at_x < maps.columns)
    cells = np.where(known_y, at_y, 0)[:, None] * maps.columns + np.where(known_x, at_x, 0)[None]  # (k + 2, k + 2, P)
    side = len(reach)
    values = maps.at(cells.reshape(side * side, -1)).reshape(side, side, -1)
    values = np.where(known_y[:, None] & known_x[None], values, np.float32(0))
    weights = cv2.getGaussianKernel(kernel, 0, cv2.CV_32F)[:, 0]
    shifted = np.stack([np.pad(weights, (i, 2 - i)) for i in range(3)])  # (3, k + 2): the kernel about each of 3 cells
    with np.errstate(invalid="ignore"):  # 0 * inf; refused as below
        patch = np.einsum("iy,jx,yxp->ijp", shifted, shifted, values, optimize=True)
    return _newton(np.ascontiguousarray(patch, np.float32).reshape(9, -1), position, maps.inside(position))


def _newton(patch: Floats, position: Indices, inside: NDArray[np.bool_]) -> Floats:
    """One step of Newton's method from (2, P) on the logarithm of the patch (9, P), which is written to."""
    with np.errstate(invalid="ignore"):  # inf - inf; its score is not finite either, and refused
        derivatives = DIFFERENCES @ np.log(np.maximum(patch, TINY, out=patch), out=patch)
        slope, bend, mixed = derivatives[:2], derivatives[2:4], derivatives[4]  # (2, P) x, y; (2, P) yy, xx; (P,) xy
        determinant = bend[0] * bend[1] - mixed * mixed
        peaked = inside & (determinant > FLAT)
        to_top = (mixed * slope[::-1] - bend * slope) / np.where(peaked, determinant, np.float32(1))
        to_top = np.where(peaked, np.minimum(np.maximum(to_top, -1), 1), np.float32(0))
    return np.asarray(position + to_top, np.float32)
