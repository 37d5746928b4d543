"""The latest-wins inbox: one slot a camera, the newest frame wins, so nothing ever queues."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Framed(Protocol):
    """A message about one frame of one camera."""

    @property
    def camera(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def captured_at_ns(self) -> int: ...
    @property
    def published_at_ns(self) -> int: ...


F = TypeVar("F", bound=Framed)


@dataclass
class _Slot(Generic[F]):
    message: F
    due_s: float  # monotonic: not to be taken before


class LatestInbox(Generic[F]):
    """Slots for the newest message of each camera; of the cameras that are due, the one served longest ago comes first.

    monotonic_s: the time source. `counters` tells how many messages were superseded, came late, or were taken.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._slots: dict[str, _Slot[F]] = {}
        self._served: dict[str, int] = {}  # camera -> turn in which it was served last
        self._turn = 0
        self._changed = threading.Condition()
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        with self._changed:
            return len(self._slots)

    def put(self, message: F, *, hold_back_s: float = 0.0) -> None:
        """Offer a message; an older one of the same camera is dropped.

        hold_back_s: not to be taken before so long. A message that replaces another is due when that one was: else a camera
        faster than the hold-back would never be due.
        """
        due_s = self._monotonic_s() + hold_back_s
        with self._changed:
            slot = self._slots.get(message.camera)
            if slot is not None:
                self.counters["superseded"] += 1
                if slot.message.seq >= message.seq:
                    return
                due_s = min(due_s, slot.due_s)
            self._slots[message.camera] = _Slot(message, due_s)
            self._changed.notify()

    def take(self, timeout_s: float) -> F | None:
        """The next message that is due, or None after timeout_s."""
        deadline = self._monotonic_s() + timeout_s
        with self._changed:
            while True:
                now = self._monotonic_s()
                due = [camera for camera, slot in self._slots.items() if slot.due_s <= now]
                if due:
                    camera = min(due, key=lambda name: self._served.get(name, -1))
                    self._turn += 1
                    self._served[camera] = self._turn
                    return self._slots.pop(camera).message
                if now >= deadline:
                    return None
                wake = min([deadline, *(slot.due_s for slot in self._slots.values())])
                self._changed.wait(max(wake - now, 0.0))

    def forget(self, camera: str) -> None:
        """Drop what is known of a camera that is gone."""
        with self._changed:
            self._slots.pop(camera, None)
            self._served.pop(camera, None)
