from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from models.evaluation import timing
from models.evaluation.timing import Timed, TimedEngine, measure_times


class SlowEngine:
    """An engine whose runs take so long, on a clock that only it moves."""

    name, device = "slow", "none"

    def __init__(self, took_s: list[float]) -> None:
        self.now = 0.0
        self._took_s = iter(took_s)

    def run(self, batch):
        self.now += next(self._took_s)
        return {}

    def close(self) -> None:
        self.now = -1


@pytest.fixture
def measured(monkeypatch):
    """measured(seconds of each run, seconds around it) -> the times of calls of two runs each."""

    def measure(took_s: list[float], around_s: float):
        engine = SlowEngine(took_s)
        monkeypatch.setattr(timing.time, "perf_counter", lambda: engine.now)
        timed = TimedEngine(engine)

        def call() -> None:
            engine.now += around_s
            timed.run(np.zeros((1, 4, 4, 3), np.uint8))

        return measure_times({"one": Timed(timed, [call] * (len(took_s) // 2))}, repeats=2)["one"]

    return measure


def test_the_best_run_of_each_and_the_median_of_all_count(measured):
    times = measured([0.010, 0.020, 0.500, 0.900, 0.019, 0.030], 0.002)
    assert times.n == 3
    assert times.engine_ms == pytest.approx(19)
    assert times.whole_ms == pytest.approx(21)


def test_nothing_to_time_is_not_zero(measured):
    times = measured([], 0)
    assert times.n == 0
    assert np.isnan(times.engine_ms)


def test_subjects_take_turns():
    order = []

    class Engine(SlowEngine):
        def run(self, batch):
            order.append(batch)
            return {}

    engine = TimedEngine(Engine([]))
    subjects = {name: Timed(engine, [partial(engine.run, name)] * 2) for name in "ab"}
    assert list(measure_times(subjects, repeats=2)) == ["a", "b"]
    assert "".join(order) == "aabbaabb"


def test_closing_closes_the_engine():
    engine = SlowEngine([])
    TimedEngine(engine).close()
    assert engine.now == -1
