"""Video files: in real time by their own timestamps, or as fast as possible; once or looped."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2

from common.clock import Clock
from services.camera import diagnose
from services.camera.pacing import Pacer
from services.camera.sources.base import Frame, SourceError, wait_until

USUAL_FPS = 25.0  # for files that do not tell theirs
GIVE_UP_S = 1.0  # catching up for so long means that decoding is slower than real time
MISSING_SHARE = 0.02  # frame counts in headers are sometimes off by a few


class VideoFile:
    """A video file as a source.

    realtime: the file plays at its natural speed; of its frames those nearest to a grid of 1/fps are returned, each when
    it is due, and frames that are overdue are passed over. Otherwise the same frames come as fast as they are read.
    """

    live = False

    def __init__(self, path: str, *, fps: float, realtime: bool, loop: bool, clock: Clock, stopping: threading.Event) -> None:
        self.note: str | None = None
        self.skipped = 0
        self.late = 0
        self._path = path
        self._realtime = realtime
        self._loop = loop
        self._clock = clock
        self._stopping = stopping
        self._pacer = Pacer(fps)
        self._start_s = clock.monotonic_s()  # monotonic time of media time 0
        self._offset_s = 0.0  # media time at which this round of a loop began
        self._media_s = 0.0
        self._capture = cv2.VideoCapture()
        self._open()

    def read(self) -> Frame | None:
        catching_up_since_s: float | None = None
        while not self._stopping.is_set():
            if not self._grab():
                if not self._rewind():
                    return None
                continue
            if self._realtime:
                now_s = self._clock.monotonic_s()
                due_s = self._start_s + self._media_s
                if now_s - due_s > max(self._frame_s, self._pacer.period_s / 2):
                    catching_up_since_s = now_s if catching_up_since_s is None else catching_up_since_s
                    if now_s - catching_up_since_s <= GIVE_UP_S:
                        self.late += 1
                        continue
                    self._start_s += now_s - due_s  # slower than its natural speed is all that this machine can do
                elif not wait_until(self._clock, due_s, self._stopping):
                    return None
            if not self._pacer.take(self._media_s):
                continue
            captured_at_ns = self._clock.now_ns()
            is_good, image = self._capture.retrieve()
            if is_good:
                return Frame(image, captured_at_ns)
            self.skipped += 1
        return None

    def close(self) -> None:
        self._capture.release()

    def _open(self) -> None:
        problem = diagnose.video_file(Path(self._path))
        if problem is None and not self._capture.open(self._path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]):
            problem = f"{self._path} is not a video that FFmpeg can read, or it is damaged"
        if problem is not None:
            self._capture.release()
            raise SourceError(problem)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._frame_s = 1.0 / fps if 0.1 <= fps <= 1000 else 1.0 / USUAL_FPS
        self._promised = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._frames = 0

    def _grab(self) -> bool:
        """Take the next frame and its media time, which never goes back whatever the file says."""
        if not self._capture.grab():
            return False
        position_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        if self._frames and position_s <= 0.0:
            position_s = self._frames * self._frame_s
        self._frames += 1
        self._media_s = max(self._media_s, self._offset_s + position_s)
        return True

    def _rewind(self) -> bool:
        """At the end of the file: begin again when looped; False when this was all."""
        if self._frames == 0:
            raise SourceError(f"{self._path}: no frame could be decoded, the file is damaged; copy or encode it again")
        if self._promised - self._frames > max(2, MISSING_SHARE * self._promised):
            self.note = (
                f"{self._path} ends early: {self._frames} of {self._promised} frames could be decoded; "
                "it is truncated or damaged, copy it again"
            )
        if not self._loop:
            return False
        self._capture.release()
        self._offset_s = self._media_s + self._frame_s
        self._open()
        return True
