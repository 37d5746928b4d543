"""Put the messages of one camera back in order.

Several workers answer for one camera, so a frame can overtake the one before it. A message is released at once when it
is the next in sequence; behind a gap it waits until the gap is filled, or until it has waited `window_s`.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, Protocol, TypeVar

RESTART_GAP = 1_000  # sequence numbers are time-based at a restart of the camera: such a jump is no gap to wait for
RESTART_NS = 1_000_000_000  # an older number captured so much later comes from a camera whose clock was set back


class Sequenced(Protocol):
    """What can be put in order."""

    @property
    def seq(self) -> int: ...

    @property
    def captured_at_ns(self) -> int: ...


T = TypeVar("T", bound=Sequenced)


class Workers:
    """Which workers answered for a camera in the last keep_s seconds.

    One worker publishes its frames in order, so while all frames come by the same detector and the same pose worker, a gap is a
    frame that was passed over, and waiting for it would only make the next ones late.
    """

    def __init__(self, keep_s: float = 10.0) -> None:
        self._keep_s = keep_s
        self._seen_s: dict[tuple[str, ...], float] = {}

    def may_overtake(self, way: tuple[str, ...], now_s: float) -> bool:
        """Note the instances that a frame came by, and tell whether others have been seen lately. An empty way is unknown."""
        self._seen_s[way] = now_s
        self._seen_s = {known: seen_s for known, seen_s in self._seen_s.items() if now_s - seen_s <= self._keep_s}
        return len(self._seen_s) > 1 or not way


class Reorder(Generic[T]):
    """Re-orders by `seq`. Not thread-safe; `now_s` is any monotonic clock in seconds.

    counters: `late` (came after a later one had been released), `duplicates`, `restarts`, `gaps` (given up).
    """

    def __init__(self, window_s: float, *, limit: int = 256) -> None:
        self.window_s = window_s
        self.counters: Counter[str] = Counter()
        self._limit = limit
        self._held: dict[int, tuple[float, T]] = {}  # seq -> (arrival, message)
        self._last_seq: int | None = None
        self._last_captured_ns = 0

    def start_after(self, seq: int, captured_at_ns: int) -> None:
        """Treat everything up to `seq` as released already (a state was taken over)."""
        self._last_seq, self._last_captured_ns = seq, captured_at_ns

    def push(self, message: T, now_s: float) -> list[T]:
        """Take one message; returns those that are due, in order."""
        if self._last_seq is not None and message.seq <= self._last_seq:
            # Callers drop what is too old, so a number far behind is no straggler but a camera whose clock was set back.
            is_restart = message.captured_at_ns > self._last_captured_ns + RESTART_NS
            if is_restart or self._last_seq - message.seq > RESTART_GAP:
                return self._restart(message)
            self.counters["duplicates" if message.seq == self._last_seq else "late"] += 1
            return []
        if message.seq in self._held:
            self.counters["duplicates"] += 1
            return []
        self._held[message.seq] = (now_s, message)
        return self.poll(now_s)

    def poll(self, now_s: float) -> list[T]:
        """What is due by now: the unbroken sequence, and whatever has waited long enough."""
        due: list[T] = []
        while self._held:
            seq = min(self._held)
            if not self._is_due(seq, now_s):
                break
            if self._last_seq is not None and seq != self._last_seq + 1:
                self.counters["gaps"] += 1
            due.append(self._release(seq))
        return due

    def deadline_s(self) -> float | None:
        """When `poll` will have something, if nothing arrives before; None: nothing is held."""
        if not self._held:
            return None
        return min(arrived for arrived, _ in self._held.values()) + self.window_s

    def _is_due(self, seq: int, now_s: float) -> bool:
        if self._last_seq is None or seq == self._last_seq + 1 or seq > self._last_seq + RESTART_GAP:
            return True
        oldest = min(arrived for arrived, _ in self._held.values())
        return now_s - oldest >= self.window_s or len(self._held) > self._limit

    def _release(self, seq: int) -> T:
        _, message = self._held.pop(seq)
        self._last_seq, self._last_captured_ns = seq, message.captured_at_ns
        return message

    def _restart(self, message: T) -> list[T]:
        held = [self._held[seq][1] for seq in sorted(self._held)]
        self._held.clear()
        self.counters["restarts"] += 1
        self._last_seq, self._last_captured_ns = message.seq, message.captured_at_ns
        return [*held, message]
