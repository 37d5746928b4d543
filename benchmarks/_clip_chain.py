"""Clips through the detector and pose stages and analytics, offline: the services' own functions, without bus and stores.

Nothing is dropped for its age, so alerts do not depend on the machine; what each stage spends is measured on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks._video import sampled
from common.config import AnalyticsSettings, CameraSettings, DetectorSettings, PoseSettings, SiteSettings
from common.geometry import Image
from common.imaging import jpeg_size  # imported before OpenCV: it limits what OpenCV decodes
from common.messages import Alert, FrameNotice, PeopleFound, PosesFound, TracksUpdated
from common.service import Service
from common.status import StatusReporter
from common.worker import Taken
from services.analytics.pipeline import CameraPipeline
from services.detector.detect import load_detector
from services.detector.second_look_memory import SecondLook
from services.detector.service import detect_frame
from services.pose.estimate import load_estimator
from services.pose.service import pose_frame

import cv2  # isort: skip

START_NS = 1_700_000_000_000_000_000
EVER_S = 30.0  # frames may be so old: slow machines must raise the same alerts


class ClipClock:
    """Time of the clip: of the frame at hand, plus what its processing has taken."""

    def __init__(self) -> None:
        self._frame_ns, self._began_s = START_NS, time.monotonic()

    def begin(self, captured_at_ns: int) -> None:
        self._frame_ns, self._began_s = captured_at_ns, time.monotonic()

    def now_ns(self) -> int:
        return self._frame_ns + round((time.monotonic() - self._began_s) * 1e9)

    def monotonic_s(self) -> float:
        """Of the clip, so that what waits between second looks waits as long as in real time."""
        return self.now_ns() / 1e9

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class Spent:
    """Processor time of one frame, all threads, and its service time by the clock, milliseconds. looks: second ones."""

    detector_cpu_ms: float
    pose_cpu_ms: float
    detector_ms: float
    pose_ms: float
    people: int
    looks: int


@dataclass
class Played:
    """What came of one clip. raised: (kind, seconds of the clip); tracks: the lists of each frame."""

    spent: list[Spent] = field(default_factory=list)
    raised: list[tuple[str, float]] = field(default_factory=list)
    poses: list[PosesFound] = field(default_factory=list)


class ClipChain:
    """Two networks, loaded once, and what they and analytics make of clips."""

    def __init__(self, detector: DetectorSettings, pose: PoseSettings) -> None:
        self.settings = detector, pose
        self.detector, self.estimator = load_detector(detector), load_estimator(pose)
        self._clock = ClipClock()
        self._published: list[Any] = []
        status = StatusReporter("clip", "one", self._clock, lambda status: None)
        bus = SimpleNamespace(publish=lambda message, *levels: self._published.append(message) or True)
        self._service = cast(
            Service,
            SimpleNamespace(clock=self._clock, instance="one", bus=bus, status=status, general=SiteSettings(max_age_s=EVER_S)),
        )
        self.play: Played
        self.open(CameraSettings(name="clip", source="clip"))

    def open(self, camera: CameraSettings) -> None:
        """Begin another clip: nobody is known, nothing was seen."""
        self._camera = camera
        self._pipeline = CameraPipeline("clip", camera, AnalyticsSettings())
        self._again = SecondLook(monotonic_s=self._clock.monotonic_s)
        self.play = Played()

    def frame(self, seq: int, at_s: float, jpeg: bytes, size_px: tuple[int, int]) -> None:
        """One frame, in order; size_px: (width, height) as captured."""
        captured_ns = START_NS + round(at_s * 1e9)
        self._clock.begin(captured_ns)
        stored = jpeg_size(jpeg)
        notice = FrameNotice(
            camera=self._camera.name, seq=seq, captured_at_ns=captured_ns, published_at_ns=captured_ns, key="",
            width_px=size_px[0], height_px=size_px[1], stored_width_px=stored[0], stored_height_px=stored[1],
            jpeg_bytes=len(jpeg),
        )  # fmt: skip
        looked = self._again.counters["second_looks"]
        people, first = self._stage(self._detect, notice, jpeg)
        poses, second = self._stage(self._pose, people, jpeg)
        outcome = self._pipeline.update(cast(PosesFound, poses))
        self._again.hear(
            TracksUpdated(
                camera=notice.camera, seq=seq, captured_at_ns=captured_ns, published_at_ns=self._clock.now_ns(),
                width_px=size_px[0], height_px=size_px[1], tracks=outcome.tracks,
            )
        )  # fmt: skip
        looks = self._again.counters["second_looks"] - looked
        self.play.spent.append(Spent(first, second, _service_ms(people), _service_ms(poses), len(people.people), looks))
        self.play.poses.append(poses)
        self.play.raised += [(alert.kind, _clip_s(alert)) for alert in outcome.alerts if alert.event == "raised"]

    def close(self) -> None:
        self.detector.close()
        self.estimator.close()

    def _detect(self, taken: Taken[FrameNotice]) -> None:
        detect_frame(self._service, taken, self.detector, self._again, self.settings[0].second_look)

    def _pose(self, taken: Taken[PeopleFound]) -> None:
        pose_frame(self._service, taken, self.estimator, self.settings[1])

    def _stage(self, handle: Callable[[Taken[Any]], None], notice: Any, jpeg: bytes) -> tuple[Any, float]:
        """What one stage publishes of a frame, and the processor time that it took, milliseconds."""
        before = time.process_time()
        handle(Taken(notice, jpeg, 0.0, 0.0, self._clock.monotonic_s()))
        spent_ms = (time.process_time() - before) * 1e3
        return self._published.pop(), spent_ms


def frames(clip: Path, camera: CameraSettings) -> Iterator[tuple[float, bytes, tuple[int, int]]]:
    """(seconds, JPEG, size as captured) at the camera's rate, as its service would store them."""
    return ((at_s, _jpeg(image, camera), (image.shape[1], image.shape[0])) for at_s, image in sampled(clip, camera.fps))


def _jpeg(image: Image, camera: CameraSettings) -> bytes:
    scale = camera.max_side_px / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg_quality])
    return content.tobytes()


def _service_ms(message: PeopleFound | PosesFound) -> float:
    return message.stages[-1].service_ms


def _clip_s(alert: Alert) -> float:
    return round((alert.raised_at_ns - START_NS) / 1e9, 2)
