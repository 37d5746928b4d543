"""The frame of a stateless stage: hear, claim, run the model, publish; the stage itself only says what to do with a frame."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from common import config
from common.artifact import Artifact
from common.claims import Claims
from common.frames import StoreError
from common.manifest import DeviceLost
from common.messages import ActiveModel, FrameNotice, PeopleFound, ServiceStatus, StageTiming
from common.model_slot import ModelSlot
from common.runtimes.base import Engine
from common.service import STATUS_INTERVAL_S, Service
from common.worker import ClaimWorker, Taken

log = logging.getLogger(__name__)

POLL_S = 0.25
RELOAD_AFTER = 5  # failures in a row: the device may have been away
RELOAD_EVERY_S = 10.0
PAUSE_MAX_S = 2.0
LOG_INTERVAL_S = 60.0
PEER_SILENT_S = 3 * STATUS_INTERVAL_S


class StageModel(Protocol):
    """A loaded model of a stage."""

    @property
    def artifact(self) -> Artifact: ...
    @property
    def engine(self) -> Engine: ...
    def self_check(self) -> None:
        """Run once on a made-up picture; raises ModelError unless the answer has the right form."""
        ...

    def close(self) -> None: ...


S = TypeVar("S", bound=config.StageSettings)
T = TypeVar("T", bound=StageModel)
N = TypeVar("N", FrameNotice, PeopleFound)


class Stage(Generic[N, S, T]):
    """One worker of a stage.

    kind: the stage's settings, in the configuration part of the service's name. load(settings): makes the model. handle(taken,
    model, settings): does the work of one frame and publishes the result. needs_pixels: whether a notice needs its frame.
    """

    def __init__(
        self,
        service: Service,
        kind: type[S],
        *,
        load: Callable[[S], T],
        handle: Callable[[Taken[N], T, S], None],
        needs_pixels: Callable[[N], bool] = lambda notice: True,
    ) -> None:
        self._service = service
        self._load = load
        self._handle: Callable[[Taken[N], T, S], None] = handle
        self._settings: S
        self._active: ActiveModel | None = None
        self._peers: dict[str, float] = {}  # instance -> when it last spoke, monotonic
        self._failures = 0
        self._lost: DeviceLost | None = None  # by the thread that loads models
        self._failed_log_s = -LOG_INTERVAL_S
        self._reload_s = -RELOAD_EVERY_S
        status = service.status
        self.worker: ClaimWorker[N] = ClaimWorker(
            Claims(service.frames.store, service.name, service.instance, max_age_s=service.general.max_age_s),
            service.clock,
            max_age_s=service.general.max_age_s,
            count=status.count,
            needs_pixels=needs_pixels,
            on_store=self._on_store,
        )
        service.bus.subscribe(self._on_active, "models", service.name)
        service.bus.subscribe(self._on_peer, "status", service.name, "+")
        self._settings = service.wait_config(service.name, kind)
        self.slot: ModelSlot[T] = ModelSlot(self._load_named, on_ready=self._on_ready, on_refused=self._on_refused)
        self._request()
        service.watch_config(service.name, kind, self._on_settings)

    @property
    def settings(self) -> S:
        """Those in force."""
        return self._settings

    def run(self, topic: str) -> None:
        """Work on what is announced under `topic` until the service stops.

        Raises DeviceLost, for the process to end and to be started again: no reload can help it, and it must not claim frames
        that its peers can still do.
        """
        service = self._service
        service.bus.subscribe(lambda message, levels: self.worker.hear(message), topic, "+")
        try:
            while not service.stopping.is_set():
                if self._lost is not None:
                    raise self._lost
                self._count_peers()
                model = self.slot.current()
                if model is None:
                    service.stopping.wait(0.05)
                    continue
                taken = self.worker.next(POLL_S, service.stopping)
                if taken is not None:
                    self._work(taken, model)
        finally:
            self.slot.close()

    def _work(self, taken: Taken[N], model: T) -> None:
        try:
            self._handle(taken, model, self._settings)
        except DeviceLost:
            raise
        except Exception as error:  # one bad frame, or a device that comes back by itself, must not end the service
            self._failed(taken, error)
            return
        if self._failures:
            self._service.status.sound("frames")
        self._failures = 0
        self.worker.done(taken)  # of good frames only: one that fails at once would win every claim from its peers

    def _failed(self, taken: Taken[N], error: Exception) -> None:
        """Say it, and when it goes on so, load the model again and leave the frames to other workers for a while."""
        self._failures += 1
        self._service.status.count("frame_errors")
        self._service.status.degraded(f"frame of camera {taken.notice.camera!r}: {error}", about="frames")
        now = time.monotonic()
        if now - self._failed_log_s >= LOG_INTERVAL_S:
            self._failed_log_s = now
            log.error("frame failed camera=%s seq=%d", taken.notice.camera, taken.notice.seq, exc_info=error)
        if self._failures < RELOAD_AFTER:
            return
        if now - self._reload_s >= RELOAD_EVERY_S:
            self._reload_s = now
            self._request()
        self._service.stopping.wait(min(0.05 * self._failures, PAUSE_MAX_S))

    def _on_active(self, message: ActiveModel | None, _levels: tuple[str, ...]) -> None:
        self._active = message
        if hasattr(self, "slot"):
            self._request()

    def _on_settings(self, settings: S) -> None:
        if settings != self._settings:
            self._settings = settings
            self._request()

    def _request(self) -> None:
        self.slot.request(self._active.artifact if self._active else self._settings.model)

    def _load_named(self, name: str) -> T:
        model = self._load(self._settings.model_copy(update={"model": name}))
        try:
            model.self_check()
        except Exception:
            model.close()
            raise
        return model

    def _on_ready(self, name: str, model: T) -> None:
        self._failures = 0
        self._service.status.sound("model")
        self._service.status.ready(
            model=str(model.artifact), runtime=model.engine.name, device=model.engine.device, model_error=None
        )

    def _on_refused(self, name: str, error: Exception) -> None:
        if isinstance(error, DeviceLost):
            self._lost = error
        self._service.status.set(model_error=f"{name}: {error}")
        if not self.slot.is_loaded:
            self._service.status.degraded(f"no model yet: {name}: {error}", about="model")

    def _on_store(self, error: StoreError | None) -> None:
        if error is None:
            self._service.status.sound("store")
        else:
            self._service.status.degraded(str(error), about="store")

    def _on_peer(self, status: ServiceStatus | None, levels: tuple[str, ...]) -> None:
        instance = levels[-1]
        if instance == self._service.instance:
            return
        if status is None or status.state == "offline":
            self._peers.pop(instance, None)
        else:
            self._peers[instance] = time.monotonic()

    def _count_peers(self) -> None:
        """Without a peer that spoke lately we are alone; a retained status may be of one that died unheard."""
        limit_s = time.monotonic() - PEER_SILENT_S
        self.worker.alone = not any(spoke_s > limit_s for spoke_s in tuple(self._peers.values()))


def publication_ns(service: Service, captured_at_ns: int) -> int | None:
    """The time of publication, now, its age noted in the status; None when the work has taken until the frame was too old."""
    now_ns = service.clock.now_ns()
    if now_ns - captured_at_ns > service.general.max_age_s * 1e9:
        service.status.count("stale_results")
        return None
    service.status.age((now_ns - captured_at_ns) / 1e6)
    return now_ns


def stage_timing(
    service: Service, taken: Taken[FrameNotice] | Taken[PeopleFound], stage: str, infer_ms: float
) -> StageTiming:
    """What the stage spent on one frame until now."""
    return StageTiming(
        stage=stage,
        instance=service.instance,
        wait_ms=round(taken.wait_ms, 3),
        fetch_ms=round(taken.fetch_ms, 3),
        infer_ms=round(infer_ms, 3),
        service_ms=round((service.clock.monotonic_s() - taken.started_s) * 1e3, 3),
    )
