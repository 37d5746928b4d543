"""Decoders of detectors' raw heads, each against a loop over cells written from its published definition."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import geometry
from common.manifest import ModelError
from services.detector.decode import DECODERS, Decoded
from services.detector.decoders.ssd import ssd_anchors, ssd_boxes

SIZE = (96, 64)
seeds = st.integers(0, 2**31)
FEW = settings(max_examples=15, deadline=None)


def decode(name: str, *arrays: np.ndarray, size: tuple[int, int] = SIZE) -> Decoded:
    return DECODERS[name]({f"out{i}": array for i, array in enumerate(arrays)}, size)


def cells(strides: tuple[int, ...], size: tuple[int, int] = SIZE) -> list[tuple[int, int, int]]:
    """x, y and stride of each cell, row by row, one grid after the other."""
    return [
        (x, y, stride)
        for stride in strides
        for y in range(math.ceil(size[1] / stride))
        for x in range(math.ceil(size[0] / stride))
    ]


def softmax_mean(logits: np.ndarray) -> float:
    weights = [math.exp(value - max(logits)) for value in logits]
    return sum(i * weight for i, weight in enumerate(weights)) / sum(weights)


def sides(x: float, y: float, left: float, top: float, right: float, bottom: float) -> list[float]:
    return [x - left, y - top, x + right, y + bottom]


def check(found: Decoded, boxes: list[list[float]], scores: list[float]) -> None:
    assert found[0].dtype == found[1].dtype == np.float32
    np.testing.assert_allclose(found[0], np.array(boxes), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found[1], np.array(scores), rtol=1e-5)


@FEW
@given(seed=seeds, strides=st.sampled_from([(8, 16, 32), (8, 16, 32, 64)]), classes=st.integers(1, 3))
def test_yolox_equals_its_loop_raw_and_decoded(seed, strides, classes):
    rng = np.random.default_rng(seed)
    grid = cells(strides)
    raw = rng.uniform(-1, 1, (1, len(grid), 5 + classes)).astype(np.float32)
    raw[0, :, 4:] = rng.uniform(0, 1, (len(grid), 1 + classes))
    in_pixels = raw.copy()
    boxes, scores = [], []
    for i, (x, y, stride) in enumerate(grid):
        centre_x, centre_y = (x + raw[0, i, 0]) * stride, (y + raw[0, i, 1]) * stride
        width, height = math.exp(raw[0, i, 2]) * stride, math.exp(raw[0, i, 3]) * stride
        in_pixels[0, i, :4] = (centre_x, centre_y, width, height)
        boxes.append(sides(centre_x, centre_y, width / 2, height / 2, width / 2, height / 2))
        scores.append(raw[0, i, 4] * raw[0, i, 5])
    check(decode("yolox", raw), boxes, scores)
    check(decode("yolox_decoded", in_pixels), boxes, scores)


def test_yoloxs_cell_lies_where_the_arithmetic_says():
    """Row 2 of the 8-pixel grid of 12 columns, column 3: 0.5 of a cell further is x = 28, y = 20; size e^0 cells = 8."""
    raw = np.zeros((1, len(cells((8, 16, 32))), 6), np.float32)
    raw[0, 2 * 12 + 3] = (0.5, 0.5, 0, 0, 0.5, 0.5)
    boxes, scores = decode("yolox", raw)
    assert boxes[2 * 12 + 3].tolist() == [24, 16, 32, 24]
    assert scores[2 * 12 + 3] == 0.25


def test_what_overflows_becomes_infinite_for_the_detector_to_refuse():
    raw = np.full((1, len(cells((8, 16, 32))), 6), 1000, np.float32)
    assert not np.isfinite(decode("yolox", raw)[0]).any()


@FEW
@given(
    seed=seeds,
    head=st.sampled_from([((8, 16, 32, 64), 0.0), ((8, 16, 32), 0.5)]),
    classes=st.sampled_from([1, 80]),
    bins=st.sampled_from([8, 11, 17]),
)
def test_nanodet_equals_its_loop(seed, head, classes, bins):
    strides, offset = head
    rng = np.random.default_rng(seed)
    grid = cells(strides)
    raw = rng.uniform(-3, 3, (1, len(grid), classes + 4 * bins)).astype(np.float32)
    boxes, scores = [], []
    for row, (x, y, stride) in zip(raw[0], grid, strict=True):
        distances = [softmax_mean(row[classes + i * bins : classes + (i + 1) * bins]) * stride for i in range(4)]
        boxes.append(sides((x + offset) * stride, (y + offset) * stride, *distances))
        scores.append(row[0])
    check(decode("nanodet", raw), boxes, scores)


@FEW
@given(seed=seeds, classes=st.sampled_from([1, 3, 80]), order=st.permutations(range(4)))
def test_picodet_equals_its_loop_whatever_the_order_of_levels(seed, classes, order):
    rng = np.random.default_rng(seed)
    boxes, scores, heads = [], [], []
    for stride in (8, 16, 32, 64):
        grid = cells((stride,))
        scored = rng.uniform(0, 1, (1, len(grid), classes)).astype(np.float32)
        spread = rng.uniform(-3, 3, (1, len(grid), 32)).astype(np.float32)
        heads.append((scored, spread))
        for i, (x, y, _) in enumerate(grid):
            distances = [softmax_mean(spread[0, i, 8 * side : 8 * side + 8]) * stride for side in range(4)]
            boxes.append(sides((x + 0.5) * stride, (y + 0.5) * stride, *distances))
            scores.append(scored[0, i, 0])
    check(decode("picodet", *(heads[i][0] for i in order), *(heads[i][1] for i in order)), boxes, scores)


@FEW
@given(seed=seeds, classes=st.sampled_from([1, 4, 80]), last=st.booleans())
def test_rtmdet_equals_its_loop_with_channels_first_or_last(seed, classes, last):
    rng = np.random.default_rng(seed)
    boxes, scores, logits, distances = [], [], [], []
    for stride in (8, 16, 32):
        rows, columns = math.ceil(SIZE[1] / stride), math.ceil(SIZE[0] / stride)
        scored = rng.uniform(-4, 4, (1, classes, rows, columns)).astype(np.float32)
        far = rng.uniform(0, 60, (1, 4, rows, columns)).astype(np.float32)
        for x, y, _ in cells((stride,)):
            boxes.append(sides(x * stride, y * stride, *far[0, :, y, x]))
            scores.append(1 / (1 + math.exp(-scored[0, 0, y, x])))
        logits.append(np.moveaxis(scored, 1, 3) if last else scored)
        distances.append(np.moveaxis(far, 1, 3) if last else far)
    check(decode("rtmdet", *logits, *distances), boxes, scores)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("size", "classes"), [((640, 640), 80), ((128, 128), 1), ((128, 256), 80), ((320, 320), 40), ((256, 128), 8), ((32, 99), 4)]
)
def test_rtmdets_layout_is_not_guessed_from_one_grid_that_has_as_many_rows_as_channels(size, classes, last):
    """80 classes on 80 x 80 cells, 4 distances on 4 x 4: one cell a grid is lit, in the 2nd column of the 1st row."""
    arrays, wanted = [], []
    for stride in (8, 16, 32):
        rows, columns = math.ceil(size[1] / stride), math.ceil(size[0] / stride)
        logits = np.full((1, classes, rows, columns), -8, np.float32)
        distances = np.full((1, 4, rows, columns), 900, np.float32)
        x = min(1, columns - 1)
        logits[0, 0, 0, x], distances[0, :, 0, x] = 4, (11, 22, 33, 44)
        wanted.append(sides(x * stride, 0, 11, 22, 33, 44))
        arrays += [np.moveaxis(array, 1, 3) if last else array for array in (logits, distances)]
    boxes, scores = decode("rtmdet", *arrays, size=size)
    assert boxes[scores > 0.5].tolist() == wanted


def test_rtmdets_outputs_all_have_the_same_layout():
    mixed = [np.zeros((1, *shape), np.float32) for n in (80, 40, 20) for shape in ((80, n, n), (n, n, 4))]
    with pytest.raises(ModelError, match="or all with channels last"):
        decode("rtmdet", *mixed, size=(640, 640))


def anchors_loop(size: tuple[int, int]) -> list[list[float]]:
    """Centre y, x, height, width, as multiple_grid_anchor_generator.py describes them."""
    scales = [0.2 + (0.95 - 0.2) * i / 5 for i in range(6)] + [1.0]
    found = []
    for i in range(6):
        kinds = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        if i:
            kinds = [(scales[i], aspect) for aspect in (1.0, 2.0, 0.5, 3.0, 0.3333)]
            kinds.append((math.sqrt(scales[i] * scales[i + 1]), 1.0))
        rows, columns = math.ceil(size[1] / (16 << i)), math.ceil(size[0] / (16 << i))
        for y in range(rows):
            for x in range(columns):
                for scale, aspect in kinds:
                    height = scale / math.sqrt(aspect) * min(size) / size[1]
                    width = scale * math.sqrt(aspect) * min(size) / size[0]
                    found.append([(y + 0.5) / rows, (x + 0.5) / columns, height, width])
    return found


@pytest.mark.parametrize(("size", "count"), [((300, 300), 1917), ((320, 320), 2034), ((320, 192), None)])
def test_ssds_anchors_equal_their_loop(size, count):
    anchors = ssd_anchors(size)
    np.testing.assert_allclose(anchors, np.array(anchors_loop(size)), rtol=1e-5)
    assert count is None or len(anchors) == count


@FEW
@given(seed=seeds, swapped=st.booleans())
def test_ssd_equals_its_loop(seed, swapped):
    rng = np.random.default_rng(seed)
    anchors = anchors_loop((300, 200))
    encodings = rng.uniform(-3, 3, (1, len(anchors), 4)).astype(np.float32)
    scores = rng.uniform(0, 1, (1, len(anchors), 91)).astype(np.float32)
    boxes = []
    for (y, x, height, width), (dy, dx, dh, dw) in zip(anchors, encodings[0].tolist(), strict=True):
        centre_y, centre_x = y + dy / 10 * height, x + dx / 10 * width
        tall, wide = height * math.exp(dh / 5), width * math.exp(dw / 5)
        boxes.append(sides(centre_x * 300, centre_y * 200, wide * 150, tall * 100, wide * 150, tall * 100))
    arrays = (scores, encodings) if swapped else (encodings, scores)
    check(decode("ssd", *arrays, size=(300, 200)), boxes, scores[0, :, 1].tolist())


def test_ssd_boxes_takes_anchors_of_the_networks_own():
    anchors = np.array([[0.5, 0.25, 0.2, 0.1]], np.float32)
    found = ssd_boxes(np.zeros((1, 4), np.float32), anchors, (100, 100))
    np.testing.assert_allclose(found, [[20, 40, 30, 60]], rtol=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_the_detection_operators_answer_is_read_as_either_tensorflow_writes_it(order):
    boxes = np.array([[[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [0.2, 0.2, 0.4, 0.4]]], np.float32)
    classes, scores = np.array([[0, 17, 0]], np.float32), np.array([[0.9, 0.8, 0.7]], np.float32)
    arrays = (boxes, classes, scores, np.array([2], np.float32))  # the third was not written
    found, sure = decode("ssd_postprocessed", *(arrays[i] for i in order), size=(200, 100))
    np.testing.assert_allclose(found, [[40, 10, 120, 50]], rtol=1e-6)
    assert sure.tolist() == [np.float32(0.9)]


@pytest.mark.parametrize(
    ("name", "arrays", "wanted"),
    [
        ("yolox", [np.zeros((1, 125, 85), np.float32)], "126 or 128 rows .* 96x64 pixels"),
        ("yolox", [np.zeros((1, 126, 5), np.float32)], "126 or 128 rows"),
        ("yolox_decoded", [np.zeros((1, 127, 85), np.float32)], "126 or 128 rows"),
        ("nanodet", [np.zeros((1, 127, 112), np.float32)], "one row for each cell of 96x64 pixels"),
        ("nanodet", [np.zeros((1, 126, 47), np.float32)], "80 or 1 class scores"),
        ("nanodet", [np.zeros((1, 126, 80), np.float32)], "80 or 1 class scores"),
        ("picodet", [np.zeros((1, 96, 80), np.float32)] * 8, r"distributions \(1, 96, any\) for stride 8"),
        ("rtmdet", [np.zeros((1, 5, 8, 12), np.float32)] * 6, r"distances \(1, 4, 8, 12\), .*\(1, 4, 2, 3\)"),
        ("ssd", [np.zeros((1, 9, 4), np.float32), np.zeros((1, 9, 91), np.float32)], r"encodings \(1, 138, 4\)"),
        ("ssd_postprocessed", [np.zeros((1, 9, 4), np.float32)] * 4, r"boxes \(1, M, 4\)"),
        ("dets_labels", [np.zeros((1, 9, 4), np.float32)] * 2, r"\(1, any, 5\), \(1, any\)"),
    ],
)
def test_the_error_names_what_was_expected_and_what_came(name, arrays, wanted):
    with pytest.raises(ModelError, match=wanted) as caught:
        decode(name, *arrays)
    assert f"decoder '{name}'" in str(caught.value)
    assert str(arrays[0].shape) in str(caught.value)


@pytest.mark.kit
def test_the_kits_yolox_finds_people_where_they_are(kit: Path):
    """BGR, 0..255, letterboxed with 114: of the large people in 12 photos it finds at least two thirds."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is absent: pip install posebus[onnx]")
    session = runtime.InferenceSession(str(kit / "models" / "det" / "yolox_nano.onnx"))
    truth = json.loads((kit / "data" / "coco-mini" / "annotations" / "instances_val2017.json").read_text())
    files = {path.name: path for path in (kit / "data" / "coco-mini").rglob("*.jpg")}
    found = wanted = looked = 0
    for picture in truth["images"]:
        people = [a["bbox"] for a in truth["annotations"] if a["image_id"] == picture["id"] and a["category_id"] == 1]
        large = np.array([[x, y, x + w, y + h] for x, y, w, h in people if w * h >= 96 * 96], np.float32)
        if picture["file_name"] not in files or not len(large) or looked == 12:
            continue
        looked += 1
        fitted = geometry.letterbox(np.asarray(cv2.imread(str(files[picture["file_name"]]))), (416, 416))
        planes = np.ascontiguousarray(fitted.pixels.transpose(2, 0, 1)[None], np.float32)
        boxes, scores = decode("yolox", session.run(None, {"images": planes})[0], size=(416, 416))
        sure = scores >= 0.35
        overlap = geometry.iou_matrix(large, fitted.boxes_to_image(boxes[sure]))
        found += int((overlap.max(axis=1, initial=0) >= 0.5).sum())
        wanted += len(large)
    assert looked >= 5
    assert found >= wanted * 2 / 3
