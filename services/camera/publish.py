"""The way of a frame out of the camera service: scale, mask, encode, store, tell."""

from __future__ import annotations

import threading
from typing import Protocol

import cv2
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from common.clock import Clock
from common.config import CameraSettings
from common.frames import FrameStore, StoreError
from common.messages import FrameNotice, StageTiming
from common.status import StatusReporter
from services.camera.masks import PrivacyMask
from services.camera.sources.base import Frame


class Publisher(Protocol):
    """What of the bus is needed here."""

    def publish(self, message: Struct, name: str, *levels: str) -> bool: ...


class Sequences:
    """Frame numbers that grow for each camera, whatever happens: across restarts by the time, within a process by memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()

    def restart(self, camera: str) -> None:
        """A camera starts (again): continue at the store clock's milliseconds, above all that was used here before."""
        with self._lock:
            self._last[camera] = max(self._clock.now_ns() // 1_000_000 - 1, self._last.get(camera, 0))

    def next(self, camera: str) -> int:
        """The next number of a camera that was started."""
        with self._lock:
            self._last[camera] += 1
            return self._last[camera]


def scaled(image: NDArray[np.uint8], max_side_px: int) -> NDArray[np.uint8]:
    """The image with its longer side at most max_side_px, never enlarged; the image itself where it fits already."""
    height_px, width_px = image.shape[:2]
    ratio = max_side_px / max(height_px, width_px)
    if ratio >= 1.0:
        return image
    size = (max(1, round(width_px * ratio)), max(1, round(height_px * ratio)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class FramePublisher:
    """Publishes the frames of one camera. Nothing but masked pixels leaves `publish`."""

    def __init__(
        self,
        settings: CameraSettings,
        *,
        frames: FrameStore,
        bus: Publisher,
        clock: Clock,
        status: StatusReporter,
        sequences: Sequences,
        instance: str,
    ) -> None:
        self._settings = settings
        self._frames = frames
        self._bus = bus
        self._clock = clock
        self._status = status
        self._sequences = sequences
        self._instance = instance
        self._mask = PrivacyMask(settings.privacy_masks)
        self._trouble = f"camera/{settings.name}/store"
        sequences.restart(settings.name)

    def publish(self, frame: Frame) -> int | None:
        """Store a frame and tell the bus; returns its seq, or None when the store did not take it.

        frame.image may be painted on. A frame that the store does not take is dropped and counted in `store_errors`; the
        status says why until the next one is taken.
        """
        began_s = self._clock.monotonic_s()
        wait_ms = max(0.0, (self._clock.now_ns() - frame.captured_at_ns) / 1e6)
        image = scaled(frame.image, self._settings.max_side_px)
        self._mask.paint(image)
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._settings.jpeg_quality])[1].tobytes()
        camera = self._settings.name
        seq = self._sequences.next(camera)
        try:
            key = self._frames.put(camera, seq, encoded)
        except StoreError as error:
            self._status.count("store_errors")
            self._status.degraded(f"camera {camera!r}: frames are dropped: {error}", about=self._trouble)
            return None
        self._status.sound(self._trouble)
        timing = StageTiming(
            stage="camera",
            instance=self._instance,
            wait_ms=round(wait_ms, 3),
            service_ms=round((self._clock.monotonic_s() - began_s) * 1e3, 3),
        )
        self._tell(frame, image, seq, key, len(encoded), timing)
        return seq

    def _tell(self, frame: Frame, image: NDArray[np.uint8], seq: int, key: str, jpeg_bytes: int, timing: StageTiming) -> None:
        now_ns = self._clock.now_ns()
        camera = self._settings.name
        notice = FrameNotice(
            camera=camera,
            seq=seq,
            captured_at_ns=frame.captured_at_ns,
            published_at_ns=now_ns,
            key=key,
            width_px=frame.image.shape[1],
            height_px=frame.image.shape[0],
            stored_width_px=image.shape[1],
            stored_height_px=image.shape[0],
            jpeg_bytes=jpeg_bytes,
            stages=(timing,),
        )
        self._status.count("frames" if self._bus.publish(notice, "frames", camera) else "frames_untold")
        self._status.age((now_ns - frame.captured_at_ns) / 1e6)

    def close(self) -> None:
        """The camera is no longer read here: its trouble with the store is no trouble any more."""
        self._status.sound(self._trouble)
