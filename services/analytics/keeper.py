"""Who owns which camera, and what its owner has safely written.

A thread of its own talks to the store, so that a store which is slow or gone delays commits and never the analysis. Nothing
is said on the bus about an alert before it is committed. While the store is gone, alerts wait here, bounded.
"""

from __future__ import annotations

import logging
import math
import queue
import threading

import redis

from common.bus import Bus
from common.clock import Clock
from common.frames import StoreError, store_errors
from common.leases import Leases
from common.messages import CameraHealth
from common.outbox import Outbox
from common.status import StatusReporter
from services.analytics.jobs import MAX_ALERTS, After, Change, Job, Owned, digest_of, merged, state_key
from services.analytics.pipeline import Outcome

log = logging.getLogger(__name__)

ROLE = "analytics"
MEMBERS = "analytics:members"
STEP_S = 0.25  # between two looks at who owns what
RENEW_S = 1.0
MEMBER_TTL_S = 3.0
ORPHAN_S = 0.5  # a camera beyond our fair share is taken when nobody wanted it for so long
RETRY_S = 0.5


class Keeper:
    """Leases and commits of one replica. `changes` is for the analysing thread, which answers with `submit`."""

    def __init__(self, store: redis.Redis, bus: Bus, status: StatusReporter, clock: Clock, instance: str) -> None:
        self.changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self.on_change = threading.Event()
        self._store, self._bus, self._status, self._clock = store, bus, status, clock
        self._me = instance
        self._leases = Leases(store, ROLE, instance)
        self._outbox = Outbox(store)
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._wanted: set[str] = set()
        self._owned: dict[str, Owned] = {}
        self._giving: set[str] = set()
        self._orphans: dict[str, float] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._retry_s = 0.0
        self._turn = 0
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Commit what is there, hand back what is owned."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_s)

    def want(self, cameras: set[str]) -> None:
        """The cameras there are; those no longer wanted end with a job `remove` from the analysing thread."""
        with self._lock:
            gone, self._wanted = self._wanted - cameras, set(cameras)
        for camera in gone:
            self._status.camera(camera, None)
        self._wake.set()

    def submit(
        self, camera: str, turn: int, state: bytes, outcome: Outcome | None = None, *, after: After = "keep"
    ) -> None:  # fmt: skip
        """Commit as soon as possible. Newer states replace those that wait, alerts add up. turn: of the change `own`."""
        with self._lock:
            job = self._jobs.get(camera)
            if job is None or job.turn != turn:
                job = self._jobs[camera] = Job(state, turn)
            job.state, job.after = state, after
            if outcome is not None:
                job.alerts.extend(outcome.alerts)
                job.states.update({each.kind: each for each in outcome.states})
                job.occupancy.update({each.zone: each for each in outcome.occupancy})
                job.cleared.update(outcome.cleared_zones)
            surplus = len(job.alerts) - MAX_ALERTS
            if surplus > 0:
                del job.alerts[:surplus]
                self._status.count("alerts_dropped", surplus)
        self._wake.set()

    # The rest runs on the keeper's thread.

    def _run(self) -> None:
        next_step_s = 0.0
        while True:
            now_s = self._clock.monotonic_s()
            try:
                if now_s >= self._retry_s:
                    self._flush()
                    if now_s >= next_step_s and not self._stopping:
                        next_step_s = now_s + STEP_S
                        self._step(now_s)
                        self._status.sound("store")
            except StoreError as error:
                self._retry_s = self._clock.monotonic_s() + RETRY_S
                self._status.count("store_errors")
                self._status.degraded(f"alerts and state wait in memory: {error}", about="store")
            except Exception:
                log.exception("event=keeper_failed")
                self._retry_s = self._clock.monotonic_s() + RETRY_S
            if self._stopping:
                break
            self._wake.wait(STEP_S / 2)
            self._wake.clear()
        self._farewell()

    def _farewell(self) -> None:
        try:
            self._flush()
            for camera in list(self._owned):
                self._leases.release(camera)
            with store_errors(self._store):
                self._store.zrem(MEMBERS, self._me)
        except StoreError as error:
            log.warning("event=stopped_without_store error=%s", error)

    def _flush(self) -> None:
        with self._lock:
            cameras = list(self._jobs)
        for camera in cameras:
            with self._lock:
                job = self._jobs.pop(camera)
            try:
                self._commit(camera, job)
            except StoreError:
                with self._lock:
                    later = self._jobs.get(camera)
                    if later is not None:
                        job = merged(job, later) if later.turn == job.turn else later
                    self._jobs[camera] = job
                raise

    def _commit(self, camera: str, job: Job) -> None:
        owned = self._owned.get(camera)
        if owned is None or owned.turn != job.turn:
            self._status.count("alerts_superseded", len(job.alerts))
            return
        digest = digest_of(job.state)
        # Noted before: a commit whose answer is lost may have been written.
        before = set(owned.written)
        owned.written.add(digest)
        done = self._outbox.commit(self._leases, camera, state_key(camera), job.state, job.alerts)
        if not done:
            owned.written = before
            if not self._regain(camera, owned):
                self._lose(camera, job)
                return
            owned.written.add(digest)
            if not self._outbox.commit(self._leases, camera, state_key(camera), job.state, job.alerts):
                self._lose(camera, job)
                return
        owned.written = {digest}
        self._say(camera, job)
        self._after(camera, job)

    def _say(self, camera: str, job: Job) -> None:
        self._status.count("alerts_raised", sum(alert.event == "raised" for alert in job.alerts))
        for zone in job.cleared:
            self._bus.clear_retained("occupancy", camera, zone)
        for kind, state in job.states.items():
            self._bus.publish(state, "state", camera, kind)
        for zone, occupancy in job.occupancy.items():
            if zone not in job.cleared:
                self._bus.publish(occupancy, "occupancy", camera, zone)

    def _after(self, camera: str, job: Job) -> None:
        if job.after == "keep":
            return
        if job.after == "remove":
            for kind in ("fall", "intrusion"):
                self._bus.clear_retained("state", camera, kind)
            with store_errors(self._store):
                self._store.delete(state_key(camera))
        self._leases.release(camera)
        self._owned.pop(camera, None)
        self._giving.discard(camera)
        self._show(camera)

    def _regain(self, camera: str, owned: Owned) -> bool:
        """Take a lapsed lease again, if nobody else has written the camera's state since."""
        if not self._leases.acquire(camera):
            return False
        with store_errors(self._store):
            state = self._store.get(state_key(camera))
        if (state is None and not owned.written) or (isinstance(state, bytes) and digest_of(state) in owned.written):
            self._status.count("leases_regained")
            return True
        self._leases.release(camera)
        return False

    def _lose(self, camera: str, job: Job | None = None) -> None:
        with self._lock:
            waiting = self._jobs.pop(camera, None)
        lost = sum(len(each.alerts) for each in (job, waiting) if each is not None)
        if lost:
            self._status.count("alerts_superseded", lost)
        self._status.count("leases_lost")
        self._owned.pop(camera, None)
        self._giving.discard(camera)
        self._tell(Change("drop", camera, self._turn))  # before anything that asks the store, which may be what failed
        log.warning("event=lease_lost camera=%s alerts_left_to_the_owner=%d", camera, lost)
        self._show(camera)

    def _step(self, now_s: float) -> None:
        """Renew what is ours, take what nobody has, hand back what is more than our share."""
        for camera, owned in list(self._owned.items()):
            if now_s - owned.renewed_s >= RENEW_S:
                if not self._leases.renew(camera) and not self._regain(camera, owned):
                    self._lose(camera)
                    continue
                owned.renewed_s = now_s
        with self._lock:
            wanted = sorted(self._wanted)
        share = math.ceil(len(wanted) / max(self._members(), 1))
        self._take(now_s, wanted, share)
        surplus = [camera for camera in self._owned if camera in wanted and camera not in self._giving]
        if len(surplus) > share:
            self._giving.add(surplus[-1])
            self._tell(Change("hand_back", surplus[-1], self._turn))

    def _members(self) -> int:
        """How many replicas are alive."""
        now = self._clock.now_ns() / 1e9
        with store_errors(self._store), self._store.pipeline(transaction=False) as pipe:
            pipe.zadd(MEMBERS, {self._me: now})
            pipe.zremrangebyscore(MEMBERS, "-inf", now - MEMBER_TTL_S)
            pipe.zcard(MEMBERS)
            return int(pipe.execute()[-1])

    def _take(self, now_s: float, wanted: list[str], share: int) -> None:
        for camera in [camera for camera in wanted if camera not in self._owned]:
            owner = self._leases.owner(camera)
            if owner is not None and owner != self._me:
                self._orphans.pop(camera, None)
                self._show(camera, owner)
                continue
            since_s = self._orphans.setdefault(camera, now_s)
            if len(self._owned) >= share and now_s - since_s < ORPHAN_S:
                continue
            if self._leases.acquire(camera):
                self._orphans.pop(camera, None)
                self._own(camera, now_s)

    def _own(self, camera: str, now_s: float) -> None:
        with store_errors(self._store):
            state = self._store.get(state_key(camera))
        assert state is None or isinstance(state, bytes)
        self._turn += 1
        self._owned[camera] = Owned(now_s, self._turn, {digest_of(state)} if state is not None else set())
        log.info("event=camera_owned camera=%s state_bytes=%d", camera, len(state or b""))
        self._tell(Change("own", camera, self._turn, state))
        self._status.camera(camera, CameraHealth(state="owned"))

    def _tell(self, change: Change) -> None:
        self.changes.put(change)
        self.on_change.set()

    def _show(self, camera: str, owner: str | None = None) -> None:
        with self._lock:
            is_wanted = camera in self._wanted
        reason = f"owned by {owner}" if owner else "nobody owns it yet"
        self._status.camera(camera, CameraHealth(state="waiting", reason=reason) if is_wanted else None)
