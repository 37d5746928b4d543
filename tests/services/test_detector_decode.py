from __future__ import annotations

import numpy as np
import pytest

from common.manifest import ModelError
from services.detector.decode import DECODERS, boxes_scores, dets_labels, movenet_multipose


def test_movenet_boxes_come_out_in_input_pixels_with_x_first():
    raw = np.zeros((1, 6, 56), np.float32)
    raw[0, 2, 51:] = (0.25, 0.1, 0.75, 0.5, 0.8)  # ymin, xmin, ymax, xmax, score
    boxes, scores = movenet_multipose({"out": raw}, (256, 192))
    np.testing.assert_allclose(boxes[2], [25.6, 48, 128, 144], rtol=1e-5)
    assert scores[2] == np.float32(0.8)


def test_rtmdet_keeps_persons_only():
    dets = np.array([[[1, 2, 3, 4, 0.9], [5, 6, 7, 8, 0.8]]], np.float32)
    boxes, scores = dets_labels({"dets": dets, "labels": np.array([[0, 3]])}, (320, 320))
    assert boxes.tolist() == [[1, 2, 3, 4]]
    assert scores.tolist() == [np.float32(0.9)]


def test_picodet_gives_all_its_boxes():
    boxes, scores = boxes_scores({"b": np.ones((1, 7, 4), np.float32), "s": np.full((1, 1, 7), 0.5, np.float32)}, (320, 320))
    assert boxes.shape == (7, 4)
    assert scores.shape == (7,)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"a": np.zeros((1, 6, 55), np.float32)},
        {"a": np.zeros((2, 6, 56), np.float32)},
        {"a": np.zeros(3, np.float32)},
        {"a": np.zeros((1, 7, 4), np.float32), "b": np.zeros((1, 1, 8), np.float32)},
        {"a": np.zeros((1, 6, 56), np.float32), "b": np.zeros((1, 6, 56), np.float32)},
    ],
)
def test_outputs_of_another_shape_are_refused(name, outputs):
    with pytest.raises(ModelError, match=f"decoder '{name}'"):
        DECODERS[name](outputs, (256, 256))
