from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.manifest import ModelError
from services.pose.decode import DECODERS, heatmaps, movenet_multipose


def instance(x: float, y: float, box: tuple[float, float, float, float], score: float) -> np.ndarray:
    """One row of MoveNet: all keypoints at (x, y); box as x0, y0, x1, y1; all 0..1."""
    row = np.empty(56, np.float32)
    row[:51] = np.tile([y, x, 0.7], 17)
    row[51:] = (box[1], box[0], box[3], box[2], score)
    return row


def test_of_several_people_in_a_crop_the_target_is_taken():
    neighbour = instance(0.9, 0.5, (0.7, 0.1, 1.0, 0.9), 0.6)
    target = instance(0.5, 0.5, (0.3, 0.1, 0.7, 0.9), 0.4)
    raw = np.stack([np.stack([neighbour, target]), np.stack([target, neighbour])])
    boxes = np.array([[48, 16, 112, 144]] * 2, np.float32)
    keypoints = movenet_multipose({"out": raw}, (160, 160), boxes)
    np.testing.assert_allclose(keypoints, np.broadcast_to([80, 80, 0.7], (2, 17, 3)), rtol=1e-5)
    assert raw[0, 1, 1] == np.float32(0.5)  # the network's output is not written to


@pytest.mark.parametrize(
    "row", [instance(0.9, 0.9, (0.8, 0.8, 1.0, 1.0), 0.9), instance(0.5, 0.5, (0.3, 0.1, 0.7, 0.9), 0.001)]
)
def test_a_person_that_is_not_found_again_has_score_0_at_the_centre_of_the_box(row):
    keypoints = movenet_multipose({"out": row[None, None]}, (160, 160), np.array([[48, 16, 112, 144]], np.float32))
    assert (keypoints == np.array([80, 80, 0], np.float32)).all()


def gaussians(centres: np.ndarray, rows: int, columns: int, sigma: float = 2.0) -> np.ndarray:
    """(N, 17, 2) centres in cells -> (N, 17, rows, columns)."""
    y, x = np.mgrid[:rows, :columns]
    squared = (x - centres[..., 0, None, None]) ** 2 + (y - centres[..., 1, None, None]) ** 2
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_a_gaussian_is_found_to_a_hundredth_of_a_cell(seed, count):
    rng = np.random.default_rng(seed)
    centres = rng.uniform((2, 2), (21, 29), (count, 17, 2))
    keypoints = heatmaps({"maps": gaussians(centres, 32, 24)}, (96, 128), np.zeros((count, 4), np.float32))
    np.testing.assert_allclose(keypoints[:, :, :2], centres * 4 + 0.5, atol=0.04)
    assert (keypoints[:, :, 2] > 0.9).all()


def plain(maps: np.ndarray) -> np.ndarray:
    """The same refinement, one keypoint at a time, as the paper writes it."""
    out = np.zeros((*maps.shape[:2], 3), np.float32)
    rows, columns = maps.shape[2:]
    for n in range(len(maps)):
        for k in range(17):
            y, x = np.unravel_index(maps[n, k].argmax(), (rows, columns))
            offset = np.zeros(2)
            if 0 < x < columns - 1 and 0 < y < rows - 1:
                log = np.log(np.maximum(maps[n, k], 1e-10))
                slope = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
                mixed = (log[y + 1, x + 1] - log[y + 1, x - 1] - log[y - 1, x + 1] + log[y - 1, x - 1]) / 4
                hessian = np.array(
                    [
                        [log[y, x + 1] - 2 * log[y, x] + log[y, x - 1], mixed],
                        [mixed, log[y + 1, x] - 2 * log[y, x] + log[y - 1, x]],
                    ]
                )
                if np.linalg.det(hessian) > 1e-6:
                    offset = np.clip(-np.linalg.solve(hessian, slope), -1, 1)
            out[n, k] = ((x + offset[0]) * 4 + 0.5, (y + offset[1]) * 4 + 0.5, maps[n, k].max())
    return out


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_heat_map_decoding_equals_the_plain_loop_on_noise(seed):
    maps = np.random.default_rng(seed).uniform(0, 1, (2, 17, 16, 12)).astype(np.float32)
    np.testing.assert_allclose(heatmaps({"m": maps}, (48, 64), np.zeros((2, 4), np.float32)), plain(maps), atol=2e-2)


def test_flat_maps_and_maxima_at_the_border_stay_where_they_are():
    maps = np.zeros((1, 17, 8, 6), np.float32)
    maps[0, 1, 0, 5] = 0.8
    keypoints = heatmaps({"m": maps}, (24, 32), np.zeros((1, 4), np.float32))
    assert keypoints[0, 0].tolist() == [0.5, 0.5, 0]
    assert keypoints[0, 1].tolist() == [20.5, 0.5, np.float32(0.8)]


def test_the_integer_output_of_pp_tinypose_is_passed_over():
    maps = gaussians(np.full((1, 17, 2), 5.0), 12, 12)
    found = heatmaps({"m": maps, "argmax": np.zeros((1, 17), np.int64)}, (48, 48), np.zeros((1, 4), np.float32))
    np.testing.assert_allclose(found[0, 0, :2], [20.5, 20.5], atol=0.04)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"a": np.zeros((1, 6, 55), np.float32)},
        {"a": np.zeros((2, 6, 56), np.float32)},
        {"a": np.zeros((1, 16, 8, 8), np.float32)},
        {"a": np.zeros((1, 17, 8), np.float32)},
        {"a": np.zeros((1, 17), np.int64)},
        {"a": np.zeros((1, 17, 8, 8), np.float32), "b": np.zeros((1, 6, 56), np.float32)},
    ],
)
def test_outputs_of_another_shape_are_refused(name, outputs):
    with pytest.raises(ModelError, match=f"decoder '{name}'"):
        DECODERS[name](outputs, (64, 64), np.zeros((1, 4), np.float32))
