"""The camera service: sources in, frames and notices out."""

from __future__ import annotations

import os
import threading

from common.config import CameraSettings, CamerasPart
from common.leases import Leases
from common.service import Service
from common.topics import check_name
from services.camera.publish import FramePublisher, Sequences
from services.camera.sources import Source, open_source
from services.camera.supervisor import Supervisor
from services.camera.worker import CameraWorker


def allowed_cameras(text: str | None) -> frozenset[str] | None:
    """POSEBUS_CAMERAS: a comma list of camera names that this instance may read; None (all) when unset or empty.

    Raises ValueError that names a wrong name.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    return frozenset(check_name("POSEBUS_CAMERAS", name) for name in names) or None


def run(service: Service) -> None:
    """Read cameras until the service stops."""
    sequences = Sequences(service.clock)

    def opened(settings: CameraSettings, stopping: threading.Event) -> Source:
        return open_source(settings, clock=service.clock, stopping=stopping, max_lag_s=service.general.max_age_s)

    def make_worker(settings: CameraSettings, before: CameraWorker | None) -> CameraWorker:
        outlet = FramePublisher(
            settings,
            frames=service.frames,
            bus=service.bus,
            clock=service.clock,
            status=service.status,
            sequences=sequences,
            instance=service.instance,
        )
        return CameraWorker(
            settings, open_source=opened, outlet=outlet, clock=service.clock, status=service.status, after=before
        )

    supervisor = Supervisor(
        make_worker=make_worker,
        leases=Leases(service.state, "camera", service.instance),
        status=service.status,
        allowed=allowed_cameras(os.environ.get("POSEBUS_CAMERAS")),
    )
    _supervise(service, supervisor)


def _supervise(service: Service, supervisor: Supervisor) -> None:
    """Run the supervisor on a thread, so that a store that hangs does not keep the service from stopping."""
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            supervisor.run(service.stopping)
        except BaseException as error:
            failures.append(error)

    def on_sources(part: CamerasPart) -> None:
        supervisor.configure(part)
        if not was_configured.is_set():
            was_configured.set()
            service.status.ready()

    was_configured = threading.Event()
    service.watch_config("sources", CamerasPart, on_sources)
    thread = threading.Thread(target=loop, name="supervisor", daemon=True)
    thread.start()
    while not service.stopping.wait(0.2):
        if failures:
            raise failures[0]
    thread.join(0.5)
    supervisor.close()
