"""Times of one inference: the engine alone, and with all that a stage does around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.runtimes.base import Batch, Engine, Outputs

REPEATS = 5


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


@dataclass(frozen=True)
class Timed:
    """What is timed: calls that run the engine once each."""

    engine: TimedEngine
    calls: Sequence[Callable[[], Any]]


def measure_times(subjects: Mapping[str, Timed], *, repeats: int = REPEATS) -> dict[str, Times]:
    """Time all calls of all subjects `repeats` times, subject by subject in turn, so that load hits all of them alike.

    NaN for one without calls.
    """
    best = {name: np.full((len(subject.calls), 2), np.inf) for name, subject in subjects.items()}
    for _ in range(repeats):
        for name, subject in subjects.items():
            for row, call in zip(best[name], subject.calls, strict=True):
                began = time.perf_counter()
                call()
                whole_ms = (time.perf_counter() - began) * 1e3
                row[:] = np.minimum(row, (subject.engine.last_ms, whole_ms))
    return {name: _times(rows) for name, rows in best.items()}


def _times(rows: NDArray[np.float64]) -> Times:
    if not len(rows):
        return Times(float("nan"), float("nan"), 0)
    engine_ms, whole_ms = np.median(rows, axis=0)
    return Times(float(engine_ms), float(whole_ms), len(rows))
