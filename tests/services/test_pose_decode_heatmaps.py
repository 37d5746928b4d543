"""Each heatmap decoder against a loop over people and joints, written from its definition, and against arithmetic on paper."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.geometry import Crops, crop_people
from common.manifest import ModelError
from common.skeleton import FLIP
from services.pose.decode import DECODERS, merge_flipped

SIZE = (48, 64)  # of the crop; the maps are 12 x 16 cells, stride 4
SHIFT = dict.fromkeys(("heatmaps", "heatmaps_plain", "heatmaps_quarter"), (SIZE[0] / 12, SIZE[1] / 16))
SHIFT |= dict.fromkeys(("heatmaps_udp", "heatmaps_udp_blurred"), ((SIZE[0] - 1) / 11, (SIZE[1] - 1) / 15))
seeds = st.integers(0, 2**31)
FEW = settings(max_examples=20, deadline=None)


def decode(name: str, maps: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    return DECODERS[name]({"maps": maps}, size, np.zeros((len(maps), 4), np.float32))


def noise(seed: int, count: int = 2, rows: int = 16, columns: int = 12) -> np.ndarray:
    """Smooth noise, so that its maxima have tops."""
    rng = np.random.default_rng(seed)
    maps = rng.uniform(0, 1, (count, 17, rows, columns)).astype(np.float32)
    return np.stack([[cv2.GaussianBlur(m, (5, 5), 0.8) for m in person] for person in maps]).astype(np.float32)


def peak(maps: np.ndarray, n: int, k: int) -> tuple[int, int, float]:
    """x, y and value of a map's first largest cell; cell 0 where nothing is above 0."""
    y, x = np.unravel_index(int(maps[n, k].argmax()), maps.shape[2:])
    value = float(maps[n, k, y, x])
    return (int(x), int(y), value) if value > 0 else (0, 0, 0.0)


def newton(log: np.ndarray, x: int, y: int) -> np.ndarray:
    rows, columns = log.shape
    if not (0 < x < columns - 1 and 0 < y < rows - 1):
        return np.zeros(2)
    slope = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
    mixed = (log[y + 1, x + 1] - log[y + 1, x - 1] - log[y - 1, x + 1] + log[y - 1, x - 1]) / 4
    xx, yy = log[y, x + 1] - 2 * log[y, x] + log[y, x - 1], log[y + 1, x] - 2 * log[y, x] + log[y - 1, x]
    hessian = np.array([[xx, mixed], [mixed, yy]])
    if np.linalg.det(hessian) <= 1e-6:
        return np.zeros(2)
    return np.clip(-np.linalg.solve(hessian, slope), -1, 1)


def plain_shift(one: np.ndarray, x: int, y: int) -> np.ndarray:
    return np.zeros(2)


def quarter_shift(one: np.ndarray, x: int, y: int) -> np.ndarray:
    rows, columns = one.shape
    if 1 < x < columns - 1 and 1 < y < rows - 1:
        return 0.25 * np.sign([one[y, x + 1] - one[y, x - 1], one[y + 1, x] - one[y - 1, x]])
    return np.zeros(2)


def dark_shift(one: np.ndarray, x: int, y: int) -> np.ndarray:
    return newton(np.log(np.maximum(one.astype(np.float64), 1e-10)), x, y)


def blurred_shift(one: np.ndarray, x: int, y: int) -> np.ndarray:
    return dark_shift(cv2.GaussianBlur(one.astype(np.float64), (11, 11), 0, borderType=cv2.BORDER_CONSTANT), x, y)


REFERENCES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "heatmaps": dark_shift,
    "heatmaps_plain": plain_shift,
    "heatmaps_quarter": quarter_shift,
    "heatmaps_udp": dark_shift,
    "heatmaps_udp_blurred": blurred_shift,
}


def loop(name: str, maps: np.ndarray) -> np.ndarray:
    found = np.empty((len(maps), 17, 3))
    for n in range(len(maps)):
        for k in range(17):
            x, y, value = peak(maps, n, k)
            cell = np.array([x, y]) + REFERENCES[name](maps[n, k], x, y)
            found[n, k] = [*(cell * SHIFT[name] + 0.5), value]
    return found


@pytest.mark.parametrize("name", REFERENCES)
@FEW
@given(seed=seeds, count=st.integers(1, 4))
def test_a_decoder_equals_its_loop(name, seed, count):
    maps = noise(seed, count)
    found = decode(name, maps)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, loop(name, maps), atol=5e-3)


@pytest.mark.parametrize("name", REFERENCES)
@FEW
@given(seed=seeds, count=st.integers(1, 4))
def test_channels_may_come_last(name, seed, count):
    maps = noise(seed, count)
    last = np.ascontiguousarray(np.moveaxis(maps, 1, 3))
    np.testing.assert_array_equal(decode(name, last), decode(name, maps))


@pytest.mark.parametrize("name", REFERENCES)
def test_where_both_axes_could_be_the_joints_the_first_is(name):
    maps = noise(1, 1, rows=16, columns=17)
    first = decode(name, maps)
    assert np.isfinite(first).all()
    assert first[0, 3, 2] == maps[0, 3].max()


@pytest.mark.parametrize("name", REFERENCES)
def test_a_bright_cell_lies_where_the_arithmetic_says(name):
    """Column 5, row 9, of 12 x 16 cells over 48 x 64 pixels. In stride coordinates that is pixel (20, 36), whose centre is at
    (20.5, 36.5); in UDP's pixel (5 * 47 / 11, 9 * 63 / 15) = (21.364, 37.8), its centre at (21.864, 38.3)."""
    maps = np.zeros((1, 17, 16, 12), np.float32)
    maps[:, :, 9, 5] = 0.8
    where = (21.3636 + 0.5, 38.3) if "udp" in name else (20.5, 36.5)
    np.testing.assert_allclose(decode(name, maps), np.broadcast_to([*where, 0.8], (1, 17, 3)), atol=1e-4)


@pytest.mark.parametrize(("name", "last"), [("heatmaps_plain", (44.5, 60.5)), ("heatmaps_udp", (47.5, 63.5))])
def test_the_outermost_cells(name, last):
    """UDP puts them on the outermost pixels, strides leave the last stride - 1 pixels to nobody."""
    maps = np.zeros((1, 17, 16, 12), np.float32)
    maps[0, 0, 0, 0] = maps[0, 1, 15, 11] = 1
    found = decode(name, maps)
    assert found[0, 0].tolist() == [0.5, 0.5, 1]
    assert found[0, 1].tolist() == pytest.approx([*last, 1])


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("cell", [(0, 0), (0, 6), (15, 6), (7, 0), (7, 11), (15, 11)])
def test_maxima_on_the_border_stay_where_they_are(name, cell):
    maps = noise(3, 1)
    maps[0, :, cell[0], cell[1]] = 2
    found = decode(name, maps)
    np.testing.assert_allclose(found[0, :, 0], cell[1] * SHIFT[name][0] + 0.5, rtol=1e-6)
    np.testing.assert_allclose(found[0, :, 1], cell[0] * SHIFT[name][1] + 0.5, rtol=1e-6)


def test_alphapose_leaves_maxima_of_the_second_row_and_column_alone_too():
    maps = np.zeros((1, 17, 16, 12), np.float32)
    maps[0, :, 1, 6] = 1
    maps[0, :, 1, 7] = 0.5
    assert decode("heatmaps_quarter", maps)[0, 0].tolist() == [24.5, 4.5, 1]


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("value", [0.0, -0.5, -np.inf])
def test_a_map_without_anything_above_0_has_its_keypoint_in_cell_0_with_score_0(name, value):
    maps = np.full((1, 17, 16, 12), value, np.float32)
    maps[0, 1:] = noise(5, 1)[0, 1:]
    found = decode(name, maps)
    assert found[0, 0].tolist() == [0.5, 0.5, 0]
    np.testing.assert_array_equal(found[0, 1:], decode(name, noise(5, 1))[0, 1:])


@pytest.mark.parametrize("name", REFERENCES)
def test_a_flat_map_above_0_stays_in_its_first_cell(name):
    found = decode(name, np.full((1, 17, 16, 12), 0.3, np.float32))
    assert found[0, 0].tolist() == [0.5, 0.5, np.float32(0.3)]


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_map_with_what_is_no_number_is_not_hidden(name, broken):
    maps = noise(7, 1)
    maps[0, 4, 5:8, 5:8] = broken
    found = decode(name, maps)
    assert not np.isfinite(found[0, 4, 2])
    assert np.isfinite(np.delete(found[0], 4, axis=0)).all()


@pytest.mark.parametrize("name", REFERENCES)
def test_nobody_has_no_keypoints(name):
    for shape in ((0, 17, 16, 12), (0, 16, 12, 17)):
        assert decode(name, np.empty(shape, np.float32)).shape == (0, 17, 3)


@pytest.mark.parametrize("name", REFERENCES)
def test_outputs_in_half_precision_do(name):
    maps = noise(8, 1).astype(np.float16)
    np.testing.assert_array_equal(decode(name, maps), decode(name, maps.astype(np.float32)))


@pytest.mark.parametrize("name", REFERENCES)
def test_the_error_names_what_was_expected_and_what_came(name):
    with pytest.raises(ModelError, match=rf"'{name}' expects heatmaps \(2, 17, h, w\).*got \(2, 18, 16, 12\)"):
        decode(name, np.zeros((2, 18, 16, 12), np.float32))
    with pytest.raises(ModelError, match=r"at least 3, got \(2, 17, 2, 12\)"):
        decode(name, np.zeros((2, 17, 2, 12), np.float32))


def alphapose(one: np.ndarray, window: tuple[float, float, float, float]) -> list[list[float]]:
    """AlphaPose's steps for one person: argmax, quarter, and for each joint the affine from heatmap cells to picture pixels,
    all in indices of pixels. window: xmin, ymin, width, height."""
    rows, columns = one.shape[1:]
    xmin, ymin, width, height = window
    source = np.array([[columns / 2, rows / 2], [columns / 2, 0], [0, 0]], np.float32)
    target = np.array([[xmin + width / 2, ymin + height / 2], [xmin + width / 2, ymin], [xmin, ymin]], np.float32)
    affine = cv2.getAffineTransform(source, target)
    found = []
    for k in range(17):
        x, y, _ = peak(one[None], 0, k)
        cell = np.array([x, y]) + quarter_shift(one[k], x, y)
        found.append((affine @ [*cell, 1]).tolist())
    return found


@FEW
@given(seeds)
def test_quarter_offsets_are_alphaposes_keypoints_in_the_picture(seed):
    """Its affine takes crop pixel u from picture pixel xmin + u * width / W. Ours, with the crop's edge at the same place where
    those pixels' edges are, must find the same pixel; pixel i's centre is at i + 0.5."""
    rng = np.random.default_rng(seed)
    xmin, ymin, width = rng.uniform(0, 300, 3) + 20
    window = (xmin, ymin, width, width * SIZE[1] / SIZE[0])
    step = np.array([[width / SIZE[0], width / SIZE[0]]], np.float32)
    edge = np.array([[xmin, ymin]]) + 0.5 - 0.5 * step
    crops = Crops(np.empty((1, SIZE[1], SIZE[0], 3), np.uint8), step, edge.astype(np.float32))
    maps = noise(seed, 1)
    ours = crops.points_to_image(decode("heatmaps_quarter", maps)[..., :2])[0]
    np.testing.assert_allclose(ours, np.array(alphapose(maps[0], window)) + 0.5, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("name", ["heatmaps", "heatmaps_udp"])
@FEW
@given(seed=seeds)
def test_a_spot_in_the_picture_is_found_through_crop_and_decoder(name, seed):
    """The crop itself is the heatmap, one cell a pixel, where both coordinate systems are the same."""
    rng = np.random.default_rng(seed)
    at = rng.uniform((60, 60), (260, 180))
    y, x = np.mgrid[:240, :320] + 0.5
    spot = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 6.0**2))
    image = np.repeat(spot.round().astype(np.uint8)[..., None], 3, axis=2)
    box = np.array([[at[0] - 40, at[1] - 50, at[0] + 35, at[1] + 45]], np.float32)
    crops = crop_people(image, box, SIZE)
    maps = np.repeat(crops.pixels[:, None, :, :, 0], 17, axis=1).astype(np.float32) / 255
    found = crops.points_to_image(decode(name, maps)[..., :2])
    np.testing.assert_allclose(found, np.broadcast_to(at, (1, 17, 2)), atol=0.35)


@FEW
@given(seed=seeds, shift=st.booleans())
def test_the_flip_test_equals_its_loop(seed, shift):
    maps, mirrored = noise(seed), noise(seed + 1)
    wanted = np.empty_like(maps)
    for n in range(2):
        for k in range(17):
            for column in range(12):
                source = 11 - max(column - 1, 0) if shift else 11 - column
                wanted[n, k, :, column] = (maps[n, k, :, column] + mirrored[n, FLIP[k], :, source]) / 2
    np.testing.assert_allclose(merge_flipped(maps, mirrored, shift=shift), wanted, rtol=1e-6)
    last = merge_flipped(np.moveaxis(maps, 1, 3), np.moveaxis(mirrored, 1, 3), shift=shift)
    np.testing.assert_allclose(np.moveaxis(last, 3, 1), wanted, rtol=1e-6)


def test_a_joint_and_its_mirror_image_meet_in_the_flip_test():
    """UDP: cell 3 of 12 is cell 8 of the mirror image, and the left wrist is its right wrist."""
    maps, mirrored = np.zeros((1, 17, 16, 12), np.float32), np.zeros((1, 17, 16, 12), np.float32)
    maps[0, 9, 7, 3] = mirrored[0, 10, 7, 8] = 0.8
    merged = merge_flipped(maps, mirrored)
    assert merged[0, 9, 7, 3] == np.float32(0.8)
    assert merged.sum() == np.float32(0.8)


def test_the_flip_test_refuses_other_shapes():
    with pytest.raises(ModelError, match=r"\(1, 17, 4, 4\), \(1, 17, 4, 5\)"):
        merge_flipped(np.zeros((1, 17, 4, 4), np.float32), np.zeros((1, 17, 4, 5), np.float32))
    with pytest.raises(ModelError, match=r"\(1, 16, 4, 4\)"):
        merge_flipped(np.zeros((1, 16, 4, 4), np.float32), np.zeros((1, 16, 4, 4), np.float32))
