"""One frame after another through camera, detector, pose and analytics, with the product's own functions, every part timed.

All stages run in one thread of one process, each with its own connection to the real broker and store, so that nothing
overlaps: the sum of the parts is the time that a frame takes. Nothing is patched: timers stand where the product takes an
engine, a bus, a store or a model as an argument.
"""

from __future__ import annotations

import queue
import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from benchmarks._stack import Stack
from common import messages
from common.bus import Bus
from common.claims import Claim, Claims
from common.clock import StoreClock
from common.config import AnalyticsSettings, CameraSettings, DetectorSettings, PoseSettings, SiteSettings, ZoneSettings
from common.frames import FrameStore, connect_store
from common.messages import FrameNotice, PeopleFound, Person, PosesFound
from common.runtimes.base import Batch, Outputs
from common.service import Service
from common.status import StatusReporter
from common.worker import Taken
from services.analytics.pipeline import CameraPipeline
from services.camera.publish import FramePublisher, Sequences
from services.camera.sources.base import Frame
from services.detector.detect import Detections, load_detector
from services.detector.service import detect_frame
from services.pose.estimate import load_estimator
from services.pose.service import pose_frame

SITE, CAMERA = "overhead", "cam"
CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
ENGINES = ("detector engine", "pose engine")

# (stage, part, what it is), in the order of a frame's way. The bus is timed from publish to handler, the message in and out.
PARTS: tuple[tuple[str, str, str], ...] = (
    ("camera", "camera encode", "scale, mask, JPEG"),
    ("camera", "camera store", "put into the frame store"),
    ("camera", "camera bus", "message out, broker, message in"),
    ("detector", "detector store", "claim and fetch"),
    ("detector", "detector decode", "JPEG decode"),
    ("detector", "detector fit", "resize, colours, batch"),
    ("detector", "detector engine", "inference"),
    ("detector", "detector parse", "boxes, thresholds, NMS"),
    ("detector", "detector bus", "message out, broker, message in"),
    ("pose", "pose store", "claim and fetch"),
    ("pose", "pose decode", "JPEG decode, boxes"),
    ("pose", "pose crop", "affine crops, batch"),
    ("pose", "pose engine", "inference"),
    ("pose", "pose parse", "keypoints of all people"),
    ("pose", "pose bus", "message out, broker, message in"),
    ("analytics", "analytics", "track, rules"),
)


class Timer:
    """Splits a stretch of time into named parts: `split(name)` gives that part all since the last split."""

    def __init__(self) -> None:
        self.parts_ms: dict[str, float] = defaultdict(float)
        self._last_s = 0.0

    def begin(self) -> None:
        self.parts_ms = defaultdict(float)
        self._last_s = time.perf_counter()

    def split(self, name: str) -> None:
        now_s = time.perf_counter()
        self.parts_ms[name] += (now_s - self._last_s) * 1e3
        self._last_s = now_s


class TimedEngine:
    """An engine; what comes before it within a stage is preparation, what comes after is parsing."""

    def __init__(self, inner: Any, timer: Timer, before: str, name: str) -> None:
        self._inner, self._timer, self._before, self._part = inner, timer, before, name
        self.name: str = inner.name
        self.device: str = inner.device

    def run(self, batch: Batch) -> Outputs:
        self._timer.split(self._before)
        outputs: Outputs = self._inner.run(batch)
        self._timer.split(self._part)
        return outputs

    def close(self) -> None:
        self._inner.close()


class TimedModel:
    """A detector or estimator whose call ends one part and begins the next."""

    def __init__(self, inner: Any, timer: Timer, before: str, after: str) -> None:
        self._inner, self._timer, self._before, self._after = inner, timer, before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        return cast(Detections, self._timed(self._inner.detect, image))

    def estimate(self, *arguments: NDArray[Any]) -> NDArray[np.float32]:
        return cast("NDArray[np.float32]", self._timed(self._inner.estimate, *arguments))

    def _timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        self._timer.split(self._before)
        result = call(*arguments)
        self._timer.split(self._after)
        return result


class Line:
    """The bus between two stages: publishes on one connection, hears on another."""

    def __init__(self, stack: Stack, name: str, topic: str) -> None:
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.out = Bus(stack.bus_url, site=SITE, client_id=f"{name}-out", protocol=stack.protocol)
        self._into = Bus(stack.bus_url, site=SITE, client_id=f"{name}-in", protocol=stack.protocol)
        self._into.subscribe(lambda message, levels: self._heard.put(message), topic, "+")
        for bus in (self.out, self._into):
            bus.start()
            if not bus.wait_connected(10):
                raise RuntimeError(f"no broker: {bus.last_error}")
        time.sleep(0.2)  # the subscription is confirmed after the connection

    def publish(self, message: Struct, name: str, *levels: str) -> bool:
        return self.out.publish(message, name, *levels)

    def hear(self) -> Any:
        """The next message, as the next stage's handler gets it."""
        return self._heard.get(timeout=5)

    def close(self) -> None:
        self.out.stop()
        self._into.stop()


class Chain:
    """The whole way of a frame."""

    def __init__(self, stack: Stack, *, model: str) -> None:
        self.timer = Timer()
        self._store = connect_store(stack.frames_url)
        self._frames = FrameStore(self._store, ttl_s=10)
        self._clock = StoreClock(self._store)
        self._clock.sync()
        self._lines = {topic: Line(stack, topic, topic) for topic in ("frames", "people", "poses")}
        self._camera = self._make_camera()
        self._claims = {stage: Claims(self._store, stage, "one", max_age_s=10) for stage in ("detector", "pose")}
        self._detector = load_detector(DetectorSettings(model=model))
        self._detector.engine = TimedEngine(self._detector.engine, self.timer, "detector fit", "detector engine")
        self._estimator = load_estimator(PoseSettings(model=model))
        self._estimator.engine = TimedEngine(self._estimator.engine, self.timer, "pose crop", "pose engine")
        zone = ZoneSettings(name="all", polygon=CORNERS, kind="count")
        self._pipeline = CameraPipeline(SITE, CameraSettings(name=CAMERA, source="none", zones=(zone,)), AnalyticsSettings())

    def frame(self, image: NDArray[np.uint8], boxes: list[messages.Box]) -> dict[str, float]:
        """Send one frame through; the pose stage gets `boxes` in place of what was detected. Milliseconds by part."""
        timer = self.timer
        captured = Frame(image=image.copy(), captured_at_ns=self._clock.now_ns())
        timer.begin()
        self._camera.publish(captured)
        notice = self._hear("frames", "camera bus")
        self._detect(notice)
        people = self._hear("people", "detector bus")
        wanted = tuple(Person(box_xyxy_px=box, score=0.9) for box in boxes)
        people = msgspec.structs.replace(people, people=wanted)
        timer.split("not counted")
        self._pose(people)
        poses = cast(PosesFound, self._hear("poses", "pose bus"))
        self._pipeline.update(poses)
        timer.split("analytics")
        timer.parts_ms.pop("not counted")
        return timer.parts_ms

    def close(self) -> None:
        self._detector.close()
        self._estimator.close()
        for line in self._lines.values():
            line.close()
        self._store.close()

    def _hear(self, topic: str, part: str) -> Any:
        message = self._lines[topic].hear()
        self.timer.split(part)
        return message

    def _detect(self, notice: FrameNotice) -> None:
        taken = self._take("detector", notice)
        model = TimedModel(self._detector, self.timer, "detector decode", "detector parse")
        detect_frame(self._service("people"), taken, cast(Any, model))

    def _pose(self, people: PeopleFound) -> None:
        taken = self._take("pose", people)
        model = TimedModel(self._estimator, self.timer, "pose decode", "pose parse")
        pose_frame(self._service("poses"), taken, cast(Any, model), PoseSettings(max_people=len(people.people)))

    def _take(self, stage: str, notice: Any) -> Taken[Any]:
        started_s = self._clock.monotonic_s()
        outcome, jpeg = self._claims[stage].take(notice.camera, notice.seq, notice.key)
        if outcome is not Claim.WON:
            raise RuntimeError(f"the {stage} stage did not get its frame: {outcome}")
        self.timer.split(f"{stage} store")
        return Taken(notice, jpeg, 0.0, 0.0, started_s)

    def _service(self, topic: str) -> Service:
        service = SimpleNamespace(
            clock=self._clock, instance="one", bus=self._lines[topic], status=self._status(), general=SiteSettings(max_age_s=30)
        )
        return cast(Service, service)

    def _status(self) -> StatusReporter:
        return StatusReporter("overhead", "one", self._clock, lambda status: None)

    def _make_camera(self) -> FramePublisher:
        timer, frames = self.timer, self._frames

        class TimedStore:
            def put(self, camera: str, seq: int, jpeg: bytes) -> str:
                timer.split("camera encode")
                key = frames.put(camera, seq, jpeg)
                timer.split("camera store")
                return key

        settings = CameraSettings(name=CAMERA, source="none")
        return FramePublisher(
            settings,
            frames=cast(FrameStore, TimedStore()),
            bus=self._lines["frames"],
            clock=self._clock,
            status=self._status(),
            sequences=Sequences(self._clock),
            instance="one",
        )
