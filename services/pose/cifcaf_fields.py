"""OpenPifPaf's composite fields -> vectors in pixels, and the fine map of where each keypoint is.

Fields (Kreiss et al., CVPR 2019; OpenPifPaf, IEEE T-ITS 2021, arXiv 2103.02440), one cell each `stride` pixels:
CIF, one for each keypoint: confidence, position (x, y) that the cell points to, size of the keypoint.
CAF, one for each pair of the skeleton: confidence, positions (x1, y1) and (x2, y2) of both ends, their sizes.
Positions are in cells, counted from the first cell; cell i shows pixel i * stride, whose centre is half a pixel further.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs

Ints = NDArray[np.intp]
KEYPOINT_FIELDS = 17
# The pairs that the 19 association fields of a network trained on `cocokp` connect, COCO's own list: ankles to hips, hips,
# trunk, shoulders, arms, face, ears to shoulders.
SKELETON: tuple[tuple[int, int], ...] = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip

NOISE = 0.1  # confidences below are the floor of a trained network; there are thousands of them
# Cells that are looked at, the most certain first: more than 64 people have (17 keypoints x 16 cells, 19 limbs x 40 cells).
# They bound the time and the memory that fields without sense can take.
POINTS_MAX, PAIRS_MAX = 20_000, 50_000
CELLS = 16.0  # a keypoint is pointed to by the 4 x 4 cells around it: so many full confidences make a map value of 1
STEP_PX = 2.0  # of the finest level of the map
SPREAD = 1.5  # smallest standard deviation of a level's Gaussians, in its steps: the levels double, so theirs are 1.5..3
REACH = 8  # steps to each side that a Gaussian is written: 2.7 standard deviations of the widest


@dataclass(frozen=True)
class Points:
    """CIF cells above the noise, in no order: keypoint (V,), confidence (V,), xy (V, 2) and size (V,) in pixels."""

    kinds: Ints
    confidences: Floats
    xy: Floats
    sizes: Floats


@dataclass(frozen=True)
class Pairs:
    """CAF cells above the noise, sorted by field: field (M,), confidence (M,), ends (M, 2, 2) and their sizes (M, 2)."""

    fields: Ints
    confidences: Floats
    ends: Floats
    sizes: Floats


def read_fields(outputs: Outputs, size_px: tuple[int, int]) -> tuple[Points, Pairs, float]:
    """The network's outputs as vectors in pixels of its input, and the stride.

    Takes the two layouts that OpenPifPaf's exporter gives. 0.13: CIF [log b, c, x, y, s] and CAF [log b, c, x1, y1, x2, y2,
    s1, s2]; 0.11 and 0.12: CIF [c, x, y, log b, s] and CAF [c, x1, y1, x2, y2, log b1, log b2, s1, s2]. The number of
    components of the CAF tells which. Raises ModelError for other shapes and for numbers that are not finite.
    """
    cif, caf = _composite(outputs)
    if not (np.isfinite(cif).all() and np.isfinite(caf).all()):
        raise ModelError("decoder 'cifcaf' got fields that are not finite; export the network again")
    stride = stride_of(size_px, (cif.shape[3], cif.shape[2]))
    newer = caf.shape[1] == 8
    first = 1 if newer else 0  # the confidence
    kinds, y, x = _strongest(cif[:, first], POINTS_MAX)
    values = cif[kinds, :, y, x]  # (V, 5)
    points = Points(
        kinds=kinds,
        confidences=values[:, first],
        xy=values[:, first + 1 : first + 3] * stride + np.float32(0.5),
        sizes=values[:, 4] * stride,
    )
    fields, y, x = _strongest(caf[:, first], PAIRS_MAX)
    values = caf[fields, :, y, x]  # (M, 8 or 9)
    pairs = Pairs(
        fields=fields,
        confidences=values[:, first],
        ends=(values[:, first + 1 : first + 5] * stride + np.float32(0.5)).reshape(-1, 2, 2),
        sizes=values[:, -2:] * stride,
    )
    return points, pairs, float(stride)


def _strongest(confidences: Floats, most: int) -> tuple[Ints, Ints, Ints]:
    """Field, row and column of the cells above the noise, in the order of the fields; of more than `most`, the highest."""
    flat = confidences.reshape(-1)
    cells = np.flatnonzero(flat >= NOISE)
    if len(cells) > most:
        cells = np.sort(cells[np.argpartition(-flat[cells], most)[:most]])
    fields, rows, columns = np.unravel_index(cells, confidences.shape)
    return fields, rows, columns


def stride_of(size_px: tuple[int, int], cells: tuple[int, int]) -> int:
    """Pixels between cells of a field of `cells` (width, height) over an input of `size_px`.

    The first cell lies on the first pixel, the last one on the last (sides of n * stride + 1) or up to a stride before it.
    Strides are powers of two. Raises ModelError where none fits.
    """
    for stride in (2, 4, 8, 16, 32):
        if all(0 <= side - 1 - (count - 1) * stride < 2 * stride for side, count in zip(size_px, cells, strict=True)):
            return stride
    raise ModelError(
        f"decoder 'cifcaf': fields of {cells[0]}x{cells[1]} cells do not cover an input of {size_px[0]}x{size_px[1]} pixels"
    )


def _composite(outputs: Outputs) -> tuple[Floats, Floats]:
    """CIF (17, 5, h, w) and CAF (19, 8 or 9, h, w) among the outputs, by shape."""
    by_fields = {array.shape[1]: array for array in outputs.values() if array.ndim == 5 and array.shape[0] == 1}
    none = np.empty((0, 0, 0, 0, 0))
    cif, caf = by_fields.get(KEYPOINT_FIELDS, none), by_fields.get(len(SKELETON), none)
    fits = len(outputs) == 2 and cif.shape[2] == 5 and caf.shape[2] in (8, 9)
    if not fits or cif.shape[3:] != caf.shape[3:] or min(cif.shape[3:]) < 2:
        got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items()) or "none"
        raise ModelError(
            f"decoder 'cifcaf' expects (1, {KEYPOINT_FIELDS}, 5, h, w) and (1, {len(SKELETON)}, 8 or 9, h, w), the fields of "
            f"OpenPifPaf trained on cocokp; the network gave {got}"
        )
    return np.asarray(cif, np.float32)[0], np.asarray(caf, np.float32)[0]


class FineMap:
    """f(x, y) of the paper for each keypoint: the sum of a Gaussian for each CIF cell, at the place that it points to.

    Each Gaussian has its cell's confidence / 16 as height and the keypoint's size as standard deviation. Wide ones are
    written into coarser levels, so that each costs the same 17 x 17 values, whatever the size of the person; reading adds the
    levels.
    """

    def __init__(self, points: Points, size_px: tuple[int, int]) -> None:
        sigma = np.maximum(points.sizes, STEP_PX)
        level = np.clip(np.floor(np.log2(sigma / (SPREAD * STEP_PX))), 0, 6).astype(np.intp)
        self._levels: list[tuple[float, NDArray[np.float64]]] = []
        for number in np.unique(level):
            step = STEP_PX * 2.0**number
            chosen = level == number
            shape = KEYPOINT_FIELDS, int(size_px[1] / step) + 2, int(size_px[0] / step) + 2
            height = points.confidences[chosen] / CELLS
            maps = _splat(points.kinds[chosen], points.xy[chosen] / step, sigma[chosen] / step, height, shape)
            self._levels.append((step, maps))

    def at(self, kinds: Ints, xy: Floats) -> Floats:
        """f, at most 1, of keypoint kinds (Q,) at pixels (Q, 2); 0 outside the picture. (Q,) float32."""
        total = np.zeros(len(kinds))
        for step, maps in self._levels:
            total += _bilinear(maps, kinds, xy / np.float32(step))
        return np.minimum(total, 1).astype(np.float32)


def _splat(kinds: Ints, xy: Floats, sigma: Floats, height: Floats, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Sum of Gaussians on a grid (17, h, w); positions and widths in grid steps, point (0, 0) at index (0, 0)."""
    _, rows, columns = shape
    steps = np.arange(-REACH, REACH + 1)
    across, wide = _profile(xy[:, 0], sigma, steps, columns)
    down, tall = _profile(xy[:, 1], sigma, steps, rows)
    values = (tall * height[:, None])[:, :, None] * wide[:, None, :]  # (V, 17, 17)
    index = ((kinds[:, None] * rows + down) * columns)[:, :, None] + across[:, None, :]
    total = np.bincount(index.ravel(), values.ravel(), int(np.prod(shape)))
    return np.asarray(total, np.float64).reshape(shape)


def _profile(centre: Floats, sigma: Floats, steps: Ints, side: int) -> tuple[Ints, Floats]:
    """Along one axis: indices (V, 17) and the Gaussian there, 0 beyond the grid."""
    index = np.rint(centre).astype(np.intp)[:, None] + steps
    away = (index - centre[:, None]) / sigma[:, None]
    value = np.exp(np.float32(-0.5) * away * away)
    value[(index < 0) | (index >= side)] = 0
    return np.clip(index, 0, side - 1), value.astype(np.float32)


def _bilinear(maps: NDArray[np.float64], kinds: Ints, xy: Floats) -> NDArray[np.float64]:
    _, rows, columns = maps.shape
    inside = (xy[:, 0] >= 0) & (xy[:, 1] >= 0) & (xy[:, 0] <= columns - 1) & (xy[:, 1] <= rows - 1)
    x, y = np.clip(xy[:, 0], 0, columns - 1.001), np.clip(xy[:, 1], 0, rows - 1.001)
    left, top = x.astype(np.intp), y.astype(np.intp)
    fx, fy = x - left, y - top
    upper = maps[kinds, top, left] * (1 - fx) + maps[kinds, top, left + 1] * fx
    lower = maps[kinds, top + 1, left] * (1 - fx) + maps[kinds, top + 1, left + 1] * fx
    return np.where(inside, upper * (1 - fy) + lower * fy, 0)
