"""Decoder of OpenPifPaf's composite fields: all skeletons of a picture at once.

Written from the papers (Kreiss, Bertoni, Alahi: PifPaf, CVPR 2019; OpenPifPaf, IEEE T-ITS 2021, arXiv 2103.02440): a fine
map of each keypoint from the intensity field; seeds, where it is high; association cells scored with it; people grown from
seeds along the best association first, each step confirmed by the way back; keypoints that a better person has are
suppressed; a person's score is the mean of its keypoints, the three best counting three times.
"""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.runtimes.base import Outputs
from common.skeleton import SIGMAS
from services.pose.cifcaf_fields import KEYPOINT_FIELDS, FineMap, read_fields
from services.pose.cifcaf_grow import find_people

SCORE_WEIGHTS = np.array([3.0] * 3 + [1.0] * (KEYPOINT_FIELDS - 3), np.float32)
PERSON_MIN = 0.05  # below, it is a keypoint or two without a person
# The head's top is 0.064 body heights above the eyes and the soles 0.039 below the ankles (Drillis and Contini, 1966); the size
# of a person in the fields, the square root of the area of the keypoints, is about 0.55 heights.
MARGIN = 0.1


def cifcaf(outputs: Outputs, size_px: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
    """Boxes (N, 4) xyxy around the keypoints, scores (N,), best first, and keypoints (N, 17, 3): x, y, score.

    outputs: CIF (1, 17, 5, h, w) and CAF (1, 19, 8 or 9, h, w), see `read_fields`; size_px: (width, height) of the input,
    whose pixels all coordinates are in. A keypoint that was not found lies at its box's centre with score 0. Raises
    ModelError for other outputs.
    """
    points, pairs, stride = read_fields(outputs, size_px)
    people = suppress(find_people(points, pairs, FineMap(points, size_px), stride), stride)
    scores = person_scores(people)
    people, scores = people[scores >= PERSON_MIN], scores[scores >= PERSON_MIN]
    order = np.argsort(-scores, kind="stable")
    people, scores = people[order], scores[order]
    boxes = boxes_around(people)
    keypoints = people[:, :, [0, 1, 3]]
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    keypoints[:, :, :2] = np.where(keypoints[:, :, 2:] > 0, keypoints[:, :, :2], centres)
    return boxes, scores, keypoints


def person_scores(people: Floats) -> Floats:
    """(N,) of people (N, 17, 4): the weighted mean of all 17 keypoints' scores, those not found included."""
    ranked = -np.sort(-people[:, :, 3], axis=1)
    return np.asarray(ranked @ SCORE_WEIGHTS / SCORE_WEIGHTS.sum(), np.float32)


def suppress(people: Floats, stride: float) -> Floats:
    """People (N, 17, 4) without the keypoints that a person with a better score has at the same place; (N, 17, 4).

    The same place: within the keypoint's size of it, at least a cell.
    """
    people = people[np.argsort(-person_scores(people), kind="stable")]
    for i in range(1, len(people)):  # greedy: what was suppressed does not suppress
        better = people[:i]
        radius = np.maximum(better[:, :, 2], stride)
        square = ((better[:, :, :2] - people[i, :, :2]) ** 2).sum(axis=2)  # (i, 17)
        taken = ((square < radius * radius) & (better[:, :, 3] > 0)).any(axis=0)
        people[i, taken, 3] = 0
    return people


def boxes_around(people: Floats) -> Floats:
    """(N, 4) boxes around the keypoints found of people (N, 17, 4), with a margin for what lies beyond: skull and feet."""
    found = people[:, :, 3:] > 0
    low = np.where(found, people[:, :, :2], np.inf).min(axis=1)
    high = np.where(found, people[:, :, :2], -np.inf).max(axis=1)
    share = np.where(found[:, :, 0], people[:, :, 2] / SIGMAS, 0)  # keypoint's size / sigma = the person's
    size = share.sum(axis=1) / np.maximum(found[:, :, 0].sum(axis=1), 1)
    margin = (MARGIN * size)[:, None]
    return np.concatenate([low - margin, high + margin], axis=1).astype(np.float32)
