"""Runs the services as child processes: starts them, starts crashed ones again, stops them in the order of the data."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posebus.processes import Child, Watchdog, describe_exit

STOP_ORDER = ("camera", "detector", "pose", "analytics")  # each stage is fed by the one before
STOP_S = 3.2  # leaves the embedded stack its time within the five seconds of a whole stop
_HEAD_START_S = 0.5  # that a stage gets before the next one is told to stop too
_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_LOG_BYTES = 10_000_000  # a larger log is set aside when its service starts again
_HEALTHY_S = 20.0  # ran for so long: the next crash is a new one, not the same again


@dataclass(frozen=True)
class ServiceSpec:
    """One service process to keep running."""

    name: str  # unique, e.g. `detector-2`
    service: str  # one of STOP_ORDER
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Slot:
    spec: ServiceSpec
    child: Child | None = None
    crashes: int = 0
    retry_at_s: float = 0.0


class Supervisor:
    """Call `start` once, `poll` a few times a second, `stop` at the end. Not thread-safe: one thread drives it.

    logs: folder for one log file per service. say: gets one line for each crash and restart.
    """

    def __init__(self, specs: Sequence[ServiceSpec], *, logs: Path, say: Callable[[str], None]) -> None:
        self._slots = [_Slot(spec) for spec in specs]
        self._logs = logs
        self._say = say
        self._watchdog = Watchdog()
        self.restarts = 0

    def start(self) -> None:
        """Start every service."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for slot in self._slots:
            self._set_aside(slot)
            self._launch(slot)

    def poll(self) -> None:
        """Notice what has ended and start it again: with growing pauses when it keeps ending."""
        now = time.monotonic()
        for slot in self._slots:
            child = slot.child
            code = child.poll() if child is not None else None
            if child is not None and code is not None:
                slot.crashes = 0 if now - child.started_s > _HEALTHY_S else slot.crashes
                pause = _BACKOFF_S[min(slot.crashes, len(_BACKOFF_S) - 1)]
                slot.child, slot.crashes, slot.retry_at_s = None, slot.crashes + 1, now + pause
                reason = child.log_tail(1) or "it wrote nothing"
                how = f"{slot.spec.name} ended ({describe_exit(code)}): {reason}"
                self._say(f"{how}; starts again in {pause:g} s, log {child.log}")
            elif child is None and now >= slot.retry_at_s:
                self.restarts += 1
                self._launch(slot)

    def stop(self, timeout_s: float = STOP_S) -> list[str]:
        """SIGTERM stage by stage, SIGKILL for what is left at the end; returns the names that had to be killed.

        A KeyboardInterrupt on the way (a second Ctrl-C) kills everything at once and is raised again.
        """
        deadline = time.monotonic() + timeout_s
        try:
            for i, service in enumerate(STOP_ORDER):
                stage = [s.child for s in self._slots if s.child is not None and s.spec.service == service]
                for child in stage:
                    child.terminate()
                # A share of what is left: a stage that hangs cannot eat the time of those after it.
                share_s = (deadline - time.monotonic()) / (len(STOP_ORDER) - i)
                until = time.monotonic() + min(share_s, _HEAD_START_S)
                for child in stage:
                    child.wait(until - time.monotonic())
            for child in self._children():
                child.wait(deadline - time.monotonic())
            return [child.name for child in self._children() if child.poll() is None]
        finally:
            self.kill()

    def kill(self) -> None:
        """End everything now."""
        for child in self._children():
            child.kill()
        for slot in self._slots:
            slot.child = None
        self._watchdog.close()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of what runs now."""
        return {child.name: child.pid for child in self._children() if child.poll() is None}

    def _children(self) -> list[Child]:
        return [slot.child for slot in self._slots if slot.child is not None]

    def _launch(self, slot: _Slot) -> None:
        log = self._log(slot)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            self._set_aside(slot)
        slot.child = Child(slot.spec.name, slot.spec.command, log=log, watchdog=self._watchdog, env=slot.spec.env)

    def _log(self, slot: _Slot) -> Path:
        return self._logs / f"{slot.spec.name}.log"

    def _set_aside(self, slot: _Slot) -> None:
        """Keep the log of the run before, and only that one."""
        if self._log(slot).exists():
            self._log(slot).replace(self._logs / f"{slot.spec.name}.log.1")


def service_specs(env: Mapping[str, str], scale: Mapping[str, int], *, logs: Path) -> list[ServiceSpec]:
    """All services, `scale` of each kind (default 1; 0 leaves it out), with `env` plus a name and a health file."""
    specs = []
    for service in reversed(STOP_ORDER):  # consumers first: the first frame finds everybody listening
        count = scale.get(service, 1)
        for i in range(1, count + 1):
            name = service if count == 1 else f"{service}-{i}"
            own = {"POSEBUS_INSTANCE": name, "POSEBUS_HEALTH_FILE": str(logs / f"{name}.health")}
            command = (sys.executable, "-m", f"services.{service}")
            specs.append(ServiceSpec(name=name, service=service, command=command, env={**env, **own}))
    return specs
