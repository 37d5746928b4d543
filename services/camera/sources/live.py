"""Live sources: a thread grabs without pause and keeps only the newest wanted frame, so that nothing ever queues."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from common.clock import Clock
from services.camera.address import shown
from services.camera.pacing import LagMeter, Pacer
from services.camera.sources.base import TICK_S, Frame, SourceError

log = logging.getLogger(__name__)

LATE_FOR_S = 5.0  # only late pictures for so long: reconnecting throws the backlog away


class Capture(Protocol):
    """What a live source reads from; used by the reader thread only. Calls may block up to their own time-outs."""

    def grab(self) -> bool:
        """Take the next frame without converting it; False when there is none any more."""
        ...

    def retrieve(self) -> NDArray[np.uint8] | None:
        """The frame last grabbed, (H, W, 3) uint8 BGR; None when it cannot be converted."""
        ...

    def media_s(self) -> float:
        """Timestamp of the frame last grabbed, in the stream's own time; 0 when it has none."""
        ...

    def close(self) -> None: ...


class OpenCvCapture:
    """A `cv2.VideoCapture` as a Capture. has_timestamps: its positions are the camera's own clock."""

    def __init__(self, capture: cv2.VideoCapture, *, has_timestamps: bool) -> None:
        self._capture = capture
        self._has_timestamps = has_timestamps

    def grab(self) -> bool:
        return bool(self._capture.grab())

    def retrieve(self) -> NDArray[np.uint8] | None:
        is_good, image = self._capture.retrieve()
        return image if is_good else None

    def media_s(self) -> float:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1e3 if self._has_timestamps else 0.0

    def close(self) -> None:
        self._capture.release()


class LiveSource:
    """A stream or device. Opening, reading and closing all happen on its own thread, so a blocked call blocks nobody else.

    open_capture: returns an open Capture or raises SourceError. timeout_s: no frame for so long is an error;
    open_timeout_s: the same for the first frame. max_lag_s: pictures later than that are dropped and counted in `late`.
    """

    live = True

    def __init__(
        self,
        open_capture: Callable[[], Capture],
        *,
        fps: float,
        clock: Clock,
        stopping: threading.Event,
        timeout_s: float,
        open_timeout_s: float = 15.0,
        max_lag_s: float = 1.0,
        name: str = "camera",
    ) -> None:
        self.note: str | None = None
        self.skipped = 0
        self.late = 0
        self._open_capture = open_capture
        self._pacer = Pacer(fps)
        self._clock = clock
        self._stopping = stopping
        self._timeout_s = timeout_s
        self._open_timeout_s = max(open_timeout_s, timeout_s)
        self._max_lag_s = max_lag_s
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._grabbed_s: float | None = None  # monotonic, when the last frame was grabbed
        self._error: SourceError | None = None
        self._began_s = clock.monotonic_s()
        self._thread = threading.Thread(target=self._run, name=f"read-{name}", daemon=True)
        self._thread.start()

    def read(self) -> Frame | None:
        with self._changed:
            while not self._stopping.is_set():
                if self._newest is not None:
                    frame, self._newest = self._newest, None
                    return frame
                if self._error is not None:
                    raise self._error
                self._check_stalled()
                self._changed.wait(TICK_S)
        return None

    def close(self) -> None:
        self._closed.set()
        self._thread.join(0.3)  # a stuck call ends by its own time-out; the thread then cleans up after itself

    def _check_stalled(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._grabbed_s is None:
            if now_s - self._began_s > self._open_timeout_s + 2.0:  # the capture's own time-out should have come first
                raise SourceError(f"no frame within {self._open_timeout_s:g} s of connecting")
        elif now_s - self._grabbed_s > self._timeout_s:
            raise SourceError(f"no frame for {self._timeout_s:g} s: the source stalled; is the camera or its network busy?")

    def _run(self) -> None:
        error: SourceError | None = None
        try:
            capture = self._open_capture()
            try:
                self._grab_all(capture)
            finally:
                capture.close()
        except SourceError as problem:
            error = problem
        except Exception as problem:  # OpenCV raises plain exceptions of its own
            log.exception("reader failed")
            error = SourceError(f"reading failed: {shown(str(problem))}")
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _grab_all(self, capture: Capture) -> None:
        lag = LagMeter()
        good_s = self._clock.monotonic_s()
        while not self._closed.is_set() and not self._stopping.is_set():
            before_s = self._clock.monotonic_s()
            if not capture.grab():
                self._explain_end(self._clock.monotonic_s() - before_s)
            now_s, now_ns = self._clock.monotonic_s(), self._clock.now_ns()
            self._grabbed_s = now_s
            lag_s = lag.lag_s(now_s, capture.media_s())
            if lag_s <= self._max_lag_s:
                good_s = now_s
                if self._pacer.take(now_s):
                    self._keep(capture, now_ns - round(lag_s * 1e9))
                continue
            self.late += 1
            if now_s - good_s > LATE_FOR_S:
                raise SourceError(
                    f"pictures come {lag_s:.1f} s late: decoding does not keep up; lower the camera's resolution or frame rate"
                )

    def _keep(self, capture: Capture, captured_at_ns: int) -> None:
        image = capture.retrieve()
        if image is None:
            self.skipped += 1
            return
        with self._changed:
            self._newest = Frame(image, captured_at_ns)
            self._changed.notify_all()

    def _explain_end(self, waited_s: float) -> None:
        if waited_s >= 0.9 * self._timeout_s:
            raise SourceError(f"no frame for {self._timeout_s:g} s: the source stalled; is the camera or its network busy?")
        raise SourceError("the stream ended: the camera or server closed the connection")
