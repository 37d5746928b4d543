"""Second looks that fail: counted, logged once a minute, and said until they work again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0


class Trouble:
    """Of which cameras the last second look failed. Thread-safe.

    say: called with the reason when a look has failed, and with None when no camera is in trouble any more.
    """

    def __init__(
        self, *, count: Callable[[str, int], None], say: Callable[[str | None], None], monotonic_s: Callable[[], float]
    ) -> None:
        self._count = count
        self._say = say
        self._monotonic_s = monotonic_s
        self._cameras: set[str] = set()
        self._lock = threading.Lock()
        self._logged_s: float | None = None

    def failed(self, camera: str, error: Exception) -> None:
        """A look at this camera's frame ended with an error."""
        now_s = self._monotonic_s()
        with self._lock:
            self._cameras.add(camera)
            is_due = self._logged_s is None or now_s - self._logged_s >= LOG_INTERVAL_S
            if is_due:
                self._logged_s = now_s
        self._count("second_look_errors", 1)
        if is_due:
            log.error("second look failed camera=%s", camera, exc_info=error)
        self._say(f"second look at camera {camera!r}: {error}")

    def over(self, cameras: Collection[str]) -> None:
        """These cameras' looks work, or the cameras are gone."""
        with self._lock:
            news = not self._cameras.isdisjoint(cameras)
            self._cameras.difference_update(cameras)
            is_over = news and not self._cameras
        if is_over:
            self._say(None)
