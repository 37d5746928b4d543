"""How good a run is while it trains: average precision at IoU .5 on scenes, through the decoder that the service uses.

The numbers to publish come from `evaluate.py`; these compare steps of one run with each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from common import geometry
from common.geometry import Floats
from models.tinydet.network import OUTPUTS, TinyDet
from models.tinydet.scene import Scene, warp
from models.tinypose.batches import to_input
from services.detector.decode import DECODERS

DECODER = "rtmdet"
NMS_IOU = 0.5  # AP50 of both development sets is a little higher than with .6: .303 for .299, .534 for .533
SCORE_MIN = 0.01  # average precision counts all, but what nobody would ever use costs time
BEST = 100  # boxes of one picture that count, as COCO's
BATCH = 16
Found = tuple[Floats, Floats]


@torch.no_grad()  # type: ignore[untyped-decorator]
def detect(network: TinyDet, scenes: Sequence[Scene]) -> list[Found]:
    """Boxes (N, 4), xyxy in pixels of the scene, and scores (N,) of each scene, which is fitted as the service fits it."""
    size = network.config.width_px, network.config.height_px
    found: list[Found] = []
    for at in range(0, len(scenes), BATCH):
        part = scenes[at : at + BATCH]
        fitted = [geometry.letterbox(scene.image, size) for scene in part]
        outputs = [o.float().numpy() for o in network(to_input(np.stack([f.pixels for f in fitted])))]
        for i, (scene, fit) in enumerate(zip(part, fitted, strict=True)):
            named = {name: output[i : i + 1] for name, output in zip(OUTPUTS, outputs, strict=True)}
            boxes, scores = DECODERS[DECODER](named, size)
            likely = scores >= SCORE_MIN
            boxes, scores = fit.boxes_to_image(boxes[likely]), scores[likely]
            boxes = geometry.clip_boxes(boxes, scene.image.shape[1], scene.image.shape[0])
            kept = geometry.nms(boxes, scores, NMS_IOU)[:BEST]
            found.append((boxes[kept], scores[kept]))
    return found


def quarter_turned(scene: Scene) -> Scene:
    """The scene turned by 90 degrees: people who stand in it lie."""
    height, width = scene.image.shape[:2]
    return warp(scene, np.array([[0.0, -1.0, height], [1.0, 0.0, 0.0]]), (height, width), (0, 0, 0))


def average_precision(found: Sequence[Found], scenes: Sequence[Scene], iou_min: float = 0.5) -> float:
    """Area under precision over recall, precision made monotone; NaN where nobody is to be found.

    A box that finds nobody, half of it where somebody may be (`Scene.ignored`), does not count.
    """
    scores, hits = [], []
    for (boxes, score), scene in zip(found, scenes, strict=True):
        hit, counts = matched(boxes, score, scene, iou_min)
        scores.append(score[counts])
        hits.append(hit[counts])
    total = sum(len(scene.people) for scene in scenes)
    if not total:
        return float("nan")
    hit = np.concatenate(hits)[np.argsort(-np.concatenate(scores), kind="stable")]
    true = np.cumsum(hit)
    precision = np.maximum.accumulate((true / np.arange(1, len(hit) + 1))[::-1])[::-1]
    return float((precision * hit).sum() / total)


def matched(boxes: Floats, scores: Floats, scene: Scene, iou_min: float) -> tuple[Floats, Floats]:
    """(N,) bool whether a box finds somebody whom none with a better score found, and (N,) bool whether it counts."""
    overlaps = geometry.iou_matrix(boxes, scene.people)
    hit, counts = np.zeros(len(boxes), bool), np.ones(len(boxes), bool)
    for i in np.argsort(-scores, kind="stable"):
        if overlaps.shape[1] and overlaps[i].max() >= iou_min:
            overlaps[:, int(overlaps[i].argmax())] = 0
            hit[i] = True
        elif len(scene.ignored):
            low, high = np.maximum(scene.ignored[:, :2], boxes[i, :2]), np.minimum(scene.ignored[:, 2:], boxes[i, 2:])
            shared = (high - low).clip(min=0).prod(axis=1).max()
            counts[i] = shared < 0.5 * (boxes[i, 2:] - boxes[i, :2]).prod()
    return hit, counts
