"""Records what happens on the bus, with the pictures, in bounded memory: for the demo's video and summary."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from common.bus import Bus
from common.frames import FrameStore, StoreError
from common.messages import Alert, FrameNotice, PeopleFound, PosesFound, TracksUpdated

MAX_JPEG_BYTES = 300_000_000
MAX_FRAMES = 20_000
_WAITING = 200  # notices whose picture is still to be fetched


@dataclass
class FrameRecord:
    """All that was said of one frame."""

    notice: FrameNotice
    jpeg: bytes | None = None
    people: PeopleFound | None = None
    poses: PosesFound | None = None
    tracks: TracksUpdated | None = None


@dataclass
class Recording:
    """Frames by camera in the order of their numbers, alerts in the order of their arrival."""

    frames: dict[str, list[FrameRecord]]
    alerts: list[Alert]
    pictures_missed: int = 0
    ages_ms: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # (camera, stage) -> ages at publication

    def first_ns(self, camera: str) -> int:
        """Capture time of a camera's first frame: second 0 of its clip."""
        return self.frames[camera][0].notice.captured_at_ns

    def clip_s(self, camera: str, ns: int) -> float:
        """Seconds since the camera's first frame."""
        return (ns - self.first_ns(camera)) / 1e9 if self.frames.get(camera) else 0.0


class Recorder:
    """Subscribes to every stage; fetches each picture as it is announced. Create it before the bus starts."""

    def __init__(self, bus: Bus, frames: FrameStore) -> None:
        self._store = frames
        self._lock = threading.Lock()
        self._frames: dict[str, dict[int, FrameRecord]] = {}
        self._alerts: dict[tuple[str, int], Alert] = {}
        self._ages: dict[tuple[str, str], list[float]] = {}
        self._fetch: queue.Queue[FrameRecord] = queue.Queue(_WAITING)
        self._bytes = self._count = self._missed = 0
        self._last_s = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._fetch_pictures, name="recorder", daemon=True)
        bus.subscribe(self._on_frame, "frames", "+")
        for stage in ("people", "poses", "tracks"):
            self._listen(bus, stage)
        bus.subscribe(self._on_alert, "alerts", "+", "+")

    def start(self) -> None:
        """Begin to fetch pictures."""
        self._thread.start()

    def stop(self) -> Recording:
        """End and return what was recorded."""
        self._stopping.set()
        self._thread.join(5.0)
        with self._lock:
            ordered = {camera: [records[seq] for seq in sorted(records)] for camera, records in self._frames.items() if records}
            return Recording(ordered, list(self._alerts.values()), self._missed, dict(self._ages))

    def quiet_s(self) -> float:
        """Seconds since the last message of any stage."""
        return time.monotonic() - self._last_s

    def counts(self) -> dict[str, tuple[int, int]]:
        """Frames published and frames analysed (tracked) so far, by camera."""
        with self._lock:
            return {
                camera: (len(records), sum(record.tracks is not None for record in records.values()))
                for camera, records in self._frames.items()
            }

    def _on_frame(self, notice: FrameNotice, _levels: tuple[str, ...]) -> None:
        self._last_s = time.monotonic()
        record = FrameRecord(notice)
        with self._lock:
            known = self._frames.setdefault(notice.camera, {})
            if self._count >= MAX_FRAMES or notice.seq in known:
                return
            self._count += 1
            known[notice.seq] = record
        try:
            self._fetch.put_nowait(record)
        except queue.Full:
            self._missed += 1

    def _listen(self, bus: Bus, stage: str) -> None:
        def on_message(message: Any, _levels: tuple[str, ...]) -> None:
            self._last_s = time.monotonic()
            with self._lock:
                record = self._frames.get(message.camera, {}).get(message.seq)
                if record is None:
                    return
                setattr(record, stage, message)
                age_ms = (message.published_at_ns - message.captured_at_ns) / 1e6
                self._ages.setdefault((message.camera, stage), []).append(age_ms)

        bus.subscribe(on_message, stage, "+")

    def _on_alert(self, alert: Alert, _levels: tuple[str, ...]) -> None:
        with self._lock:
            self._alerts.setdefault((alert.id, alert.revision), alert)

    def _fetch_pictures(self) -> None:
        while not (self._stopping.is_set() and self._fetch.empty()):
            try:
                record = self._fetch.get(timeout=0.1)
            except queue.Empty:
                continue
            try:
                jpeg = self._store.get(record.notice.key) if self._bytes < MAX_JPEG_BYTES else None
            except StoreError:
                jpeg = None
            if jpeg is None:
                self._missed += 1
            else:
                record.jpeg = jpeg
                self._bytes += len(jpeg)
