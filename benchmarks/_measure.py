"""Percentiles, slopes, and the memory and processor time of processes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import psutil

MIB = 2**20


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a `share` (0..1) of all values does not exceed (nearest rank); NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def median(values: Sequence[float]) -> float:
    """The middle value; NaN of none."""
    return percentile(values, 0.5)


def slope(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Change of values a second, by the Theil-Sen estimator: the median over all pairs, which single steps do not move."""
    t, v = np.asarray(times_s, np.float64), np.asarray(values, np.float64)
    i, j = np.triu_indices(len(t), k=1)
    return float(np.median((v[j] - v[i]) / (t[j] - t[i]))) if len(i) else math.nan


def cpu_seconds(pid: int) -> float:
    """Processor time that a process, without its children, has used so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class MemorySampler:
    """Samples resident memory of processes, and any other gauges, once in `every_s`, on a thread of its own.

    pids: process ids by name. gauges: functions by name that return a number, such as a store's used_memory.
    """

    def __init__(
        self, pids: Mapping[str, int], gauges: Mapping[str, Callable[[], float]] | None = None, *, every_s: float = 0.5
    ) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._gauges = dict(gauges or {})
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="memory-sampler", daemon=True)
        self.times_s: list[float] = []
        self.series: dict[str, list[float]] = {name: [] for name in (*self._processes, *self._gauges)}

    def __enter__(self) -> MemorySampler:
        self._began_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._over.wait(self._every_s):
            row = {name: float(process.memory_info().rss) for name, process in self._processes.items()}
            row |= {name: gauge() for name, gauge in self._gauges.items()}
            self.times_s.append(time.monotonic() - self._began_s)
            for name, value in row.items():
                self.series[name].append(value)

    def after(self, seconds: float) -> tuple[list[float], dict[str, list[float]]]:
        """Times and series from `seconds` after the start on."""
        first = sum(at < seconds for at in self.times_s)
        return self.times_s[first:], {name: values[first:] for name, values in self.series.items()}
