"""What every source of pictures offers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.clock import Clock
from services.camera.address import shown

TICK_S = 0.2  # longest wait before a source looks whether it is to stop


class SourceError(Exception):
    """A source that cannot be opened or read any further. The message names the culprit and the fix, never a password.

    patient: trying again soon would do harm (cameras lock a user out after a few wrong passwords).
    """

    def __init__(self, message: str, *, patient: bool = False) -> None:
        super().__init__(shown(message))
        self.patient = patient


@dataclass(frozen=True)
class Frame:
    """One picture. image: (H, W, 3) uint8, BGR, as captured; captured_at_ns: store clock."""

    image: NDArray[np.uint8]
    captured_at_ns: int


class Source(Protocol):
    """An open source of pictures; used by one thread. `close` may be called at any time after, and more than once."""

    live: bool  # a source that never ends by itself: its end is a failure, to be reconnected
    note: str | None  # what is wrong though it goes on, such as the last picture skipped
    skipped: int  # pictures passed over because they were unusable
    late: int  # pictures passed over because they came too late

    def read(self) -> Frame | None:
        """Wait for the next wanted frame and return it, the newest one of a live source; None at the end or when stopping.

        Raises SourceError.
        """
        ...

    def close(self) -> None:
        """Let go of everything; returns within 0.5 s even if the source is stuck."""
        ...


def wait_until(clock: Clock, due_s: float, stopping: threading.Event) -> bool:
    """Sleep until the monotonic time `due_s`; False when asked to stop before."""
    while not stopping.is_set():
        left_s = due_s - clock.monotonic_s()
        if left_s < 1e-6:
            return True
        clock.sleep(min(left_s, TICK_S))
    return False
