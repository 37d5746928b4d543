"""One clock for all nodes.

Timestamps that cross a process (`captured_at_ns`) are in the store's clock: each service measures its offset to Redis
`TIME`, so ages are right across nodes without NTP. The offset is taken against the monotonic clock, so a jump of the
local wall clock changes nothing.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol

JUMP_NS = 50_000_000  # drift between two syncs is far below, a step that matters to max_age far above


class Clock(Protocol):
    """What services ask the time from. All methods are thread-safe."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, in the store's clock."""
        ...

    def monotonic_s(self) -> float:
        """Seconds, never going back; for durations only."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a fake clock advances itself instead."""
        ...


class TimeSource(Protocol):
    """A store that tells its time (`common.frames.connect_store` returns one)."""

    def time(self) -> tuple[int, int]:
        """Seconds and microseconds since the Unix epoch."""
        ...


class SystemClock:
    """This machine's own clock; for single-node tools and tests that need real time."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class StoreClock:
    """The store's clock, read through an offset to this process's monotonic clock.

    `sync()` asks the store `probes` times and keeps the answer with the shortest round trip; half of that round trip is
    the error bound (Cristian's algorithm). Raises whatever the store raises when it cannot be reached.
    """

    def __init__(self, store: TimeSource, *, probes: int = 5) -> None:
        self._store = store
        self._probes = probes
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._lock = threading.Lock()
        self.error_bound_ns: int | None = None  # None until the first sync
        self.last_step_ns = 0  # by how much the last sync moved the clock

    def sync(self) -> int:
        """Measure the offset again; returns the error bound in nanoseconds."""
        best_rtt, best_offset = min(self._probe() for _ in range(self._probes))
        with self._lock:
            self.last_step_ns = 0 if self.error_bound_ns is None else best_offset - self._offset_ns
            self._offset_ns = best_offset
            self.error_bound_ns = best_rtt // 2 + 1_000  # TIME has microsecond resolution
            return self.error_bound_ns

    def has_jumped(self) -> bool:
        """One cheap probe: is the store's clock no longer where it was, by more than JUMP_NS and the probe's own error?"""
        rtt, offset = self._probe()
        with self._lock:
            return abs(offset - self._offset_ns) > JUMP_NS + rtt

    def _probe(self) -> tuple[int, int]:
        """Round trip and offset of one question, in nanoseconds."""
        before = time.monotonic_ns()
        seconds, micros = self._store.time()
        after = time.monotonic_ns()
        return after - before, seconds * 1_000_000_000 + micros * 1_000 - (before + after) // 2

    def now_ns(self) -> int:
        with self._lock:
            return time.monotonic_ns() + self._offset_ns

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that moves only when told; `sleep` advances it. Ships in the package: tests inject it."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = start_ns
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_s(self) -> float:
        return self._monotonic_ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        step_ns = math.ceil(seconds * 1e9)  # up: a loop that sleeps until a moment must get there
        self._now_ns += step_ns
        self._monotonic_ns += step_ns

    def jump(self, seconds: float) -> None:
        """Move the wall clock only, as an NTP step does."""
        self._now_ns += round(seconds * 1e9)
