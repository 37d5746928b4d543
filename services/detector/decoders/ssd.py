"""SSD: boxes as differences from anchors (Liu et al., ECCV 2016), as TensorFlow's object detection API exports them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from common.geometry import Floats
from common.runtimes.base import Outputs
from services.detector.decoders.outputs import Decoded, refused

PERSON_COLUMN = 1  # after the background
CODER_SCALES = (10.0, 10.0, 5.0, 5.0)  # y, x, height, width: `faster_rcnn_box_coder` of the COCO configurations
STRIDES = (16, 32, 64, 128, 256, 512)  # six feature maps of SSD-MobileNet v1, v2 and SSDLite-MobileDet
SCALE_MIN, SCALE_MAX = 0.2, 0.95
ASPECTS = (1.0, 2.0, 0.5, 3.0, 0.3333)


def ssd(outputs: Outputs, size_px: tuple[int, int]) -> Decoded:
    """An SSD exported without its post-processing: box encodings (1, M, 4) = y, x, height, width, and class scores
    (1, M, 1 + classes), 0..1 already, background first, then people (`export_tflite_ssd_graph.py` with
    `--add_postprocessing_op=False`).

    Anchors are those of the COCO configurations: 1917 for 300x300 pixels, 2034 for 320x320. Networks with others: `ssd_boxes`.
    """
    anchors = ssd_anchors(size_px)
    arrays = [np.asarray(array, np.float32) for array in outputs.values()]
    if len(arrays) == 2 and all(a.ndim == 3 and a.shape[:2] == (1, len(anchors)) for a in arrays):
        encodings, scores = sorted(arrays, key=lambda a: a.shape[2] != 4)
        if encodings.shape[2] == 4 and scores.shape[2] > PERSON_COLUMN:
            return ssd_boxes(encodings[0], anchors, size_px), scores[0, :, PERSON_COLUMN]
    count, (width, height) = len(anchors), size_px
    raise refused(outputs, "ssd", f"encodings (1, {count}, 4) and scores (1, {count}, 1 + classes) for {width}x{height} pixels")


def ssd_boxes(encodings: Floats, anchors: Floats, size_px: tuple[int, int]) -> Floats:
    """Encodings (M, 4) = y, x, height, width and anchors (M, 4) = centre y, x, height, width, 0..1 -> (M, 4) xyxy in pixels."""
    scaled = encodings / np.array(CODER_SCALES, np.float32)
    centres = scaled[:, :2] * anchors[:, 2:] + anchors[:, :2]
    with np.errstate(over="ignore"):  # becomes infinite, which the detector refuses
        half = np.exp(scaled[:, 2:]) * anchors[:, 2:] * np.float32(0.5)
    yxyx = np.concatenate([centres - half, centres + half], axis=1)
    return np.asarray(yxyx[:, [1, 0, 3, 2]] * np.array([*size_px, *size_px], np.float32))


@lru_cache(maxsize=8)
def ssd_anchors(size_px: tuple[int, int]) -> Floats:
    """Anchors (M, 4) = centre y, x, height, width, 0..1 of the input, map by map, row by row. Not to be written to.

    tensorflow/models, object_detection/anchor_generators/multiple_grid_anchor_generator.py: scales from 0.2 to 0.95; on the
    first map three anchors a cell, on the others five aspects and one between this scale and the next.
    """
    width, height = size_px
    scales = [*np.linspace(SCALE_MIN, SCALE_MAX, len(STRIDES)), 1.0]
    square = min(size_px)
    maps = []
    for i, stride in enumerate(STRIDES):
        kinds = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        if i > 0:
            kinds = [(scales[i], aspect) for aspect in ASPECTS] + [(np.sqrt(scales[i] * scales[i + 1]), 1.0)]
        scale, aspect = np.array(kinds).T
        root = np.sqrt(aspect)
        rows, columns = -(-height // stride), -(-width // stride)
        anchors = np.empty((rows, columns, len(kinds), 4), np.float32)
        anchors[..., 0] = ((np.arange(rows) + 0.5) / rows)[:, None, None]
        anchors[..., 1] = ((np.arange(columns) + 0.5) / columns)[None, :, None]
        anchors[..., 2] = scale / root * square / height
        anchors[..., 3] = scale * root * square / width
        maps.append(anchors.reshape(-1, 4))
    found = np.concatenate(maps)
    found.setflags(write=False)
    return found
