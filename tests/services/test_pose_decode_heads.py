"""Decoders of networks without plain heatmaps: offsets, SimCC, MoveNet SinglePose, keypoints out of the graph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.manifest import ModelError
from services.pose.decode import DECODERS
from tests.model_parts import walking_person

seeds = st.integers(0, 2**31)
FEW = settings(max_examples=20, deadline=None)


def decode(name: str, size: tuple[int, int], *arrays: np.ndarray) -> np.ndarray:
    boxes = np.zeros((len(arrays[0]), 4), np.float32)
    return DECODERS[name]({f"out{i}": array for i, array in enumerate(arrays)}, size, boxes)


def offsets_loop(heat: np.ndarray, offsets: np.ndarray, stride: float) -> np.ndarray:
    found = np.empty((len(heat), 17, 3))
    for n in range(len(heat)):
        for k in range(17):
            y, x = np.unravel_index(int(heat[n, k].argmax()), heat.shape[2:])
            found[n, k, 0] = x * stride + offsets[n, 17 + k, y, x] + 0.5
            found[n, k, 1] = y * stride + offsets[n, k, y, x] + 0.5
            found[n, k, 2] = heat[n, k, y, x]
    return found


@FEW
@given(seed=seeds, count=st.integers(1, 3), size=st.sampled_from([(72, 96), (73, 97)]))
def test_offsets_equal_their_loop_in_any_layout_and_order(seed, count, size):
    """72 x 96 pixels are 9 x 12 cells of 8 pixels; so is PoseNet's 73 x 97, whose 10 x 13 cells lie on every 8th pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = (12, 9) if size == (72, 96) else (13, 10)
    heat = rng.uniform(0, 1, (count, 17, rows, columns)).astype(np.float32)
    offsets = rng.uniform(-12, 12, (count, 34, rows, columns)).astype(np.float32)
    wanted = offsets_loop(heat, offsets, 8)
    last = [np.ascontiguousarray(np.moveaxis(array, 1, 3)) for array in (heat, offsets)]
    for arrays in ((heat, offsets), (offsets, heat), (last[0], last[1]), (last[1], heat)):
        np.testing.assert_allclose(decode("heatmap_offsets", size, *arrays), wanted, rtol=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [(257, 257), (257, 513), (513, 257), (529, 257)])
def test_where_17_or_34_is_the_number_of_cells_too_the_offsets_tell_the_layout(size, last, swapped):
    """PoseNet's 257 x 257 pixels, stride 16, are 17 x 17 cells; 529 are 34."""
    rng = np.random.default_rng(0)
    rows, columns = (size[1] - 1) // 16 + 1, (size[0] - 1) // 16 + 1
    heat = rng.uniform(0, 1, (1, 17, rows, columns)).astype(np.float32)
    offsets = rng.uniform(-12, 12, (1, 34, rows, columns)).astype(np.float32)
    arrays = [np.moveaxis(array, 1, 3) if last else array for array in (heat, offsets)]
    found = decode("heatmap_offsets", size, *(arrays[::-1] if swapped else arrays))
    np.testing.assert_allclose(found, offsets_loop(heat, offsets, 16), rtol=1e-5)


def test_y_comes_before_x_in_the_offsets():
    """Cell (3, 2) of stride 8 is pixel (24, 16); 5 to the right and 2 up of it lies pixel (29, 14), its centre at .5."""
    heat, offsets = np.zeros((1, 17, 8, 8), np.float32), np.zeros((1, 34, 8, 8), np.float32)
    heat[0, :, 2, 3] = 0.9
    offsets[0, :17, 2, 3] = -2
    offsets[0, 17:, 2, 3] = 5
    assert decode("heatmap_offsets", (64, 64), heat, offsets)[0, 4].tolist() == [29.5, 14.5, np.float32(0.9)]


def test_logits_become_scores_however_large_they_are():
    heat, offsets = np.full((1, 17, 8, 8), -200, np.float32), np.zeros((1, 34, 8, 8), np.float32)
    heat[0, 1, 2, 3] = 2
    found = decode("heatmap_offsets_logits", (64, 64), heat, offsets)
    assert found[0, 1, 2] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found[0, 0, 2] == 0
    assert found[0, 1, :2].tolist() == [24.5, 16.5]


@pytest.mark.parametrize("shape", [(1, 34, 8, 9), (1, 33, 8, 8), (1, 17, 8, 8), (2, 34, 8, 8), (1, 34, 8)])
def test_offsets_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(ModelError, match="heatmap_offsets") as caught:
        decode("heatmap_offsets", (64, 64), np.zeros((1, 17, 8, 8), np.float32), np.zeros(shape, np.float32))
    assert "(1, 17, 8, 8)" in str(caught.value) or "h, w" in str(caught.value)
    assert str(shape) in str(caught.value)


def simcc_loop(x_bins: np.ndarray, y_bins: np.ndarray, ratio: float) -> np.ndarray:
    found = np.empty((len(x_bins), 17, 3))
    for n in range(len(x_bins)):
        for k in range(17):
            score = min(x_bins[n, k].max(), y_bins[n, k].max())
            x, y = (int(x_bins[n, k].argmax()), int(y_bins[n, k].argmax())) if score > 0 else (0, 0)
            found[n, k] = (x / ratio + 0.5, y / ratio + 0.5, max(score, 0))
    return found


@FEW
@given(seed=seeds, count=st.integers(1, 3), ratio=st.sampled_from([1, 1.5, 2, 3]))
def test_simcc_equals_its_loop(seed, count, ratio):
    rng = np.random.default_rng(seed)
    x_bins = rng.uniform(-1, 0.4, (count, 17, int(48 * ratio))).astype(np.float32)
    y_bins = rng.uniform(-1, 0.4, (count, 17, int(64 * ratio))).astype(np.float32)
    x_bins[0, 3], y_bins[0, 4] = -0.1, 0
    np.testing.assert_allclose(decode("simcc", (48, 64), x_bins, y_bins), simcc_loop(x_bins, y_bins, ratio), rtol=1e-5)


def test_simccs_bin_40_of_two_a_pixel_is_pixel_20():
    x_bins, y_bins = np.zeros((1, 17, 96), np.float32), np.zeros((1, 17, 128), np.float32)
    x_bins[..., 40], y_bins[..., 101] = 0.7, 0.6
    assert decode("simcc", (48, 64), x_bins, y_bins)[0, 0].tolist() == [20.5, 51.0, np.float32(0.6)]


def test_names_tell_x_from_y_where_a_runtime_changed_the_order():
    x_bins, y_bins = np.zeros((1, 17, 96), np.float32), np.zeros((1, 17, 96), np.float32)
    x_bins[..., 40], y_bins[..., 80] = 1, 1
    named = {"simcc_y": y_bins, "simcc_x": x_bins}
    found = DECODERS["simcc"](named, (48, 48), np.zeros((1, 4), np.float32))
    assert found[0, 0].tolist() == [20.5, 40.5, 1]


@pytest.mark.parametrize("shapes", [((1, 17, 96), (1, 17, 127)), ((1, 17, 128), (1, 17, 96)), ((1, 16, 96), (1, 16, 128)),
                                    ((1, 17, 24), (1, 17, 32))])  # fmt: skip
def test_bins_that_do_not_fit_the_crop_are_refused(shapes):
    with pytest.raises(ModelError, match=r"'simcc' expects x \(1, 17, r \* 48\)"):
        decode("simcc", (48, 64), *(np.zeros(shape, np.float32) for shape in shapes))


@FEW
@given(seed=seeds, count=st.integers(1, 3))
def test_single_pose_equals_its_loop(seed, count):
    raw = np.random.default_rng(seed).uniform(-0.1, 1, (count, 1, 17, 3)).astype(np.float32)
    wanted = np.array([[[x * 192, y * 160, max(score, 0)] for y, x, score in person[0]] for person in raw])
    np.testing.assert_allclose(decode("movenet_singlepose", (192, 160), raw), wanted, rtol=1e-5)
    np.testing.assert_allclose(decode("movenet_singlepose", (192, 160), raw[:, 0]), wanted, rtol=1e-5)


def test_keypoints_of_the_graph_are_taken_as_they_are_but_for_scores_below_0():
    raw = np.arange(51, dtype=np.float32).reshape(1, 17, 3)
    raw[0, 2, 2] = -1
    found = decode("keypoints", (64, 64), raw)
    assert found[0, 2].tolist() == [6, 7, 0]
    found[...] = 0  # the caller may write to it
    assert raw[0, 1].tolist() == [3, 4, 5]


@pytest.mark.kit
def test_the_kits_single_pose_network_sees_a_walking_person(kit: Path):
    """MoveNet Lightning, uint8, on a real crop: head above hips above ankles."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is absent: pip install posebus[tflite]")
    path = kit / "models" / "coral" / "movenet_single_pose_lightning_ptq.tflite"
    network = interpreter.Interpreter(str(path), num_threads=1)
    network.allocate_tensors()
    image = walking_person()
    side = min(image.shape[:2])
    left = (image.shape[1] - side) // 2
    crop = cv2.cvtColor(cv2.resize(image[:side, left : left + side], (192, 192)), cv2.COLOR_BGR2RGB)
    entry, exit = network.get_input_details()[0], network.get_output_details()[0]
    network.set_tensor(entry["index"], crop[None].astype(entry["dtype"]))
    network.invoke()
    raw = network.get_tensor(exit["index"])
    if np.issubdtype(raw.dtype, np.integer):
        scale, zero = exit["quantization"]
        raw = (raw.astype(np.float32) - zero) * np.float32(scale)
    found = decode("movenet_singlepose", (192, 192), raw)[0]
    sure = found[found[:, 2] > 0.3]
    assert len(sure) >= 8
    assert found[[5, 6], 1].mean() < found[[11, 12], 1].mean() < found[[15, 16], 1].mean()
