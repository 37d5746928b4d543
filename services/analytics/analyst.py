"""The analysing thread's work: messages in, tracks out, commits submitted. Talks to no store."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from common.clock import Clock
from common.config import AnalyticsSettings, CameraSettings
from common.messages import PosesFound, StageTiming, TracksUpdated
from services.analytics.jobs import After, Change
from services.analytics.pipeline import CameraPipeline, Outcome
from services.analytics.reorder import Reorder, Workers

log = logging.getLogger(__name__)

STANDBY_S = 6.0  # of frames kept for cameras of others: a failover takes up to 4 s and its state may be 1 s old
STANDBY_FRAMES = 400
SAVE_S = 1.0

Count = Callable[[str, int], None]
Submit = Callable[[str, int, bytes, "Outcome | None", After], None]
Publish = Callable[[TracksUpdated], None]


@dataclass
class Watched:
    """A camera that is ours."""

    pipeline: CameraPipeline
    order: Reorder[PosesFound]
    turn: int  # of the change that made it ours
    saved_s: float
    workers: Workers = field(default_factory=Workers)
    told: Counter[str] = field(default_factory=Counter)


class Analyst:
    """Analyses the cameras that are ours, and remembers the last seconds of the others, to take over without a gap.

    publish: sends tracks. submit(camera, turn, state, outcome, after): commits. count(name, n): counters of the status.
    """

    def __init__(
        self, site: str, instance: str, clock: Clock, *, publish: Publish, submit: Submit, count: Count
    ) -> None:  # fmt: skip
        self._site, self._instance, self._clock = site, instance, clock
        self._publish, self._submit, self._count = publish, submit, count
        self._settings = AnalyticsSettings()
        self._cameras: dict[str, CameraSettings] = {}
        self._watched: dict[str, Watched] = {}
        self._standby: dict[str, deque[PosesFound]] = {}
        self.max_age_s = 1.0

    @property
    def watched(self) -> dict[str, Watched]:
        """The cameras that are ours."""
        return self._watched

    def configure(self, cameras: tuple[CameraSettings, ...], settings: AnalyticsSettings) -> None:
        """Apply settings between two frames."""
        wanted = {camera.name: camera for camera in cameras}
        for name in [name for name in self._watched if name not in wanted]:
            watched = self._watched.pop(name)
            outcome = watched.pipeline.close("camera removed")
            self._submit(name, watched.turn, watched.pipeline.dump(), outcome, "remove")
        for name, watched in self._watched.items():
            if (wanted[name], settings) != (self._cameras.get(name), self._settings):
                outcome = watched.pipeline.configure(wanted[name], settings)
                self._submit(name, watched.turn, watched.pipeline.dump(), outcome, "keep")
        self._cameras, self._settings = wanted, settings
        self._standby = {name: kept for name, kept in self._standby.items() if name in wanted}

    def repeat(self) -> None:
        """Say all retained states again: a broker that came back may have forgotten them."""
        for name, watched in self._watched.items():
            self._save(name, watched, watched.pipeline.configure(self._cameras[name], self._settings))

    def change(self, change: Change) -> None:
        """Take or leave a camera, as the keeper says."""
        if change.kind == "own":
            self._take(change)
        elif change.kind == "hand_back":
            watched = self._watched.pop(change.camera, None)
            if watched is not None:
                self._submit(change.camera, watched.turn, watched.pipeline.dump(), None, "release")
        else:
            self._watched.pop(change.camera, None)

    def hear(self, poses: PosesFound) -> None:
        """Take one message."""
        if poses.camera not in self._cameras:
            self._count("unknown_camera", 1)
            return
        self._remember(poses)
        watched = self._watched.get(poses.camera)
        if watched is None:
            return
        age_s = (self._clock.now_ns() - poses.captured_at_ns) / 1e9
        if abs(age_s) > self.max_age_s:
            self._count("stale" if age_s > 0 else "from_the_future", 1)
            return
        now_s = self._clock.monotonic_s()
        way = tuple(timing.instance for timing in poses.stages if timing.stage in ("detector", "pose"))
        may_overtake = watched.workers.may_overtake(way, now_s)
        watched.order.window_s = self._settings.reorder_ms / 1e3 if may_overtake else 0.0
        self._analyse(poses.camera, watched, watched.order.push(poses, now_s))

    def poll(self) -> None:
        """Do what is due without a message: gaps given up, silence, the save of each second."""
        now_s = self._clock.monotonic_s()
        for camera, watched in self._watched.items():
            self._analyse(camera, watched, watched.order.poll(now_s))
            outcome = watched.pipeline.tick(self._clock.now_ns())
            news = bool(outcome.alerts or outcome.states or outcome.occupancy)
            if news or now_s - watched.saved_s >= SAVE_S:
                self._save(camera, watched, outcome)

    def wait_s(self, longest_s: float) -> float:
        """How long nothing will be due."""
        deadlines = [watched.order.deadline_s() for watched in self._watched.values()]
        nearest = min((deadline for deadline in deadlines if deadline is not None), default=None)
        return longest_s if nearest is None else min(max(nearest - self._clock.monotonic_s(), 0.001), longest_s)

    def finish(self) -> None:
        """Hand everything back."""
        for camera, watched in self._watched.items():
            self._submit(camera, watched.turn, watched.pipeline.dump(), None, "release")
        self._watched.clear()

    def _take(self, change: Change) -> None:
        camera, state = change.camera, change.state
        settings = self._cameras.get(camera)
        if settings is None:  # removed while it was being taken
            pipeline = CameraPipeline(self._site, CameraSettings(name=camera, source=""), self._settings)
            if state is not None:
                pipeline.load(state)
            outcome = pipeline.close("camera removed")
            self._submit(camera, change.turn, pipeline.dump(), outcome, "remove")
            return
        pipeline = CameraPipeline(self._site, settings, self._settings)
        if state is not None and not pipeline.load(state):
            self._count("states_unreadable", 1)
        watched = Watched(pipeline, Reorder(self._settings.reorder_ms / 1e3), change.turn, self._clock.monotonic_s())
        self._watched[camera] = watched
        self._save(camera, watched, pipeline.configure(settings, self._settings))
        missed = sorted(self._standby.get(camera, ()), key=lambda poses: poses.seq)
        for poses in missed:
            if poses.seq > pipeline.seq:
                self._count("caught_up", 1)
                self._save(camera, watched, pipeline.update(poses))
        watched.order.start_after(pipeline.seq, pipeline.captured_at_ns)

    def _remember(self, poses: PosesFound) -> None:
        kept = self._standby.setdefault(poses.camera, deque(maxlen=STANDBY_FRAMES))
        kept.append(poses)
        while kept and poses.captured_at_ns - kept[0].captured_at_ns > STANDBY_S * 1e9:
            kept.popleft()

    def _analyse(self, camera: str, watched: Watched, due: list[PosesFound]) -> None:
        for poses in due:
            began_ns, began_s = self._clock.now_ns(), self._clock.monotonic_s()
            outcome = watched.pipeline.update(poses)
            now_ns = self._clock.now_ns()
            timing = StageTiming(
                stage="analytics", instance=self._instance,
                wait_ms=round(max(began_ns - poses.published_at_ns, 0) / 1e6, 3),
                service_ms=round((self._clock.monotonic_s() - began_s) * 1e3, 3),
            )  # fmt: skip
            self._publish(
                TracksUpdated(
                    camera=camera, seq=poses.seq, captured_at_ns=poses.captured_at_ns, published_at_ns=now_ns,
                    width_px=poses.width_px, height_px=poses.height_px, tracks=outcome.tracks,
                    stages=(*poses.stages, timing),
                )
            )  # fmt: skip
            self._count("frames", 1)
            if outcome.changed or outcome.alerts or outcome.states or outcome.occupancy:
                self._save(camera, watched, outcome)
        self._tell_counters(watched)

    def _save(self, camera: str, watched: Watched, outcome: Outcome) -> None:
        watched.saved_s = self._clock.monotonic_s()
        self._submit(camera, watched.turn, watched.pipeline.dump(), outcome, "keep")

    def _tell_counters(self, watched: Watched) -> None:
        for name, value in watched.order.counters.items():
            if value != watched.told[name]:
                self._count(name, value - watched.told[name])
                watched.told[name] = value
