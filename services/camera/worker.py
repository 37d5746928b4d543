"""One camera: open its source, publish its frames, open it again when it fails, and disturb nobody else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from common.clock import Clock
from common.config import CameraSettings
from common.messages import CameraHealth
from common.status import StatusReporter
from services.camera.address import shown
from services.camera.pacing import Backoff, RateMeter
from services.camera.sources import Frame, Source, SourceError

log = logging.getLogger(__name__)

STEADY_S = 10.0  # a connection that lasted so long starts the backoff anew when it fails
HANDOVER_S = 3.0


class Outlet(Protocol):
    """Where frames go (`FramePublisher`)."""

    def publish(self, frame: Frame) -> int | None: ...

    def close(self) -> None: ...


class CameraWorker:
    """Reads one camera on a thread of its own until `stop`.

    open_source: called with the worker's stop event; raises SourceError. after: the worker that read this camera before
    and is stopping; its end is awaited first, because many cameras serve one reader only.
    """

    def __init__(
        self,
        settings: CameraSettings,
        *,
        open_source: Callable[[CameraSettings, threading.Event], Source],
        outlet: Outlet,
        clock: Clock,
        status: StatusReporter,
        backoff: Backoff | None = None,
        after: CameraWorker | None = None,
    ) -> None:
        self.settings = settings
        self._open_source = open_source
        self._outlet = outlet
        self._clock = clock
        self._status = status
        self._backoff = backoff or Backoff()
        self._after = after
        self._stopping = threading.Event()
        self._rate = RateMeter()
        self._state = "connecting"
        self._reason: str | None = None
        self._last_seq: int | None = None
        self._reconnects = 0
        self._counted = (0, 0)
        self._speaking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"camera-{settings.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask to stop; returns at once. Nothing more is said about this camera afterwards."""
        with self._speaking:
            self._stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it takes longer (a stuck store or driver; the thread is a daemon)."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    @property
    def health(self) -> CameraHealth:
        """What is known of the camera now."""
        return CameraHealth(
            state=self._state,
            reason=self._reason,
            fps=round(self._rate.hz(self._clock.monotonic_s()), 2),
            last_seq=self._last_seq,
            reconnects=self._reconnects,
        )

    def _run(self) -> None:
        if self._after is not None:
            self._after.join(HANDOVER_S)
            self._after = None
        while not self._stopping.is_set():
            try:
                reason, patient = self._play(), False
                if reason is None:
                    break
            except SourceError as error:
                reason, patient = str(error), error.patient
            except Exception as error:
                log.exception("camera failed camera=%s", self.settings.name)
                reason, patient = f"unexpected {type(error).__name__}: {shown(str(error))}", False
            self._say("failed", reason)
            self._stopping.wait(self._backoff.next_s(patient=patient))
            self._reconnects += 1
        self._outlet.close()

    def _play(self) -> str | None:
        """Open, publish frame after frame, close. None when there is nothing more to do, else why it failed."""
        source = self._open_source(self.settings, self._stopping)
        self._counted = (0, 0)
        try:
            began_s = None
            while (frame := source.read()) is not None:
                if self._stopping.is_set():
                    return None
                now_s = self._clock.monotonic_s()
                began_s = now_s if began_s is None else began_s
                if now_s - began_s > STEADY_S:
                    self._backoff.reset()
                self._publish(frame)
                self._say("streaming", source.note)
                self._count(source)
            if self._stopping.is_set():
                return None
            if source.live:
                return "the stream ended"
            self._say("ended", source.note)
        finally:
            self._count(source)
            source.close()
        self._stopping.wait()
        return None

    def _publish(self, frame: Frame) -> None:
        seq = self._outlet.publish(frame)
        if seq is not None:
            self._last_seq = seq
            self._rate.tick(self._clock.monotonic_s())

    def _count(self, source: Source) -> None:
        now = (source.skipped, source.late)
        for name, value, before in zip(("pictures_skipped", "frames_late"), now, self._counted, strict=True):
            if value > before:
                self._status.count(name, value - before)
        self._counted = now

    def _say(self, state: str, reason: str | None) -> None:
        """A change of state or reason goes out at once; the same again is not worth a word."""
        with self._speaking:
            if (state, reason) == (self._state, self._reason) or self._stopping.is_set():
                return
            self._state, self._reason = state, reason
            level = logging.WARNING if state == "failed" else logging.INFO
            log.log(level, "camera=%s state=%s reason=%s", self.settings.name, state, reason or "-")
            self._status.camera(self.settings.name, self.health)
