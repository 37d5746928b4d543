"""Is a person upright, sitting or lying? Told from the true keypoints where the data do not say.

The rule looks at the picture plane only and says `other` (who bends, who is upside down) or `unknown` rather than guess. It is
not the rule of the alerts (services/analytics), so that one cannot flatter the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.skeleton import ANKLES, HIPS, KNEES, SHOULDERS
from models.evaluation.oks import Truths

POSTURES = ("upright", "sitting", "lying", "other", "unknown")
LYING_DEG = 60.0  # of the trunk from vertical: nearer to lying than to standing, and beyond the lean of who sits down (30-40)
UPRIGHT_DEG = 45.0  # half way between standing and lying; whose trunk lies between the two bends over
INVERTED_DEG = 120.0  # head below the hips as far as a lying trunk may be above them: handstands are not lying
# Thigh and trunk (hip to shoulder) of an adult are .245 and .288 of the height (Winter, "Biomechanics and motor control of
# human movement"), so the knee of who stands is .85 trunk lengths below the hip, and of who sits level with it, seen from
# any side. Half way between, rounded up: a knee within half a trunk length of the hip's height is a seat's.
SEATED_DROP = 0.5


def postures_of(keypoints: Truths) -> list[str]:
    """The posture of each person, one of POSTURES.

    keypoints: (N, 17, 3) COCO order, any pixels; the third is above 0 where labelled.
    lying: trunk at least LYING_DEG from vertical and no leg hanging below the hips (then the person bends over).
    sitting: trunk upright and every labelled knee within SEATED_DROP trunk lengths of the hip's height.
    upright: trunk upright and a knee further below the hip; who walks lifts one only.
    other: everything else; unknown: where shoulders, hips, or (with the trunk upright) knees are not labelled.
    """
    keypoints = np.asarray(keypoints, np.float64).reshape(-1, 17, 3)
    shoulder, hip = _middle(keypoints, SHOULDERS), _middle(keypoints, HIPS)
    trunk = shoulder - hip  # y points down
    length = np.maximum(np.hypot(trunk[:, 0], trunk[:, 1]), 1e-6)
    tilt = np.degrees(np.arctan2(np.abs(trunk[:, 0]), -trunk[:, 1]))  # 0 upright, 90 lying, 180 upside down
    knee_drop = _lowest(keypoints, KNEES, hip) / length
    leg_drop = np.fmax(knee_drop, _lowest(keypoints, ANKLES, hip) / length)  # NaN where neither is labelled
    known = ~np.isnan(tilt)
    with np.errstate(invalid="ignore"):  # comparing with NaN is meant: it is False
        lying = known & (tilt >= LYING_DEG) & (tilt <= INVERTED_DEG) & ~(leg_drop > SEATED_DROP)
        straight = known & (tilt <= UPRIGHT_DEG)
        upright = straight & (knee_drop > SEATED_DROP)
        sitting = straight & (knee_drop <= SEATED_DROP)
        unknown = ~known | (straight & np.isnan(knee_drop))
    chosen = np.select([lying, sitting, upright, unknown], [2, 1, 0, 4], default=3)
    return [POSTURES[i] for i in chosen.tolist()]


def _middle(keypoints: NDArray[np.float64], pair: tuple[int, int]) -> NDArray[np.float64]:
    """(N, 2) mean of the labelled ones of two keypoints, NaN where neither is."""
    both = keypoints[:, pair, :]
    labelled = both[:, :, 2:] > 0
    count = labelled.sum(axis=1)
    total = np.where(labelled, both[:, :, :2], 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _lowest(keypoints: NDArray[np.float64], pair: tuple[int, int], hip: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) pixels from the hip down to the lowest labelled one of two keypoints, NaN where neither is."""
    y = np.where(keypoints[:, pair, 2] > 0, keypoints[:, pair, 1], -np.inf).max(axis=1)
    return np.where(np.isfinite(y), y, np.nan) - hip[:, 1]
