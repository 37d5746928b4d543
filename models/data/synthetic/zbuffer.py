"""A z-buffer for meshes of many small triangles, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Indices = NDArray[np.int32]

GROUPS = (2, 3, 4, 6, 9, 14, 24, 48, 96, 192, 768)  # side of the pixel box up to which triangles are drawn together
CHUNK = 2_000_000  # candidate pixels a step


def rasterise(
    pixels: Singles, depth: Singles, faces: Ints, shape: tuple[int, int], *, cull: bool = True
) -> tuple[Indices, Singles, Singles]:
    """Draws triangles.

    pixels: (V, 2), depth: (V,) metres, negative for what the lens cannot show; faces: (F, 3); shape: (height, width).
    cull: leave out triangles that turn their back (wound clockwise on the picture, y down).
    Returns for each pixel the face (H, W), -1 where none; barycentric weights (H, W, 3); depth (H, W), inf where none.
    """
    height, width = shape
    owner = np.full(height * width, -1, dtype=np.int32)
    bary = np.zeros((height * width, 3), dtype=np.float32)
    nearest = np.full(height * width, np.inf, dtype=np.float32)
    a, b, c = (pixels[faces[:, k]] for k in range(3))
    # Minima of three columns: numpy's reductions over an axis of length 3 take ten times as long.
    shown = np.minimum(np.minimum(depth[faces[:, 0]], depth[faces[:, 1]]), depth[faces[:, 2]]) > 0
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    chosen = np.flatnonzero(shown & ((area < -1e-9) if cull else (np.abs(area) > 1e-9)))
    a, b, c, area = a[chosen], b[chosen], c[chosen], area[chosen]
    # First and last pixel whose centre can be inside.
    low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c) - 0.5), 0).astype(np.int32)
    high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c) - 0.5), (width - 1, height - 1)).astype(np.int32)
    size = high - low + 1
    keep = np.minimum(size[:, 0], size[:, 1]) > 0
    chosen, area, low, high, size = (v[keep] for v in (chosen, area, low, high, size))
    corners = a[keep], b[keep], c[keep]
    side = np.maximum(size[:, 0], size[:, 1])
    smaller = 0
    for limit in GROUPS:
        group = np.flatnonzero((side > smaller) & (side <= limit))
        smaller = limit
        for part in np.array_split(group, max(1, len(group) * limit * limit // CHUNK)):
            if len(part):
                ids = chosen[part]
                _draw(
                    ids, (corners[0][part], corners[1][part], corners[2][part]), area[part], depth[faces[ids]],
                    low[part], high[part], limit, width, owner, bary, nearest,
                )  # fmt: skip
    return owner.reshape(shape), bary.reshape(height, width, 3), nearest.reshape(shape)


def _draw(
    ids: Ints,
    corners: tuple[Singles, Singles, Singles],
    area: Singles,
    depths: Singles,
    low: Indices,
    high: Indices,
    side: int,
    width: int,
    owner: Indices,
    bary: Singles,
    nearest: Singles,
) -> None:
    step = np.arange(side, dtype=np.int32)
    px, py = low[:, 0, None] + step, low[:, 1, None] + step  # (F, S)
    x, y = (px + 0.5).astype(np.float32), (py + 0.5).astype(np.float32)
    a, b, c = corners
    scale = 1.0 / area

    def edge(p: Singles, q: Singles) -> Singles:
        """(F, S, S) weight of the corner across the edge p-q, rows are y."""
        along_x = (q[:, 1] - p[:, 1]) * scale
        along_y = (q[:, 0] - p[:, 0]) * scale
        row = (y - p[:, 1, None]) * along_y[:, None]
        column = (x - p[:, 0, None]) * along_x[:, None]
        weight: Singles = row[:, :, None] - column[:, None, :]
        return weight

    wc, wa = edge(a, b), edge(b, c)
    wb = 1.0 - wa - wc
    inside = (wa >= -1e-5) & (wb >= -1e-5) & (wc >= -1e-5)
    inside &= (px <= high[:, 0, None])[:, None, :] & (py <= high[:, 1, None])[:, :, None]
    face, row, column = np.nonzero(inside)
    weights = np.stack([wa[inside], wb[inside], wc[inside]], axis=1)
    corner_z = depths[face]
    z = weights[:, 0] * corner_z[:, 0] + weights[:, 1] * corner_z[:, 1] + weights[:, 2] * corner_z[:, 2]
    where = py[face, row].astype(np.int64) * width + px[face, column]
    order = np.argsort(-z, kind="stable")  # of several candidates for a pixel the last one, the nearest, stays
    order = order[z[order] < nearest[where[order]]]
    spot = where[order]
    nearest[spot], owner[spot], bary[spot] = z[order], ids[face[order]], weights[order]
