"""A folder of pictures, or a single picture, as a source."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.clock import Clock
from services.camera.address import PICTURES
from services.camera.pictures import MAX_PIXELS, PictureError, check
from services.camera.sources.base import Frame, SourceError, wait_until

log = logging.getLogger(__name__)


class PictureFolder:
    """Pictures in the order of their names, one each 1/fps seconds (realtime) or as fast as they are read.

    A picture that is empty, broken or too large is passed over, named in `note` and counted in `skipped`. The folder is
    listed anew at each round of a loop. Raises SourceError when there is no usable picture.
    """

    live = False

    def __init__(
        self,
        path: str,
        *,
        fps: float,
        realtime: bool,
        loop: bool,
        clock: Clock,
        stopping: threading.Event,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.note: str | None = None
        self.skipped = 0
        self.late = 0
        self._path = Path(path)
        self._period_s = 1.0 / fps if realtime else 0.0
        self._loop = loop
        self._clock = clock
        self._stopping = stopping
        self._max_pixels = max_pixels
        self._complained: set[str] = set()
        self._due_s = clock.monotonic_s()
        self._waiting: list[Path] = []
        self._shown = 0  # pictures of this round
        self._list()

    def read(self) -> Frame | None:
        while not self._stopping.is_set():
            if not self._waiting:
                if self._shown == 0:
                    raise SourceError(f"no usable picture in {self._path}: {self.note}")
                if not self._loop:
                    return None
                self._list()
            image = self._load(self._waiting.pop(0))
            if image is None:
                continue
            if not wait_until(self._clock, self._due_s, self._stopping):
                return None
            self._due_s = max(self._due_s, self._clock.monotonic_s() - self._period_s) + self._period_s
            self._shown += 1
            return Frame(image, self._clock.now_ns())
        return None

    def close(self) -> None:
        self._waiting = []

    def _list(self) -> None:
        if self._path.is_dir():
            self._waiting = sorted(path for path in self._path.iterdir() if path.suffix.lower() in PICTURES)
        else:
            self._waiting = [self._path]
        if not self._waiting:
            raise SourceError(f"no picture in the folder {self._path}: it needs files ending in {', '.join(sorted(PICTURES))}")
        self._shown = 0

    def _load(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            check(path, self._max_pixels)
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is not None:
                return np.asarray(image, np.uint8)
            reason = "it cannot be decoded"
        except PictureError as error:
            reason = str(error)
        except cv2.error as error:  # over OPENCV_IO_MAX_IMAGE_PIXELS, or broken in ways of its own
            reason = f"it cannot be decoded ({error.err})"
        self.skipped += 1
        self.note = f"skipped {path.name}: {reason}"
        if path.name not in self._complained:
            self._complained.add(path.name)
            log.warning("picture skipped path=%s reason=%s", path, reason)
        return None
