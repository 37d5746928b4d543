"""Average precision as COCO defines it, for boxes and keypoints: in NumPy, and by the official code where it is installed.

Own code besides the official, as it runs wherever the networks do, takes any similarity, and can be resampled by picture;
`tests/models/evaluation` holds the two equal. Source: cocodataset.org/#detection-eval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from models.evaluation.oks import THRESHOLDS, Truths, Values, oks

Flags = NDArray[np.bool_]
RECALLS = np.linspace(0, 1, 101)
SMALL, LARGE = 32.0**2, 96.0**2  # square pixels; a person between is medium
SIZES: dict[str, tuple[float, float]] = {"small": (0.0, SMALL), "medium": (SMALL, LARGE), "large": (LARGE, 1e10)}
ALL_SIZES = (0.0, 1e10)
MAX_BOXES = 100  # predictions of a picture that count, best first
MAX_KEYPOINTS = 20


@dataclass(frozen=True)
class Found:
    """What a network found in one picture: boxes (N, 4) or keypoints (N, 17, 3), px, and scores (N,)."""

    values: Floats
    scores: Floats


@dataclass(frozen=True)
class Matched:
    """What became of the D predictions of one picture at T thresholds, best first. counted: truths that are to be found."""

    scores: Values  # (D,)
    hit: Flags  # (T, D)
    ignored: Flags  # (T, D)
    counted: int


def match(
    similarity: NDArray[np.floating], scores: NDArray[np.floating], ignored: Flags, crowd: Flags, *,
    outside: Flags | None = None, thresholds: Sequence[float] = THRESHOLDS, most: int = MAX_BOXES,
) -> Matched:  # fmt: skip
    """Give truths to predictions greedily, the most certain first, as COCO does.

    similarity: (D, G) of D predictions with G truths (IoU, OKS); ignored: (G,) truths that count neither way; crowd: (G,) of
    these, which may be found more than once; outside: (D,) predictions of other sizes: not false where they hit nothing.
    """
    order = np.argsort(-scores, kind="stable")[:most]
    limits = np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)
    ignored = ignored | crowd
    taken = np.zeros((len(limits), len(ignored)), np.bool_)
    hit, passed = np.zeros((2, len(limits), len(order)), np.bool_)
    rows = np.arange(len(limits))
    for place, i in enumerate(order.tolist() if len(ignored) else []):
        fits = (similarity[i] >= limits[:, None]) & (~taken | crowd)  # (T, G)
        wanted = fits & ~ignored
        fits = np.where(wanted.any(axis=1, keepdims=True), wanted, fits)
        best = len(ignored) - 1 - np.argmax(np.where(fits, similarity[i], -1.0)[:, ::-1], axis=1)  # the last of equals
        found = fits[rows, best]
        taken[rows[found], best[found]] = True
        hit[:, place], passed[:, place] = found, found & ignored[best]
    if outside is not None:
        passed |= ~hit & outside[order]
    return Matched(np.asarray(scores, np.float64)[order], hit, passed, int((~ignored).sum()))


def average_precision(pictures: Sequence[Matched], weights: NDArray[np.integer] | None = None) -> Values:
    """AP at each threshold: (T,) mean precision over 101 recalls, NaN where there is nobody to find.

    weights: (P,) how often each picture counts, for resampling; default once.
    """
    if not pictures:
        return np.full(len(THRESHOLDS), np.nan)
    weights = np.ones(len(pictures), np.int64) if weights is None else weights
    total = int(np.dot(weights, [picture.counted for picture in pictures]))
    if total == 0:
        return np.full(len(pictures[0].hit), np.nan)
    order = np.argsort(-np.concatenate([picture.scores for picture in pictures]), kind="stable")
    each = np.repeat(weights, [len(picture.scores) for picture in pictures])[order]
    hit = np.concatenate([picture.hit for picture in pictures], axis=1)[:, order]
    counts = ~np.concatenate([picture.ignored for picture in pictures], axis=1)[:, order]
    right = np.cumsum(each * (hit & counts), axis=1)  # (T, D)
    wrong = np.cumsum(each * (~hit & counts), axis=1)
    precision = right / np.maximum(right + wrong, 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.array([_at_recalls(r / total, p) for r, p in zip(right, precision, strict=True)])


def _at_recalls(recall: Values, precision: Values) -> float:
    index = np.searchsorted(recall, RECALLS)
    return float(np.where(index < len(recall), np.append(precision, 0.0)[np.minimum(index, len(recall))], 0.0).mean())


def box_similarity(boxes: NDArray[np.floating], truths: NDArray[np.floating], crowd: Flags) -> Values:
    """(D, G) IoU of boxes xyxy; with a crowd: the share of the box that lies in it."""
    boxes, truths = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(truths, np.float64).reshape(-1, 4)
    sides = np.minimum(boxes[:, None, 2:], truths[None, :, 2:]) - np.maximum(boxes[:, None, :2], truths[None, :, :2])
    shared = np.maximum(sides, 0).prod(axis=2)
    own, other = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None], (truths[:, 2:] - truths[:, :2]).prod(axis=1)[None]
    union = np.where(crowd[None], own, own + other - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def keypoint_similarity(predicted: Truths, truths: Truths, areas: Truths, boxes: NDArray[np.floating]) -> Values:
    """(D, G) OKS of each prediction with each truth.

    boxes: (G, 4) xyxy. With a truth that has nothing labelled, distances count from its box, grown by itself on each side: so
    COCO tells who is found but not labelled.
    """
    people, others = len(predicted), len(truths)
    own = np.repeat(predicted[:, :, :2], others, axis=0)  # (D * G, 17, 2)
    side = boxes[:, 2:] - boxes[:, :2]
    low, high = (np.tile(x, (people, 1))[:, None] for x in (boxes[:, :2] - side, boxes[:, 2:] + side))
    nearest = np.concatenate([np.clip(own, low, high), np.ones_like(own[:, :, :1])], axis=2)
    labelled = np.tile((truths[:, :, 2] > 0).any(axis=1), people)
    pairs = oks(own, np.where(labelled[:, None, None], np.tile(truths, (people, 1, 1)), nearest), np.tile(areas, people))
    return pairs.reshape(people, others)


def match_boxes(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], truths: NDArray[np.floating], areas: NDArray[np.floating],
    crowd: Flags, size: tuple[float, float] = ALL_SIZES,
) -> Matched:  # fmt: skip
    """One picture's boxes (D, 4) with its true ones (G, 4), of people of a size: limits of the area in square pixels."""
    own = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return match(box_similarity(boxes, truths, crowd), scores, _outside(areas, size), crowd, outside=_outside(own, size))


def match_keypoints(
    predicted: Truths, scores: NDArray[np.floating], truths: Truths, areas: NDArray[np.floating],
    boxes: NDArray[np.floating], crowd: Flags, size: tuple[float, float] = ALL_SIZES,
) -> Matched:  # fmt: skip
    """One picture's skeletons (D, 17, 3) with its true ones (G, 17, 3) and their boxes (G, 4).

    Who has nothing labelled counts neither way.
    """
    own = np.ptp(predicted[:, :, :2], axis=1).prod(axis=1)  # the official code knows no other area of a skeleton
    ignored = _outside(areas, size) | ~(truths[:, :, 2] > 0).any(axis=1)
    return match(
        keypoint_similarity(predicted, truths, areas, boxes), scores, ignored, crowd, outside=_outside(own, size),
        most=MAX_KEYPOINTS,
    )  # fmt: skip


def _outside(areas: NDArray[np.floating], size: tuple[float, float]) -> Flags:
    return np.asarray((areas < size[0]) | (areas > size[1]))
