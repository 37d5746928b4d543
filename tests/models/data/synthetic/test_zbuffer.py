from __future__ import annotations

import numpy as np
import pytest

from models.data.synthetic.zbuffer import rasterise

SQUARE = np.array([[2.0, 2.0], [10.0, 2.0], [10.0, 8.0], [2.0, 8.0]], np.float32)
BACK, FRONT = np.array([[0, 1, 2], [0, 2, 3]]), np.array([[0, 2, 1], [0, 3, 2]])


def test_a_rectangle_fills_exactly_the_pixels_whose_centres_it_covers() -> None:
    owner, bary, depth = rasterise(SQUARE, np.full(4, 3.0, np.float32), FRONT, (12, 14))
    covered = np.zeros((12, 14), bool)
    covered[2:8, 2:10] = True
    assert ((owner >= 0) == covered).all()
    assert np.isinf(depth[~covered]).all()
    assert np.allclose(depth[covered], 3.0)
    assert np.allclose(bary[covered].sum(axis=1), 1.0, atol=1e-5)


def test_triangles_that_turn_their_back_are_culled_or_not() -> None:
    depth = np.ones(4, np.float32)
    assert (rasterise(SQUARE, depth, BACK, (12, 14))[0] == -1).all()
    assert (rasterise(SQUARE, depth, BACK, (12, 14), cull=False)[0] >= 0).sum() == 48


def test_what_the_lens_cannot_show_is_left_out() -> None:
    depth = np.array([1.0, 1.0, -1.0, 1.0], np.float32)
    assert (rasterise(SQUARE, depth, FRONT, (12, 14))[0] == -1).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_nearest_of_many_triangles_of_all_sizes_owns_each_pixel(seed: int) -> None:
    """Against a loop over triangles and pixels."""
    rng = np.random.default_rng(seed)
    count, shape = 60, (40, 48)
    centre = rng.uniform(-5, 50, (count, 1, 2))
    corners = (centre + rng.uniform(-1, 1, (count, 3, 2)) * rng.uniform(0.5, 30, (count, 1, 1))).astype(np.float32)
    depth = rng.uniform(1.0, 9.0, (count, 3)).astype(np.float32)
    faces = np.arange(3 * count).reshape(count, 3)
    owner, bary, near = rasterise(corners.reshape(-1, 2), depth.ravel(), faces, shape, cull=False)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    best, who = np.full(shape, np.inf), np.full(shape, -1)
    for k, ((ax, ay), (bx, by), (cx, cy)) in enumerate(corners.astype(float)):
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        z = depth[k, 0] * (1 - wb - wc) + depth[k, 1] * wb + depth[k, 2] * wc
        wins = (wb >= 0) & (wc >= 0) & (wb + wc <= 1) & (z < best)
        best[wins], who[wins] = z[wins], k
    same = owner == who
    assert same.mean() > 0.995  # single precision may decide otherwise on an edge
    assert np.allclose(near[same & (who >= 0)], best[same & (who >= 0)], atol=1e-2)
    shown = same & (who >= 0)
    places = (bary[shown][:, :, None] * corners[who[shown]]).sum(axis=1)
    assert np.allclose(places, np.stack([x, y], axis=-1)[shown], atol=1e-2)


def test_nothing_to_draw_leaves_the_picture_empty() -> None:
    owner, _, depth = rasterise(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 3), np.int64), (4, 5))
    assert (owner == -1).all()
    assert np.isinf(depth).all()
