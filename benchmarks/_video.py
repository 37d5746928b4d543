"""The frames of a clip at a camera's rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import common.imaging  # noqa: F401  imported before OpenCV: it limits what OpenCV decodes
from common.geometry import Image

import cv2  # isort: skip


def sampled(clip: Path, fps: float) -> Iterator[tuple[float, Image]]:
    """(seconds, picture BGR) at so many frames a second, those of the clip nearest to when one is due."""
    video = cv2.VideoCapture(str(clip))
    rate = video.get(cv2.CAP_PROP_FPS) or 30.0
    number, due_s = 0, 0.0
    while True:
        good, image = video.read()
        if not good:
            break
        at_s = number / rate
        number += 1
        if at_s >= due_s - 0.5 / rate:
            due_s += 1.0 / fps
            yield at_s, image
    video.release()
