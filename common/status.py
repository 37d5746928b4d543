"""What a service says of itself: state, counters, rates, ages, cameras."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from common.clock import Clock
from common.messages import CameraHealth, ServiceStatus

FIELDS = frozenset(ServiceStatus.__struct_fields__)
AGES_KEPT = 2_000


class StatusReporter:
    """Collects a service's status and publishes it every interval and at each change of state.

    publish: called with each ServiceStatus; must not block. All methods are thread-safe.
    """

    def __init__(
        self, service: str, instance: str, clock: Clock, publish: Callable[[ServiceStatus], object], *, version: str = ""
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._lock = threading.Lock()
        self._counters: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._before_s = clock.monotonic_s()
        self._ages: deque[float] = deque(maxlen=AGES_KEPT)
        self._cameras: dict[str, CameraHealth] = {}
        self._is_ready = False
        self._degraded: dict[str, str] = {}
        self._fields: dict[str, Any] = {
            "service": service,
            "instance": instance,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version,
            "started_at_ns": clock.now_ns(),
        }

    def ready(self, **fields: Any) -> None:
        """Ready for work and sound. fields: of ServiceStatus (model=, runtime=, device=, model_error= ...)."""
        with self._lock:
            self._is_ready = True
            self._degraded.clear()
        self.set(**fields)

    def degraded(self, reason: str, *, about: str = "service") -> None:
        """Working with a trouble: the reason names the culprit and the fix. It stands until `sound(about)` or `ready()`."""
        with self._lock:
            news = self._degraded.get(about) != reason
            self._degraded[about] = reason
        if news:
            self.report()

    def sound(self, about: str = "service") -> None:
        """The trouble of this name is over."""
        with self._lock:
            news = self._degraded.pop(about, None) is not None
        if news:
            self.report()

    def set(self, **fields: Any) -> None:
        """Set fields of ServiceStatus and publish. Raises TypeError for one that does not exist."""
        unknown = fields.keys() - FIELDS
        if unknown:
            raise TypeError(f"ServiceStatus has no field {', '.join(sorted(unknown))}")
        with self._lock:
            self._fields.update(fields)
        self.report()

    def count(self, name: str, n: int = 1) -> None:
        """Count an event; rates are derived from the counters."""
        with self._lock:
            self._counters[name] += n

    def age(self, ms: float) -> None:
        """The age of a frame when its result was published, in milliseconds."""
        with self._lock:
            self._ages.append(ms)

    def camera(self, name: str, health: CameraHealth | None) -> None:
        """What is known of a camera; None removes it. A change of its state is published at once."""
        with self._lock:
            before = self._cameras.get(name)
            if health is None:
                self._cameras.pop(name, None)
            else:
                self._cameras[name] = health
        if (before and (before.state, before.reason)) != (health and (health.state, health.reason)):
            self.report()

    @property
    def counters(self) -> dict[str, int]:
        """A copy of the counters."""
        with self._lock:
            return dict(self._counters)

    def snapshot(self) -> ServiceStatus:
        """The status as it is now."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            span_s = max(now_s - self._before_s, 1e-3)
            state = "starting" if not self._is_ready else "degraded" if self._degraded else "ready"
            return ServiceStatus(
                **self._fields,
                state=state,
                reason="; ".join(self._degraded.values()) or None,
                updated_at_ns=self._clock.now_ns(),
                counters=dict(self._counters),
                rates_hz={
                    name: round((value - self._before[name]) / span_s, 2) for name, value in self._counters.items()
                },
                ages_ms=_percentiles(list(self._ages)),
                cameras=dict(self._cameras),
                rss_bytes=resident_bytes(),
            )

    def report(self) -> None:
        """Publish the status now."""
        self._publish(self.snapshot())

    def interval(self) -> None:
        """Publish the status and begin a new interval of rates and ages."""
        self.report()
        with self._lock:
            self._before = Counter(self._counters)
            self._before_s = self._clock.monotonic_s()
            self._ages.clear()

    def offline(self, reason: str) -> ServiceStatus:
        """The last word of this service; the broker says it for us if we vanish."""
        return msgspec.structs.replace(self.snapshot(), state="offline", reason=reason)


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    values.sort()
    pick = {"p50": 0.5, "p99": 0.99}
    return {name: round(values[math.ceil(q * len(values)) - 1], 1) for name, q in pick.items()}


def resident_bytes() -> int | None:
    """Resident memory of this process, from /proc; None where there is none."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
