"""Real services as processes against a real stack, configured over the bus, as `posebus up` does it."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks._report import REPO
from benchmarks._stack import Stack
from common import config
from common.bus import Bus
from common.messages import ServiceStatus
from posebus.processes import Child, Watchdog

SIZE_PX = (640, 480)
BRIGHT = 235  # what the runtime `fake` takes for a person


class Fleet:
    """Starts services, waits until they are ready, and ends them all on leaving."""

    def __init__(self, stack: Stack, *, site: str) -> None:
        self._stack = stack
        self.site = site
        self._folder = tempfile.TemporaryDirectory(prefix="posebus-bench-")
        self.folder = Path(self._folder.name)
        self._watchdog = Watchdog()
        self._children: dict[str, Child] = {}
        self.statuses: dict[str, ServiceStatus] = {}
        self._heard = threading.Condition()
        self.bus = Bus(stack.bus_url, site=site, client_id="benchmark", protocol=stack.protocol)

    def __enter__(self) -> Fleet:
        self.bus.subscribe(self._on_status, "status", "+", "+")
        self.bus.start()
        if not self.bus.wait_connected(10):
            raise RuntimeError(f"no broker: {self.bus.last_error}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            child.wait(5)
            child.kill()
        self._watchdog.close()
        self.bus.stop()
        self._folder.cleanup()

    def configure(self, settings: config.PosebusConfig) -> None:
        """Publish a configuration."""
        for name, part in config.split(settings).items():
            self.bus.publish(part, "config", name)

    def start(self, service: str, instance: str, **variables: str) -> None:
        """Start a service; `instance` is its name here and on the bus."""
        environment = {
            **self._stack.environment(),
            "POSEBUS_SITE": self.site,
            "POSEBUS_INSTANCE": instance,
            "POSEBUS_HEALTH_FILE": str(self.folder / f"{instance}.health"),
            **variables,
        }
        self._children[instance] = Child(
            instance, [sys.executable, "-m", f"services.{service}"], log=self.folder / f"{instance}.log",
            watchdog=self._watchdog, env=environment, cwd=REPO,
        )  # fmt: skip

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until all that were started are ready; raises RuntimeError with the log of one that is not."""

        def missing() -> list[str]:
            return [name for name in self._children if (s := self.statuses.get(name)) is None or s.state != "ready"]

        with self._heard:
            if not self._heard.wait_for(lambda: not missing() or self.ended() != [], timeout_s) or missing():
                name = (self.ended() or missing())[0]
                raise RuntimeError(f"{name} did not get ready: {self._children[name].log_tail(12)}")

    def ended(self) -> list[str]:
        """Services that are no longer there."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of services, broker and stores, by name."""
        return {name: child.pid for name, child in self._children.items()} | self._stack.pids

    def _on_status(self, status: ServiceStatus | None, levels: tuple[str, ...]) -> None:
        if status is not None:
            with self._heard:
                self.statuses[levels[-1]] = status
                self._heard.notify_all()


def make_clip(path: Path, *, fps: float, seconds: float, people: int) -> Path:
    """Write a looping clip, 640 x 480: a textured room with sensor noise, and bright rectangles that sway, as people."""
    width, height = SIZE_PX
    dice = np.random.default_rng(3)
    room = cv2.resize(dice.integers(30, 150, (12, 16, 3), np.uint8), SIZE_PX, interpolation=cv2.INTER_CUBIC)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, SIZE_PX)
    if not video.isOpened():
        raise RuntimeError("OpenCV cannot write MPEG-4 here")
    count = max(round(fps * seconds), 2)
    for i in range(count):
        noise: NDArray[np.uint8] = dice.integers(0, 12, (height, width, 1), np.uint8)
        image = cv2.add(room, np.repeat(noise, 3, axis=2))
        sway = round(12 * np.sin(2 * np.pi * i / count))
        for person in range(people):
            left = 40 + person * (width - 80) // max(people, 1) + sway
            cv2.rectangle(image, (left, 120), (left + 60, 400), (BRIGHT, BRIGHT, BRIGHT), cv2.FILLED)
        video.write(image)
    video.release()
    return path
