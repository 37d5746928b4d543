"""A camera of which only the poses exist: a made-up person who walks into a restricted zone and out of it, again and again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np

from common.bus import Bus
from common.clock import Clock
from common.messages import Keypoint, PosedPerson, PosesFound, StageTiming
from common.runtimes.fake import STANDING

WIDTH_PX, HEIGHT_PX = 640, 480
BODY_PX = (90.0, 300.0)
LASTING_S = 0.5  # inside for so long counts as an entry
SWING = 0.2  # of the width, to either side of the zone's border in the middle
RESTRICTED = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


class Walker:
    """Publishes poses of one camera, fps a second; each `period_s` the person enters the right half once and leaves it."""

    def __init__(self, bus: Bus, clock: Clock, camera: str, *, fps: float, period_s: float, phase: float) -> None:
        self._bus, self._clock, self._camera = bus, clock, camera
        self._fps, self._period_s, self._phase = fps, period_s, phase
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"walker-{camera}", daemon=True)
        self.entries = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        seq, began_s, inside = self._clock.now_ns() // 1_000_000, time.monotonic(), 0
        for frame in range(1_000_000):
            if self._over.wait(max(began_s + frame / self._fps - time.monotonic(), 0.0)):
                return
            x = 0.5 + SWING * math.sin(2 * math.pi * (frame / self._fps / self._period_s + self._phase))
            inside = inside + 1 if x > 0.5 else 0
            self.entries += inside == max(round(self._fps * LASTING_S), 1)
            self._bus.publish(self._poses(seq + frame, x), "poses", self._camera)

    def _poses(self, seq: int, x: float) -> PosesFound:
        now_ns = self._clock.now_ns()
        width, height = BODY_PX
        left, top = x * WIDTH_PX - width / 2, HEIGHT_PX - 40 - height
        points = STANDING * np.array(BODY_PX) + np.array([left, top])
        keypoints: tuple[Keypoint, ...] = tuple((float(a), float(b), 0.9) for a, b in points)
        person = PosedPerson(box_xyxy_px=(left, top, left + width, top + height), score=0.9, keypoints_px=keypoints)
        return PosesFound(
            camera=self._camera, seq=seq, captured_at_ns=now_ns, published_at_ns=now_ns, width_px=WIDTH_PX,
            height_px=HEIGHT_PX, people=(person,), model="walker", stages=(StageTiming(stage="pose", instance="walker"),),
        )  # fmt: skip


def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll a condition; False when it did not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
