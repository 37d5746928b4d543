"""Networks that give boxes in input pixels or parts of the input."""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs
from services.detector.decoders.outputs import Decoded, expect, fits, refused


def movenet_multipose(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """MoveNet MultiPose: (1, K, 56) = 17 x (y, x, score), then box ymin, xmin, ymax, xmax (all 0..1) and its score.

    The network's own box, not the extent of its keypoints: on coco-mini AP50 of large people is 0.88 against 0.75.
    """
    (raw,) = expect(outputs, "movenet_multipose", (1, None, 56))
    return _from_yxyx(raw[0, :, 51:55], size_px), raw[0, :, 55]


def dets_labels(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """MMDetection's export (RTMDet): `dets` (1, M, 5) = xyxy in input pixels and score, `labels` (1, M), 0 for a person."""
    dets, labels = expect(outputs, "dets_labels", (1, None, 5), (1, None))
    people = dets[0][labels[0] == 0]
    return people[:, :4], people[:, 4]


def boxes_scores(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """PaddleDetection's export (PicoDet): boxes (1, M, 4) xyxy in input pixels, scores (1, 1, M), nothing suppressed."""
    boxes, scores = expect(outputs, "boxes_scores", (1, None, 4), (1, 1, None))
    if boxes.shape[1] != scores.shape[2]:
        raise ModelError(f"decoder 'boxes_scores' got {boxes.shape[1]} boxes and {scores.shape[2]} scores")
    return boxes[0], scores[0, 0]


def ssd_postprocessed(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """TensorFlow's `TFLite_Detection_PostProcess` (Coral's SSD files): boxes (1, M, 4) = ymin, xmin, ymax, xmax, all 0..1,
    classes (1, M), 0 for a person, scores (1, M), and their count (1,).

    TensorFlow 1 exports them in this order, TensorFlow 2 as scores, boxes, count, classes (tensorflow/tensorflow#20962 and
    #44481): whether the boxes come first tells the two apart.
    """
    arrays = [np.asarray(array, np.float32) for array in outputs.values()]
    first = ((1, None, 4), (1, None), (1, None), (1,))
    second = ((1, None), (1, None, 4), (1,), (1, None))
    if len(arrays) == 4 and all(map(fits, arrays, first)):
        boxes, classes, scores, count = arrays
    elif len(arrays) == 4 and all(map(fits, arrays, second)):
        scores, boxes, count, classes = arrays
    else:
        raise refused(outputs, "ssd_postprocessed", "boxes (1, M, 4), classes (1, M), scores (1, M) and their count (1,)")
    if not boxes.shape[1] == classes.shape[1] == scores.shape[1]:
        raise refused(outputs, "ssd_postprocessed", "as many classes and scores as boxes")
    valid = np.arange(scores.shape[1]) < count[0]  # what comes after is not written by the operator
    people = valid & (np.round(classes[0]) == 0)
    return _from_yxyx(boxes[0, people], size_px), scores[0, people]


def _from_yxyx(boxes: Floats, size_px: tuple[int, int]) -> Floats:
    """(M, 4) ymin, xmin, ymax, xmax, 0..1 of the input -> xyxy in pixels."""
    return np.asarray(boxes[:, [1, 0, 3, 2]] * np.array([*size_px, *size_px], np.float32))
