from __future__ import annotations

import time

from common.clock import FakeClock, StoreClock


class Remote:
    """A store whose clock is ahead and whose answers take their time."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s

    def time(self) -> tuple[int, int]:
        now = time.time() + self.ahead_s
        return int(now), int(now % 1 * 1e6)


def test_the_store_clock_follows_the_store_within_its_error_bound():
    clock = StoreClock(Remote(ahead_s=3600))
    bound = clock.sync()
    error = abs(clock.now_ns() - (time.time() + 3600) * 1e9)
    assert error <= bound + 5e6
    assert clock.last_step_ns == 0


def test_a_step_of_the_store_clock_is_told_and_followed():
    remote = Remote(ahead_s=0)
    clock = StoreClock(remote)
    clock.sync()
    assert not clock.has_jumped()
    remote.ahead_s = -120
    assert clock.has_jumped()
    clock.sync()
    assert not clock.has_jumped()
    assert abs(clock.last_step_ns + 120e9) < 1e9
    assert abs(clock.now_ns() - (time.time() - 120) * 1e9) < 1e9


def test_a_jump_of_the_local_wall_clock_changes_nothing(monkeypatch):
    clock = StoreClock(Remote(ahead_s=0))
    clock.sync()
    before = clock.now_ns()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert 0 <= clock.now_ns() - before < 1e9


def test_a_fake_clock_moves_only_when_told():
    clock = FakeClock()
    start = clock.now_ns()
    clock.sleep(1.5)
    clock.jump(-60)
    assert clock.monotonic_s() == 1.5
    assert clock.now_ns() - start == -58_500_000_000
