from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import geometry as g

seeds = st.integers(0, 2**31)
EASY = settings(max_examples=50, deadline=None)


def random_boxes(rng: np.random.Generator, count: int, size: float = 100) -> np.ndarray:
    low = rng.uniform(0, size, (count, 2))
    return np.concatenate([low, low + rng.uniform(1, size / 2, (count, 2))], axis=1).astype(np.float32)


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_nms(boxes: np.ndarray, scores: np.ndarray, iou_max: float) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(slow_iou(boxes[i], boxes[j]) <= iou_max for j in kept):
            kept.append(int(i))
    return kept


@EASY
@given(seeds, st.integers(0, 12), st.integers(0, 12))
def test_iou_matrix_equals_the_plain_loop(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, n), random_boxes(rng, m)
    plain = np.array([[slow_iou(x, y) for y in b] for x in a], np.float32).reshape(n, m)
    np.testing.assert_allclose(g.iou_matrix(a, b), plain, rtol=1e-4, atol=1e-6)


def test_boxes_without_area_overlap_nothing():
    empty = np.array([[5, 5, 5, 5]], np.float32)
    assert g.iou_matrix(empty, empty)[0, 0] == 0


@EASY
@given(seeds, st.integers(0, 40), st.sampled_from([0.1, 0.3, 0.5, 0.8]))
def test_nms_equals_the_greedy_loop(seed, count, iou_max):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, count, 60), rng.uniform(0, 1, count).astype(np.float32)
    assert g.nms(boxes, scores, iou_max).tolist() == slow_nms(boxes, scores, iou_max)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), max_size=12), st.integers(1, 14))
def test_the_best_are_those_of_a_stable_sort(scores, count):
    wanted = sorted(np.argsort(-np.array(scores, np.float32), kind="stable")[:count].tolist())
    assert g.best_of(np.array(scores, np.float32), count).tolist() == wanted


def test_nms_frees_a_box_whose_suppressor_is_itself_suppressed():
    chain = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert g.nms(chain, np.array([0.9, 0.8, 0.7], np.float32), 0.3).tolist() == [0, 2]


@EASY
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(16, 400), st.integers(16, 400))
def test_letterbox_and_back_is_where_it_was(width, height, out_w, out_h):
    image = np.zeros((height, width, 3), np.uint8)
    fitted = g.letterbox(image, (out_w, out_h))
    assert fitted.pixels.shape == (out_h, out_w, 3)
    box = np.array([[0, 0, width, height]], np.float32)
    inside = box * np.tile(np.array(fitted.scale, np.float32), 2) + np.tile(np.array(fitted.offset, np.float32), 2)
    assert (inside <= np.array([out_w, out_h, out_w, out_h]) + 1e-2).all()
    np.testing.assert_allclose(fitted.boxes_to_image(inside), box, rtol=1e-4, atol=1e-2)


def test_letterbox_keeps_the_aspect_and_pads_right_and_below_with_grey():
    fitted = g.letterbox(np.full((100, 200, 3), 250, np.uint8), (64, 64))
    assert (fitted.pixels[:32] == 250).all()
    assert (fitted.pixels[32:] == g.PAD_VALUE).all()


def test_one_bright_block_is_found_where_it_was_after_letterboxing():
    image = np.zeros((480, 640, 3), np.uint8)
    image[120:200, 320:400] = 255
    fitted = g.letterbox(image, (256, 192))
    ys, xs = np.nonzero(fitted.pixels[:, :, 0] > 127)
    found = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
    np.testing.assert_allclose(fitted.boxes_to_image(found), [[320, 120, 400, 200]], atol=1.5)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(640, 480, (256, 192)), (1920, 1080, (256, 160)), (480, 640, (192, 256)), (100, 100, (256, 256)), (4000, 10, (256, 64))],
)
def test_the_input_follows_the_aspect_of_the_frame(width, height, size):
    assert g.input_size(width, height, 256, 32) == size


@EASY
@given(seeds, st.integers(0, 8))
def test_centre_and_size_give_the_box_back(seed, count):
    boxes = random_boxes(np.random.default_rng(seed), count)
    np.testing.assert_allclose(g.boxes_of(*g.centre_size(boxes)), boxes, rtol=1e-4, atol=1e-4)


@EASY
@given(seeds, st.floats(0.3, 3), st.floats(1, 2))
def test_a_crop_has_the_aspect_asked_for_and_holds_the_box_and_its_padding(seed, aspect, padding):
    boxes = random_boxes(np.random.default_rng(seed), 5)
    shown = g.expand_to_aspect(boxes, aspect, padding)
    _, sizes = g.centre_size(shown)
    np.testing.assert_allclose(sizes[:, 0] / sizes[:, 1], aspect, rtol=1e-3)
    _, inner = g.centre_size(boxes)
    assert (sizes >= inner * padding * 0.999).all()
    np.testing.assert_allclose(g.centre_size(shown)[0], g.centre_size(boxes)[0], rtol=1e-3, atol=1e-3)


@EASY
@given(seeds, st.integers(1, 6))
def test_points_go_into_a_crop_and_back(seed, count):
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, count)
    crops = g.crop_people(np.zeros((120, 160, 3), np.uint8), boxes, (48, 64))
    points = rng.uniform(0, 48, (count, 17, 2)).astype(np.float32)
    homogeneous = np.concatenate([points, np.ones((count, 17, 1), np.float32)], axis=2)
    by_matrix = np.einsum("nij,nkj->nki", crops.to_image, homogeneous)
    there = crops.points_to_image(points)
    np.testing.assert_allclose(there, by_matrix, rtol=1e-4, atol=1e-3)
    back = (there - crops.offset[:, None]) / crops.scale[:, None]
    np.testing.assert_allclose(back, points, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("side", [40, 90, 170, 400, 1000])
def test_a_bright_block_lies_in_the_crop_where_the_arithmetic_says(side):
    """Also through the halved copies, and with odd picture sizes."""
    image = np.zeros((1201, 1203, 3), np.uint8)
    x0, y0 = 101, 77
    image[y0 : y0 + side, x0 : x0 + side] = 255
    box = np.array([[x0, y0, x0 + side, y0 + side]], np.float32)
    crops = g.crop_people(image, box, (64, 64), padding=1.5)
    mass = crops.pixels[0, :, :, 0].astype(np.float64) / 255
    (wanted,) = crops.boxes_to_crop(box)
    np.testing.assert_allclose(wanted, [32 - 64 / 3, 32 - 64 / 3, 32 + 64 / 3, 32 + 64 / 3], atol=1.1)
    total = mass.sum()
    centre_x = (mass.sum(axis=0) * (np.arange(64) + 0.5)).sum() / total
    centre_y = (mass.sum(axis=1) * (np.arange(64) + 0.5)).sum() / total
    assert (centre_x, centre_y) == pytest.approx(((wanted[0] + wanted[2]) / 2, (wanted[1] + wanted[3]) / 2), abs=0.1)
    assert total == pytest.approx((wanted[2] - wanted[0]) * (wanted[3] - wanted[1]), rel=0.02)


def test_what_lies_beyond_the_picture_is_black():
    image = np.full((50, 50, 3), 200, np.uint8)
    crops = g.crop_people(image, np.array([[-50, -50, 0, 0], [-50, -50, 50, 50]], np.float32), (32, 32), padding=1)
    assert (crops.pixels[0, :30, :30] == 0).all()
    assert (crops.pixels[1, :15, :15] == 0).all()
    assert (crops.pixels[1, 17:, 17:] == 200).all()


@EASY
@given(seeds, st.integers(1, 5), st.sampled_from([(251, 255), (250, 180), (97, 255)]))
def test_each_pixel_of_a_crop_shows_the_place_that_its_arithmetic_says(seed, count, size):
    """Also at the picture's edges, and from halved copies. Red is x and green is y; blue is 255, so that black is beyond."""
    rng = np.random.default_rng(seed)
    width, height = size
    image = np.full((height, width, 3), 255, np.uint8)
    image[..., 2], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    low = rng.uniform((-150, -150), (width - 5, height - 5), (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 300, (count, 2))], axis=1).astype(np.float32)
    crops = g.crop_people(image, boxes, (32, 48))
    assert crops.scale.dtype == crops.offset.dtype == np.float32
    for scale, offset, pixels in zip(crops.scale, crops.offset, crops.pixels.astype(float), strict=True):
        x = offset[0] + scale[0] * (np.arange(32) + 0.5)  # centres of the crop's columns, continuous picture coordinates
        y = offset[1] + scale[1] * (np.arange(48) + 0.5)
        # A halved copy of an odd side lacks the last pixel: within one pixel of the crop, the edge may be seen or not.
        inside = ((y > 0) & (y < height - scale[1]))[:, None] & ((x > 0) & (x < width - scale[0]))
        beyond = ((y < 0) | (y > height))[:, None] | (x < 0) | (x > width)
        assert not pixels[beyond].any()
        if min(inside.any(axis=0).sum(), inside.any(axis=1).sum()) <= 1:
            continue  # less than half a pixel of the crop may show nothing
        assert (pixels[..., 0][inside] == 255).all()
        at_edge = max(scale) / 2 + 1.1  # there OpenCV repeats the last pixel
        deep = inside & (y > 2 * at_edge)[:, None] & (y < height - 2 * at_edge)[:, None]
        deep &= (x > 2 * at_edge) & (x < width - 2 * at_edge)
        for shown, wanted in ((pixels[..., 2], x - 0.5), (pixels[..., 1], y[:, None] - 0.5)):
            wanted = np.broadcast_to(wanted, (48, 32))
            np.testing.assert_allclose(shown[inside], wanted[inside], atol=at_edge)
            np.testing.assert_allclose(shown[deep], wanted[deep], atol=1.1)  # halving and resizing round


@EASY
@given(seeds, st.integers(1, 6))
def test_a_crop_at_the_edge_holds_the_box_as_one_within_does(seed, count):
    """That the picture's edge falls between pixels of the crop moves the window by a pixel of the crop at most."""
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, count) - rng.uniform(0, 60, (count, 1)).astype(np.float32)
    at_edge = g.crop_people(np.zeros((100, 130, 3), np.uint8), boxes, (48, 64))
    within = g.crop_people(np.zeros((500, 530, 3), np.uint8), boxes + 200, (48, 64))
    visible = np.minimum(at_edge.boxes_to_crop(g.clip_boxes(boxes, 130, 100)), 64)
    wanted = np.minimum(within.boxes_to_crop(g.clip_boxes(boxes, 130, 100) + 200), 64)
    touched = g.area(g.clip_boxes(boxes, 130, 100)) > 0
    np.testing.assert_allclose(visible[touched], wanted[touched], atol=1.2)


def test_a_large_person_is_averaged_not_sampled():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    crops = g.crop_people(stripes, np.array([[0, 0, 1024, 1024]], np.float32), (128, 128), padding=1)
    assert crops.pixels[0, 8:-8, 8:-8].astype(int).max() - crops.pixels[0, 8:-8, 8:-8].astype(int).min() <= 4


def test_people_of_one_frame_come_in_one_batch_each_as_if_alone():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    boxes = np.array([[10, 10, 60, 200], [100, 50, 500, 470], [300, 300, 310, 320]], np.float32)
    together = g.crop_people(image, boxes, (96, 128)).pixels
    assert together.shape == (3, 128, 96, 3)
    for i in range(3):
        np.testing.assert_array_equal(together[i], g.crop_people(image, boxes[i : i + 1], (96, 128)).pixels[0])


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [30, 30, 20, 20], [1e6, 1e6, 1e6 + 5, 1e6 + 5]])
def test_senseless_boxes_give_crops_all_the_same(box):
    crops = g.crop_people(np.zeros((20, 30, 3), np.uint8), np.array([box], np.float32), (16, 16))
    assert crops.pixels.shape == (1, 16, 16, 3)
    assert np.isfinite(crops.to_image).all()
    assert (crops.scale > 0).all()


def test_no_people_make_no_crops():
    assert g.crop_people(np.zeros((20, 30, 3), np.uint8), np.empty((0, 4), np.float32), (16, 24)).pixels.shape == (0, 24, 16, 3)


def test_a_picture_of_one_pixel_can_be_cropped():
    crops = g.crop_people(np.full((1, 1, 3), 9, np.uint8), np.array([[0, 0, 1000, 1000]], np.float32), (16, 16))
    assert crops.pixels.shape == (1, 16, 16, 3)


def test_points_are_inside_a_polygon_or_not():
    concave = [(0, 0), (10, 0), (10, 10), (5, 5), (0, 10)]
    points = [(1, 1), (5, 4), (5, 6), (9, 9), (-1, 5), (11, 5)]
    assert g.points_in_polygon(points, concave).tolist() == [True, True, False, True, False, False]
    assert g.points_in_polygon(points, concave[::-1]).tolist() == [True, True, False, True, False, False]
    assert g.points_in_polygon(np.empty((0, 2)), concave).shape == (0,)


@EASY
@given(seeds, st.integers(3, 8))
def test_points_in_polygon_equals_the_plain_loop(seed, corners):
    rng = np.random.default_rng(seed)
    polygon, points = rng.uniform(0, 1, (corners, 2)), rng.uniform(-0.2, 1.2, (30, 2))
    plain = []
    for x, y in points:
        inside = False
        for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
                inside = not inside
        plain.append(inside)
    assert g.points_in_polygon(points, polygon).tolist() == plain


def test_polygons_have_an_area_and_go_to_pixels_and_back():
    square = [(0.1, 0.2), (0.6, 0.2), (0.6, 0.7), (0.1, 0.7)]
    assert g.polygon_area(square) == pytest.approx(0.25)
    assert g.polygon_area(square[::-1]) == pytest.approx(0.25)
    pixels = g.polygon_to_px(square, 640, 480)
    np.testing.assert_allclose(pixels[2], [384, 336])
    np.testing.assert_allclose(g.polygon_to_norm(pixels, 640, 480), square, atol=1e-6)


def test_boxes_are_cut_at_the_edges():
    cut = g.clip_boxes(np.array([[-5, -5, 700, 20]], np.float32), 640, 480)
    assert cut.tolist() == [[0, 0, 640, 20]]
    assert cut.dtype == np.float32
