"""Times of one inference: the engine alone, and with all that a stage does around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.runtimes.base import Batch, Engine, Outputs

REPEATS = 3


class TimedEngine:
    """An engine that remembers how long its last run took."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.device = engine.name, engine.device
        self.last_ms = 0.0
        self._engine = engine

    def run(self, batch: Batch) -> Outputs:
        began = time.perf_counter()
        outputs = self._engine.run(batch)
        self.last_ms = (time.perf_counter() - began) * 1e3
        return outputs

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True)
class Times:
    """Medians in milliseconds over n inputs, each the best of a few runs: other load on the machine only ever adds."""

    engine_ms: float
    whole_ms: float
    n: int


def measure_times(engine: TimedEngine, calls: Iterable[Callable[[], Any]], *, repeats: int = REPEATS) -> Times:
    """Time each call, which runs the engine once, `repeats` times. NaN where there are no calls."""
    best = []
    for call in calls:
        runs = []
        for _ in range(repeats):
            began = time.perf_counter()
            call()
            runs.append((engine.last_ms, (time.perf_counter() - began) * 1e3))
        best.append(np.min(runs, axis=0))
    if not best:
        return Times(float("nan"), float("nan"), 0)
    engine_ms, whole_ms = np.median(best, axis=0)
    return Times(float(engine_ms), float(whole_ms), len(best))
