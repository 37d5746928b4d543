"""Object keypoint similarity of many people at once, and AP~, the share of people above its thresholds. Pure NumPy.

Source: the keypoint evaluation of COCO, cocodataset.org/#keypoints-eval; `models.evaluation.coco_ap` runs the official code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.skeleton import NUM_KEYPOINTS, SIGMAS

Values = NDArray[np.float64]
Truths = NDArray[np.floating]

THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # .50:.05:.95


def oks(predicted: Truths, truth: Truths, area_px: Truths) -> Values:
    """OKS of each person: mean over labelled keypoints of exp(-d^2 / (2 area (2 sigma)^2)).

    predicted: (N, 17, 3) or (N, 17, 2): x, y, the rest is not read; truth: (N, 17, 3): x, y in the same frame, and above 0
    where labelled; area_px: (N,) area of the annotation (COCO: of the silhouette, not of the box), square pixels of that
    frame, at least 1 is taken. Returns (N,) 0..1, and NaN for who has no labelled keypoint: nothing can be said of them.
    Raises ValueError for other shapes and for predictions, labelled truths or areas that are not finite.
    """
    predicted, truth, area_px = np.asarray(predicted), np.asarray(truth), np.asarray(area_px, np.float64)
    people, each = len(truth), (len(truth), NUM_KEYPOINTS)
    if predicted.shape[:2] != each or truth.shape != (*each, 3) or area_px.shape != (people,):
        raise ValueError(
            f"OKS takes predictions (N, {NUM_KEYPOINTS}, 2 or 3), truths (N, {NUM_KEYPOINTS}, 3) and areas (N,), "
            f"not {predicted.shape}, {truth.shape} and {area_px.shape}"
        )
    labelled = truth[:, :, 2] > 0
    for what, wrong in (
        ("predicted keypoints", ~np.isfinite(predicted[:, :, :2]).all(axis=(1, 2))),
        ("labelled keypoints", (~np.isfinite(truth[:, :, :2]).all(axis=2) & labelled).any(axis=1)),
        ("area", ~np.isfinite(area_px)),
    ):
        if wrong.any():
            raise ValueError(f"{what} of person {int(wrong.argmax())} of {people}: not finite; leave such people out")
    difference = np.where(labelled[:, :, None], predicted[:, :, :2].astype(np.float64) - truth[:, :, :2], 0.0)  # (N, 17, 2)
    variance = 2.0 * np.maximum(area_px, 1.0)[:, None] * (2.0 * SIGMAS.astype(np.float64)) ** 2  # (N, 17)
    similar = np.where(labelled, np.exp(-np.sum(difference**2, axis=2) / variance), 0.0)
    count = labelled.sum(axis=1)
    return np.where(count > 0, similar.sum(axis=1) / np.maximum(count, 1), np.nan)


def ap_tilde(values: NDArray[np.floating]) -> float:
    """AP~: the share of people whose OKS is at least t, mean over t = .50, .55, ... .95.

    values: (N,) OKS; NaN (nothing labelled) does not count. NaN where nobody counts. Not official AP: no scores, no ranking,
    no precision; each person's true box is given.
    """
    counting = values[~np.isnan(values)]
    if not len(counting):
        return float("nan")
    return float(np.mean(counting[:, None] >= np.array(THRESHOLDS)))


def mean_oks(values: NDArray[np.floating]) -> float:
    """Mean over people, without the NaN of those with nothing labelled; NaN where nobody counts."""
    counting = values[~np.isnan(values)]
    return float(counting.mean()) if len(counting) else float("nan")
