"""A runtime without a network: for tests, benchmarks and trials on machines without any runtime.

The artifact `fake-person` takes bright rectangles for people: it answers as MoveNet MultiPose does, with a box around each
connected region brighter than 200 and a skeleton inside it (standing in tall boxes, lying in wide ones). What it answers
depends on the picture alone. The device says how long it takes: `sleep:10ms` sleeps, `auto` does not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from common.runtimes.base import Batch, EngineBase, Outputs, Request, RuntimeUnavailable

FORMATS = ("fake",)
MAX_PEOPLE = 20
BRIGHT = 200  # of 255
MIN_SHARE = 0.001  # of the picture; smaller regions are noise

# Where the keypoints of a standing person lie in the box: x, y of 0..1, COCO order.
STANDING: NDArray[np.float32] = np.array(
    [(.5, .08), (.54, .06), (.46, .06), (.6, .08), (.4, .08), (.75, .22), (.25, .22), (.85, .38), (.15, .38), (.9, .52),
     (.1, .52), (.66, .52), (.34, .52), (.66, .74), (.34, .74), (.66, .96), (.34, .96)], dtype=np.float32,
)  # fmt: skip


def probe() -> None:
    """Always there."""


def devices() -> list[str]:
    return ["cpu"]


def load(request: Request) -> EngineBase:
    return FakeEngine(request, bright_people, sleep_s=parse_sleep(request.device))


def parse_sleep(device: str) -> float:
    """`sleep:10ms` or `sleep:0.5s` -> seconds; `auto` and `cpu` -> 0."""
    if device in ("auto", "cpu"):
        return 0.0
    found = re.fullmatch(r"sleep:(\d+(?:\.\d+)?)(ms|s)", device)
    if found is None:
        raise RuntimeUnavailable(f"runtime 'fake' has no device {device!r}; choose auto, or sleep:10ms")
    return float(found[1]) * (0.001 if found[2] == "ms" else 1.0)


class FakeEngine(EngineBase):
    """Answers what `answer(batch)` returns, `sleep_s` later. Tests may give any answer, or raise from it."""

    def __init__(self, request: Request, answer: Callable[[Batch], Outputs], *, sleep_s: float = 0.0) -> None:
        super().__init__("fake", request.device, request, format="fake")
        self._answer = answer
        self._sleep_s = sleep_s

    def _infer(self, batch: Batch) -> Outputs:
        if self._sleep_s:
            time.sleep(self._sleep_s)
        return self._answer(batch)

    def _free(self) -> None:
        pass


def bright_people(batch: Batch) -> Outputs:
    """(N, H, W, 3) -> {"people": (N, 20, 56)}, laid out as MoveNet MultiPose does, largest region first."""
    return {"people": np.stack([_bright_regions(image) for image in batch])}


def _bright_regions(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    bright = (image.min(axis=2) >= BRIGHT).astype(np.uint8)
    stats = cv2.connectedComponentsWithStats(bright, connectivity=8)[2][1:]
    stats = stats[stats[:, cv2.CC_STAT_AREA] >= MIN_SHARE * height * width]
    stats = stats[np.argsort(-stats[:, cv2.CC_STAT_AREA], kind="stable")][:MAX_PEOPLE].astype(np.float32)
    low, size = stats[:, :2], stats[:, 2:4]
    lying = size[:, 0] > size[:, 1]
    template = np.where(lying[:, None, None], STANDING[:, ::-1], STANDING)  # (M, 17, 2)
    points = (low[:, None] + template * size[:, None]) / (width, height)
    rows = np.zeros((MAX_PEOPLE, 56), np.float32)
    keypoints = np.full((len(stats), 17, 3), 0.9, np.float32)
    keypoints[:, :, :2] = points[:, :, ::-1]
    rows[: len(stats), :51] = keypoints.reshape(len(stats), 51)
    rows[: len(stats), 51:53] = low[:, ::-1] / (height, width)
    rows[: len(stats), 53:55] = (low + size)[:, ::-1] / (height, width)
    rows[: len(stats), 55] = 0.9
    return rows
