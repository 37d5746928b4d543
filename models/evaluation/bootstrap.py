"""Bootstrap intervals: the sets are small, and a figure without its interval invites to read noise.

Source: B. Efron, "Bootstrap methods: another look at the jackknife", 1979; the percentile interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
DRAWS = 1000  # the ends of the interval are then repeatable to about .002 of AP~ for 68 people


def bootstrap(
    values: NDArray[Any], fn: Callable[[NDArray[Any]], float], seed: int = 0, *, draws: int = DRAWS, level: float = 0.95
) -> Interval:
    """(low, high) of fn(values) when rows of values are drawn with replacement.

    values: (N, ...), one row for each unit that is independent of the others: a person, a picture, a clip. seed: the same
    seed draws the same rows, so models that are measured on the same people are compared on the same draws.
    (NaN, NaN) where there are no rows. Raises ValueError for a level outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not {level}")
    values = np.asarray(values)
    if not len(values):
        return float("nan"), float("nan")
    rows = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    found = [fn(values[row]) for row in rows]
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(found, [tail, 100 - tail]) if not np.isnan(found).all() else (np.nan, np.nan)
    return float(low), float(high)
