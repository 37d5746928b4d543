"""One run of the scheduling benchmark: start cameras and workers, watch the bus, say what became of the frames."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks._measure import percentile
from benchmarks._scheduling_workers import STAGE, Ends, Load, Worker, send, work
from benchmarks._stack import Stack
from common.bus import Bus
from common.clock import StoreClock
from common.frames import connect_store
from common.messages import FrameNotice, PeopleFound, ServiceStatus

PROCESSES = multiprocessing.get_context("forkserver")  # starts a process in milliseconds, and copies none of our threads
PROCESSES.set_forkserver_preload(["benchmarks._scheduling_workers", "rich.table", "psutil", "numpy"])
DRAIN_S = 1.0  # after the last frame; what is not done then would be older than max_age
_sites = itertools.count(1)


@dataclass(frozen=True)
class Incident:
    """Something that happens to a worker at_s seconds after the first frame: `kill` (SIGKILL) or `join`."""

    worker: Worker
    what: str
    at_s: float


@dataclass
class Outcome:
    """What the bus carried. done: (worker, frame as sent, instant of arrival in ns), in order of arrival."""

    sent: int = 0
    done: list[tuple[str, PeopleFound, int]] = field(default_factory=list)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ages_ms(self) -> list[float]:
        """Age of each result when a subscriber has it: worker, claim, engine and two ways through the broker included."""
        return [(at_ns - found.captured_at_ns) / 1e6 for _, found, at_ns in self.done]

    def summary(self) -> dict[str, Any]:
        """The numbers of one run."""
        ages = self.ages_ms
        frames = {(found.camera, found.seq) for _, found, _ in self.done}
        by_worker = Counter(worker for worker, _, _ in self.done)
        overhead = [
            (at_ns - found.captured_at_ns) / 1e6 - found.stages[-1].wait_ms - found.stages[-1].infer_ms
            for _, found, at_ns in self.done
        ]
        return {
            "sent": self.sent,
            "done": len(frames),
            "doubled": len(self.done) - len(frames),
            "by_worker": dict(sorted(by_worker.items())),
            "age_p50_ms": round(percentile(ages, 0.5), 1),
            "age_p99_ms": round(percentile(ages, 0.99), 1),
            "age_max_ms": round(max(ages, default=math.nan), 1),
            "fetch_p50_ms": round(percentile([found.stages[-1].fetch_ms for _, found, _ in self.done], 0.5), 2),
            "beside_engine_p50_ms": round(percentile(overhead, 0.5), 2),
            "longest_silence_ms": round(self._silence_ms(), 1),
            "engine_mean_ms": {name: round(self._engine_ms(name), 2) for name in sorted(by_worker)},
            "counters": self.counters,
        }

    def _engine_ms(self, worker: str) -> float:
        times = [found.stages[-1].infer_ms for name, found, _ in self.done if name == worker]
        return sum(times) / len(times)

    def _silence_ms(self) -> float:
        """The longest time without any result, from the first to the last."""
        times = [at_ns for _, _, at_ns in self.done]
        return max((b - a for a, b in itertools.pairwise(times)), default=0) / 1e6


class Watcher:
    """Listens on the bus of one run."""

    def __init__(self, ends: Ends) -> None:
        self._store = connect_store(ends.frames_url)
        self.clock = StoreClock(self._store)
        self.clock.sync()
        self.outcome = Outcome()
        self.counting = True
        self._ready: set[str] = set()
        self._changed = threading.Condition()
        self._bus = Bus(ends.bus_url, site=ends.site, client_id="watcher", protocol=ends.protocol)
        self._bus.start()
        if not self._bus.wait_connected(10):
            raise RuntimeError(f"no broker: {self._bus.last_error}")
        self._bus.subscribe(self._on_frame, "frames", "+")
        self._bus.subscribe(self._on_people, "people", "+")
        self._bus.subscribe(self._on_status, "status", STAGE, "+")

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on what was heard is true."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def ready(self, names: set[str]) -> Callable[[], bool]:
        """Condition: all of these workers said that they are ready."""
        return lambda: names <= self._ready

    def close(self) -> None:
        self._bus.stop()
        self._store.close()

    def _on_frame(self, _notice: FrameNotice, _levels: tuple[str, ...]) -> None:
        self.outcome.sent += 1

    def _on_people(self, found: PeopleFound, _levels: tuple[str, ...]) -> None:
        if self.counting:
            self.outcome.done.append((found.stages[-1].instance, found, self.clock.now_ns()))

    def _on_status(self, status: ServiceStatus | None, levels: tuple[str, ...]) -> None:
        with self._changed:
            if status is not None and status.state == "ready":
                self._ready.add(levels[-1])
            elif status is not None:
                self.outcome.counters[levels[-1]] = status.counters
            self._changed.notify_all()


def run_case(stack: Stack, load: Load, workers: tuple[Worker, ...], incident: Incident | None = None) -> Outcome:
    """Run one load with these workers; with an incident, its worker is killed or joins on the way."""
    ends = Ends(stack.bus_url, stack.protocol, stack.frames_url, f"bench{next(_sites)}")
    watcher = Watcher(ends)
    joins = incident is not None and incident.what == "join"
    everyone = [*workers, *([incident.worker] if incident else [])]
    processes = {w.name: PROCESSES.Process(target=work, args=(ends, w), name=w.name, daemon=True) for w in everyone}
    first = {name: process for name, process in processes.items() if not (joins and name == everyone[-1].name)}
    try:
        for process in first.values():
            process.start()
        if not watcher.wait_for(watcher.ready(set(first)), 30):
            raise RuntimeError(f"workers did not get ready: {sorted(first)}")
        _feed(watcher, ends, load, incident, processes)
        outcome = watcher.outcome
        for process in processes.values():
            if process.is_alive():
                process.terminate()
        alive = {name for name in processes if incident is None or joins or name != incident.worker.name}
        watcher.wait_for(lambda: alive <= outcome.counters.keys(), 5)
        return outcome
    finally:
        for process in processes.values():
            if process.pid is not None:
                process.join(3)
                process.kill()
        watcher.close()


def _feed(watcher: Watcher, ends: Ends, load: Load, incident: Incident | None, processes: dict[str, Any]) -> None:
    """Send the load; returns DRAIN_S after its end, with no result counted that came later."""
    ours, theirs = PROCESSES.Pipe()
    cameras = PROCESSES.Process(target=send, args=(ends, load, theirs), name="cameras", daemon=True)
    cameras.start()
    try:
        if not ours.poll(30):
            raise RuntimeError("the cameras did not get ready")
        ours.send("start")
        if incident is not None:
            time.sleep(incident.at_s)
            process = processes[incident.worker.name]
            process.kill() if incident.what == "kill" else process.start()
        cameras.join(load.seconds + 30)
        time.sleep(DRAIN_S)
        watcher.counting = False
    finally:
        cameras.kill()
