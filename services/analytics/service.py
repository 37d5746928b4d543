"""Skeletons to tracks and alerts, for the cameras that this replica owns."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from common.config import AnalyticsSettings, CameraSettings, CamerasPart, SiteSettings
from common.messages import PosesFound, TracksUpdated
from common.outbox import OutboxPublisher
from common.service import Service
from services.analytics.analyst import Analyst
from services.analytics.jobs import After
from services.analytics.keeper import Keeper
from services.analytics.pipeline import Outcome

log = logging.getLogger(__name__)

BACKLOG = 2_000  # messages between the bus and the analysing thread: seconds at any rate that can be analysed
IDLE_S = 0.25


class Inbox:
    """What the bus thread leaves for the analysing thread; when it is full the oldest goes, and is counted."""

    def __init__(self, service: Service) -> None:
        self.wake = threading.Event()
        self.settings: queue.SimpleQueue[SiteSettings | AnalyticsSettings | CamerasPart] = queue.SimpleQueue()
        self._service = service
        self._messages: deque[PosesFound] = deque(maxlen=BACKLOG)

    def put(self, poses: PosesFound, _levels: tuple[str, ...]) -> None:
        if len(self._messages) == BACKLOG:
            self._service.status.count("overrun")
        self._messages.append(poses)
        self.wake.set()

    def put_settings(self, settings: SiteSettings | AnalyticsSettings | CamerasPart) -> None:
        self.settings.put(settings)
        self.wake.set()

    def take(self) -> list[PosesFound]:
        """All messages that are there."""
        return [self._messages.popleft() for _ in range(len(self._messages))]


class Worker:
    """Moves messages, settings and ownership into the analyst, all on the service's main thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._inbox = Inbox(service)
        self._keeper = Keeper(service.state, service.bus, service.status, service.clock, service.instance)
        self._keeper.on_change = self._inbox.wake
        self._analyst = Analyst(
            service.site, service.instance, service.clock,
            publish=self._publish, submit=self._submit, count=service.status.count,
        )  # fmt: skip
        self._analyst.max_age_s = service.general.max_age_s
        self._cameras: tuple[CameraSettings, ...] = service.wait_config("cameras", CamerasPart).cameras
        self._settings = service.wait_config("analytics", AnalyticsSettings)
        self._reconnects = service.bus.counters["reconnects"]

    def run(self) -> None:
        """Until the service stops."""
        service = self._service
        self._configure()
        service.watch_config("general", SiteSettings, self._inbox.put_settings)
        service.watch_config("cameras", CamerasPart, self._inbox.put_settings)
        service.watch_config("analytics", AnalyticsSettings, self._inbox.put_settings)
        service.bus.subscribe(self._inbox.put, "poses", "+")
        publisher = OutboxPublisher(service.state, service.bus, owner=service.instance)
        publisher.start()
        self._keeper.start()
        service.status.ready()
        try:
            while not service.stopping.is_set():
                self._inbox.wake.wait(self._analyst.wait_s(IDLE_S))
                self._inbox.wake.clear()
                self.step()
        finally:
            self._analyst.finish()
            self._keeper.stop()
            publisher.stop(1.0)

    def step(self) -> None:
        """Do all there is to do now."""
        changed = False
        while not self._inbox.settings.empty():
            changed = self._take_settings(self._inbox.settings.get()) or changed
        if changed:
            self._configure()
        while not self._keeper.changes.empty():
            change = self._keeper.changes.get()
            self._guarded("takeover", f"camera {change.camera!r}", partial(self._analyst.change, change))
        for poses in self._inbox.take():
            what = f"frame of camera {poses.camera!r} seq {poses.seq}"
            self._guarded("frames", what, partial(self._analyst.hear, poses))
        self._guarded("waiting frames", "frames behind a gap", self._analyst.poll)
        if self._reconnects != self._service.bus.counters["reconnects"]:
            self._reconnects = self._service.bus.counters["reconnects"]
            self._analyst.repeat()

    def _guarded(self, about: str, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # one bad message must not end the service
            self._service.status.count("frame_errors")
            self._service.status.degraded(f"{what}: {error}", about=about)
            log.exception("event=analysis_failed what=%s", what)
        else:
            self._service.status.sound(about)

    def _take_settings(self, settings: SiteSettings | AnalyticsSettings | CamerasPart) -> bool:
        """Note settings; True: the analyst must be told."""
        if isinstance(settings, SiteSettings):
            self._analyst.max_age_s = settings.max_age_s
            return False
        if isinstance(settings, CamerasPart):
            changed, self._cameras = settings.cameras != self._cameras, settings.cameras
            return changed
        changed, self._settings = settings != self._settings, settings
        return changed

    def _configure(self) -> None:
        self._analyst.configure(self._cameras, self._settings)
        self._keeper.want({camera.name for camera in self._cameras})

    def _publish(self, tracks: TracksUpdated) -> None:
        self._service.bus.publish(tracks, "tracks", tracks.camera)
        self._service.status.age((tracks.published_at_ns - tracks.captured_at_ns) / 1e6)

    def _submit(self, camera: str, turn: int, state: bytes, outcome: Outcome | None, after: After) -> None:
        self._keeper.submit(camera, turn, state, outcome, after=after)


def run(service: Service) -> None:
    """Work until the service stops."""
    Worker(service).run()
