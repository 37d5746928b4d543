"""The loop of a stateless stage: hear of frames, claim one, fetch it, hand it over.

All workers of a stage hear every notice. Before it claims, a worker waits 0.3 of its own median service time from the
moment its input was published; so the fastest free worker gets the frame, and slow ones fill in when the fast are busy. A
worker that is alone on its stage does not wait.
"""

from __future__ import annotations

import logging
import statistics
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.claims import Claim, Claims
from common.clock import Clock
from common.frames import StoreError
from common.inbox import LatestInbox
from common.messages import FrameNotice, PeopleFound

log = logging.getLogger(__name__)

HOLD_BACK = 0.3
HISTORY = 51  # service times that the median is taken of
STORE_RETRY_S = 0.2

N = TypeVar("N", FrameNotice, PeopleFound)


@dataclass(frozen=True)
class Taken(Generic[N]):
    """A frame that this worker has claimed."""

    notice: N
    jpeg: bytes  # empty where the stage said that it needs no pixels
    wait_ms: float
    fetch_ms: float
    started_s: float  # monotonic, when the claim began


class ClaimWorker(Generic[N]):
    """Chooses, claims and fetches frames for one worker.

    count: called with the name of each event (`claims_lost`, `stale`, `from_the_future`, `expired`,
    `store_errors`). on_store: called with an
    error when the store fails, and with None when it works again. needs_pixels: False for a notice that is worth a claim but no
    fetch.
    """

    def __init__(
        self,
        claims: Claims,
        clock: Clock,
        *,
        max_age_s: float,
        count: Callable[[str], None],
        needs_pixels: Callable[[N], bool] = lambda notice: True,
        on_store: Callable[[StoreError | None], None] = lambda error: None,
    ) -> None:
        self.inbox: LatestInbox[N] = LatestInbox(clock.monotonic_s)
        self.alone = True
        self._claims = claims
        self._clock = clock
        self._max_age_ns = round(max_age_s * 1e9)
        self._count = count
        self._needs_pixels: Callable[[N], bool] = needs_pixels
        self._on_store = on_store
        self._service_s: deque[float] = deque(maxlen=HISTORY)
        self._store_failed = False

    def hear(self, notice: N) -> None:
        """Take note of a frame; called on the bus thread."""
        age_s = (self._clock.now_ns() - notice.published_at_ns) / 1e9
        self.inbox.put(notice, hold_back_s=max(self.hold_back_s() - max(age_s, 0.0), 0.0))

    def hold_back_s(self) -> float:
        """Seconds to leave a frame to faster workers."""
        if self.alone or not self._service_s:
            return 0.0
        return HOLD_BACK * statistics.median(tuple(self._service_s))

    def next(self, timeout_s: float, stopping: threading.Event) -> Taken[N] | None:
        """Claim and fetch a frame; None when there was none to be had in time."""
        notice = self.inbox.take(timeout_s)
        if notice is None or self._is_stale(notice):
            return None
        needs_pixels = self._needs_pixels(notice)
        started_s = self._clock.monotonic_s()
        wait_ms = (self._clock.now_ns() - notice.published_at_ns) / 1e6
        if self.alone and not needs_pixels:  # nothing to fetch and nobody to share with
            return Taken(notice, b"", max(wait_ms, 0.0), 0.0, started_s)
        try:
            outcome, jpeg = self._claims.take(notice.camera, notice.seq, notice.key if needs_pixels else None)
        except StoreError as error:
            self._count("store_errors")
            self._store_failed = True
            self._on_store(error)
            stopping.wait(STORE_RETRY_S)
            return None
        if self._store_failed:
            self._store_failed = False
            self._on_store(None)
        if outcome is Claim.LOST:
            self._count("claims_lost")
            return None
        if outcome is Claim.EXPIRED:
            self._count("expired")
            return None
        fetch_ms = (self._clock.monotonic_s() - started_s) * 1e3
        return Taken(notice, jpeg, max(wait_ms, 0.0), fetch_ms, started_s)

    def done(self, taken: Taken[N]) -> float:
        """Note that the frame is finished; returns the service time in milliseconds."""
        service_s = self._clock.monotonic_s() - taken.started_s
        self._service_s.append(service_s)
        return service_s * 1e3

    def _is_stale(self, notice: N) -> bool:
        age_ns = self._clock.now_ns() - notice.captured_at_ns
        if abs(age_ns) <= self._max_age_ns:
            return False
        self._count("stale" if age_ns > 0 else "from_the_future")
        return True
