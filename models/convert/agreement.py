"""How far two networks agree on the same pictures: pure functions of what both gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats, area, iou_matrix
from common.skeleton import NUM_KEYPOINTS, oks
from models.convert.output_error import OutputError

DECIDED_SCORE = 0.25  # below it the rules take a keypoint for a guess (services/analytics/posture.py, VISIBLE)
# The peak must rise above every value that is not part of it by so much of its height over the map's median. Two networks that
# differ by rounding choose differently between near-equal peaks, and neither is wrong.
DECIDED_PROMINENCE = 0.2
# Cells about the peak that are part of it: heatmaps are trained as Gaussians with sigma 1/32 of the shorter side (2 of 64
# cells), of which nothing is left beyond 3 sigma.
PEAK_RADIUS_SHARE = 3 / 32
BODY_SHARE_OF_BOX = 0.53  # of a COCO person's box is person: OKS is defined on that area, boxes are all there is here


def decided(maps: Floats, score_min: float = DECIDED_SCORE) -> NDArray[np.bool_]:
    """(N, K, h, w) -> (N, K): whether the map's peak is high, and alone."""
    count, kinds, rows, columns = maps.shape
    flat = maps.reshape(-1, rows, columns)
    cells = flat.reshape(len(flat), -1)
    best = cells.argmax(axis=1)
    peak = cells[np.arange(len(cells)), best]
    radius = max(1, round(PEAK_RADIUS_SHARE * min(rows, columns)))
    y, x = np.divmod(best, columns)
    row, column = np.arange(rows)[None, :, None], np.arange(columns)[None, None]
    near = (np.abs(row - y[:, None, None]) <= radius) & (np.abs(column - x[:, None, None]) <= radius)
    runner_up = np.where(near, -np.inf, flat).reshape(len(flat), -1).max(axis=1)
    height = peak - np.median(cells, axis=1)
    alone = (peak - runner_up) >= DECIDED_PROMINENCE * np.maximum(height, 1e-12)
    return np.asarray((alone & (peak >= score_min)).reshape(count, kinds))


@dataclass(frozen=True)
class PoseAgreement:
    """Two pose networks on the same people. Shifts and OKS are of the keypoints that the reference decided on.

    Shifts are in pixels of the reference's input. score_drift: mean of candidate's minus reference's scores.
    They are None where the reference decided on nothing.
    """

    people: int
    keypoints: int
    decided: int
    error: OutputError | None
    shift_median_px: float | None = None
    shift_p95_px: float | None = None
    shift_max_px: float | None = None
    oks: float | None = None
    oks_min: float | None = None
    score_drift: float | None = None


def pose_agreement(
    reference: Floats, candidate: Floats, counts: NDArray[np.bool_], boxes: Floats, scale: Floats, error: OutputError | None
) -> PoseAgreement:
    """reference, candidate: (N, 17, 3) in picture pixels; counts: (N, 17) which are decided; boxes (N, 4) of the people;
    scale (N,): picture pixels per pixel of the reference's input."""
    total = reference.shape[0] * NUM_KEYPOINTS
    if not counts.any():
        return PoseAgreement(len(reference), total, 0, error)
    shift = np.linalg.norm(reference[:, :, :2] - candidate[:, :, :2], axis=2) / scale[:, None]
    areas = area(boxes) * BODY_SHARE_OF_BOX
    values = [
        oks(candidate[i, :, :2], reference[i, :, :2], counts[i], float(areas[i])) for i in np.flatnonzero(counts.any(axis=1))
    ]
    drift = (candidate[:, :, 2] - reference[:, :, 2])[counts]
    kept = shift[counts]
    return PoseAgreement(
        len(reference), total, int(counts.sum()), error,
        float(np.median(kept)), float(np.percentile(kept, 95)), float(kept.max()),
        float(np.mean(values)), float(np.min(values)), float(drift.mean()),
    )  # fmt: skip


@dataclass(frozen=True)
class DetectAgreement:
    """Two detectors on the same pictures; the reference's boxes count as the truth.

    boxes: firm ones of the reference. recall: share of them that the candidate has as well. invented: firm boxes of the
    candidate where the reference has none, even weak, per box of the reference. ap50: of all the candidate's boxes against the
    firm ones. iou: mean of matched pairs. score_drift: mean of candidate's minus reference's scores of matched pairs.
    """

    pictures: int
    boxes: int
    recall: float | None
    invented: float | None
    ap50: float | None
    iou: float | None
    score_drift: float | None
    error: OutputError | None = None


Found = tuple[Floats, Floats]  # boxes (N, 4) and scores (N,) of one picture
MATCH_IOU = 0.5


def detect_agreement(
    reference: Sequence[Found], candidate: Sequence[Found], *, firm: float, weak: float, error: OutputError | None = None
) -> DetectAgreement:
    """firm: score from which a box must be found again; weak: from which a box that is found again counts."""
    hits: list[tuple[float, bool]] = []  # of the candidate, for the average precision
    pairs: list[tuple[float, float, float]] = []  # IoU, score of the reference, of the candidate
    total = found_again = invented = 0
    for (boxes, scores), (other, other_scores) in zip(reference, candidate, strict=True):
        iou = iou_matrix(other, boxes)
        solid = scores >= firm
        total += int(solid.sum())
        taken = np.zeros(len(boxes), np.bool_)
        for i in np.argsort(-other_scores, kind="stable"):
            free = np.where(taken, 0, iou[i])
            best = int(free.argmax()) if len(free) else 0
            matched = len(free) > 0 and free[best] >= MATCH_IOU
            if matched:
                taken[best] = True
                if solid[best]:
                    pairs.append((float(free[best]), float(scores[best]), float(other_scores[i])))
                    found_again += bool(other_scores[i] >= weak)
                    hits.append((float(other_scores[i]), True))
            else:
                hits.append((float(other_scores[i]), False))
                invented += bool(other_scores[i] >= firm)
    if total == 0:
        return DetectAgreement(len(reference), 0, None, None, None, None, None, error)
    matched_pairs = np.array(pairs, np.float64).reshape(-1, 3)
    return DetectAgreement(
        len(reference), total, found_again / total, invented / total, _average_precision(hits, total),
        float(matched_pairs[:, 0].mean()) if len(pairs) else None,
        float((matched_pairs[:, 2] - matched_pairs[:, 1]).mean()) if len(pairs) else None,
        error,
    )  # fmt: skip


def _average_precision(hits: list[tuple[float, bool]], total: int) -> float:
    """Area under the interpolated precision over recall."""
    if not hits:
        return 0.0
    right = np.array([hit for _, hit in sorted(hits, key=lambda hit: -hit[0])])
    recall = np.cumsum(right) / total
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))
