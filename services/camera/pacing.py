"""Which frames are wanted, which come too late, and how many there were."""

from __future__ import annotations

import random
from collections import deque

EARLY = 0.25  # part of a period that a frame may come before its due time; absorbs jitter of sources at the same rate


class Pacer:
    """Chooses frames on a grid of 1/fps seconds, by whatever time the caller counts in (arrival or media time).

    A frame belongs to a grid point when it comes at most a quarter of a period before it. The mean rate never exceeds fps;
    after a pause the grid starts anew, so there is never a burst to catch up.
    """

    def __init__(self, fps: float) -> None:
        self.period_s = 1.0 / fps
        self._due_s: float | None = None

    def take(self, time_s: float) -> bool:
        """True when the frame of this time is wanted; each call is about another frame, times never decrease."""
        if self._due_s is None or time_s > self._due_s + self.period_s:
            self._due_s = time_s + self.period_s
            return True
        if time_s < self._due_s - EARLY * self.period_s:
            return False
        self._due_s += self.period_s
        return True


class LagMeter:
    """How far a live stream's pictures lag behind the best it has shown, from its own timestamps.

    A decoder that cannot keep up, or a process that was stopped for a while, reads old pictures out of buffers; arrival
    times do not tell, the stream's timestamps do. The best seen may creep by 1 ms/s, which is more than clocks drift.
    """

    CREEP = 1e-3
    STEP_S = 0.2

    def __init__(self) -> None:
        self._best_s: float | None = None
        self._delay_s = 0.0
        self._at_s = 0.0

    def lag_s(self, arrival_s: float, media_s: float) -> float:
        """arrival_s: monotonic time of arrival; media_s: the frame's timestamp. Returns seconds, 0 without timestamps."""
        if media_s <= 0.0:
            return 0.0
        delay_s, gap_s = arrival_s - media_s, arrival_s - self._at_s
        # A delay that grows faster than time passes is a step of the stream's own clock, no backlog: begin anew.
        if self._best_s is None or delay_s - self._delay_s > gap_s + self.STEP_S:
            self._best_s = delay_s
        else:
            self._best_s = min(delay_s, self._best_s + self.CREEP * gap_s)
        self._delay_s, self._at_s = delay_s, arrival_s
        return delay_s - self._best_s


class RateMeter:
    """Events a second over the last few seconds."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=4096)

    def tick(self, now_s: float) -> None:
        """Count one event."""
        self._times.append(now_s)

    def hz(self, now_s: float) -> float:
        """The rate now; 0 when nothing happened within the window."""
        times = [time_s for time_s in list(self._times) if time_s >= now_s - self._window_s]
        if len(times) < 2:
            return float(len(times)) / self._window_s
        span_s = max(now_s - times[0], times[-1] - times[0])
        return (len(times) - 1) / span_s if span_s > 0 else 0.0


class Backoff:
    """Full-jitter exponential backoff with a cap (the AWS architecture blog, "Exponential backoff and jitter")."""

    def __init__(self, base_s: float = 0.5, cap_s: float = 30.0, *, draw: random.Random | None = None) -> None:
        self.attempts = 0
        self._base_s = base_s
        self._cap_s = cap_s
        self._draw = draw or random.Random()

    def next_s(self, *, patient: bool = False) -> float:
        """Seconds until the next attempt. patient: near the cap at once, for cameras that lock a user out after a few
        wrong passwords."""
        ceiling_s = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        if patient:
            return self._draw.uniform(self._cap_s / 2, self._cap_s)
        return self._draw.uniform(min(0.1, ceiling_s), ceiling_s)

    def reset(self) -> None:
        """The connection was good for a while: the next failure starts from the base again."""
        self.attempts = 0
