"""Which cameras this instance reads: what the configuration asks for, what the leases allow."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from common.config import CameraSettings, CamerasPart
from common.frames import StoreError
from common.leases import Leases
from common.messages import CameraHealth
from common.status import StatusReporter
from services.camera.worker import CameraWorker

log = logging.getLogger(__name__)

TICK_S = 1.0
NOT_OURS = {"zones", "fall"}  # settings that analytics reads; a change of theirs disturbs no stream

MakeWorker = Callable[[CameraSettings, CameraWorker | None], CameraWorker]


class Supervisor:
    """Starts, restarts and stops one worker a camera.

    make_worker: builds the worker (not started) of a camera; its second argument is the one to be replaced.
    allowed: the only cameras that this instance may read; None for all. Whoever holds a camera's lease reads it. While the
    state store is away nobody can take a lease, so each instance goes on with the cameras it has.
    """

    def __init__(
        self, *, make_worker: MakeWorker, leases: Leases, status: StatusReporter, allowed: frozenset[str] | None = None
    ) -> None:
        self._make_worker = make_worker
        self._leases = leases
        self._status = status
        self._allowed = allowed
        self._wanted: dict[str, CameraSettings] | None = None
        self._told: set[str] = set()  # cameras that the status speaks of
        self._workers: dict[str, CameraWorker] = {}
        self._changed = threading.Event()

    def configure(self, part: CamerasPart) -> None:
        """Take over a new configuration at the next tick; called on the bus thread."""
        wanted = {camera.name: camera for camera in part.cameras}
        if self._allowed is not None:
            for name in sorted(self._allowed - wanted.keys()):
                log.warning("camera=%s is in POSEBUS_CAMERAS but not in the configuration", name)
            wanted = {name: settings for name, settings in wanted.items() if name in self._allowed}
        self._wanted = wanted
        self._changed.set()

    def run(self, stopping: threading.Event) -> None:
        """Tick each second, and at once when the configuration changed, until stopping."""
        ticks = 0
        while not stopping.is_set():
            self._changed.clear()
            began_s = time.monotonic()
            self.tick()
            if self._wanted is None and ticks % 10 == 9:
                log.warning("waiting for configuration part=sources; publish it with `posebus config apply`")
            ticks += 1
            while not stopping.wait(0.05) and not self._changed.is_set():
                if time.monotonic() - began_s >= TICK_S:
                    break

    def tick(self) -> None:
        """Bring workers in line with configuration and leases, renew the leases, and report each camera."""
        wanted = self._wanted
        if wanted is None:
            return
        for name in self._workers.keys() - wanted.keys():
            self._stop(name)
            self._leave([name])
        trouble: StoreError | None = None
        for name, settings in wanted.items():
            owned = name in self._workers
            if trouble is None:
                try:
                    owned = self._leases.acquire(name)
                except StoreError as error:
                    trouble = error
            self._align(name, settings, owned)
            self._tell(name, trouble)
        for name in self._told - wanted.keys():
            self._status.camera(name, None)
            self._told.discard(name)
        if trouble is None:
            self._status.sound("leases")
        else:
            self._status.degraded(f"cameras cannot be shared out: {trouble}", about="leases")

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop all workers and give their leases back; returns within about timeout_s, whatever is stuck."""
        deadline_s = time.monotonic() + timeout_s
        workers = dict(self._workers)
        self._workers.clear()
        for worker in workers.values():
            worker.stop()
        for name, worker in workers.items():
            if not worker.join(deadline_s - time.monotonic()):
                log.warning("camera=%s does not stop in time", name)
        leaving = threading.Thread(target=self._leave, args=(list(workers),), name="leave", daemon=True)
        leaving.start()
        leaving.join(0.5)

    def _align(self, name: str, settings: CameraSettings, owned: bool) -> None:
        worker = self._workers.get(name)
        if not owned:
            if worker is not None:
                log.warning("camera=%s lease lost, another instance reads it now", name)
                self._stop(name)
            return
        if worker is None or _differs(worker.settings, settings):
            if worker is not None:
                worker.stop()
            log.info("camera=%s %s", name, "starts" if worker is None else "restarts with new settings")
            fresh = self._make_worker(settings, worker)
            self._workers[name] = fresh
            fresh.start()

    def _tell(self, name: str, trouble: StoreError | None) -> None:
        self._told.add(name)
        worker = self._workers.get(name)
        if worker is not None:
            self._status.camera(name, worker.health)
            return
        reason = f"cannot take its lease: {trouble}" if trouble else "another instance reads it"
        self._status.camera(name, CameraHealth(state="waiting", reason=reason))

    def _stop(self, name: str) -> None:
        self._workers.pop(name).stop()

    def _leave(self, names: list[str]) -> None:
        try:
            for name in names:
                self._leases.release(name)
        except StoreError as error:
            log.info("leases run out by themselves, they cannot be given back: %s", error)


def _differs(one: CameraSettings, other: CameraSettings) -> bool:
    return one.model_dump(exclude=NOT_OURS) != other.model_dump(exclude=NOT_OURS)
