from __future__ import annotations

from common.clock import FakeClock
from common.inbox import LatestInbox
from tests.common.test_bus import notice


def test_the_newest_message_of_a_camera_wins_and_an_older_one_never_comes_back():
    inbox = LatestInbox(FakeClock().monotonic_s)
    for seq in (1, 3, 2):
        inbox.put(notice(seq))
    assert inbox.take(0).seq == 3
    assert inbox.take(0) is None
    assert inbox.counters["superseded"] == 2


def test_the_camera_served_longest_ago_comes_first():
    inbox = LatestInbox(FakeClock().monotonic_s)
    order = []
    for turn in range(6):
        for camera in "abc":
            inbox.put(notice(turn, camera))
        order.append(inbox.take(0).camera)
    assert order == list("abcabc")


def test_a_busy_camera_cannot_starve_a_quiet_one():
    inbox = LatestInbox(FakeClock().monotonic_s)
    inbox.put(notice(0, "quiet"))
    inbox.take(0)
    for seq in range(100):
        inbox.put(notice(seq, "busy"))
        if seq == 50:
            inbox.put(notice(1, "quiet"))
            inbox.put(notice(seq + 1, "busy"))
            assert inbox.take(0).camera == "busy"
            inbox.put(notice(seq + 2, "busy"))
            assert inbox.take(0).camera == "quiet"


def test_a_held_back_message_is_taken_when_it_is_due_and_not_before():
    clock = FakeClock()
    inbox = LatestInbox(clock.monotonic_s)
    inbox.put(notice(1), hold_back_s=0.03)
    assert inbox.take(0) is None
    clock.advance(0.031)
    assert inbox.take(0).seq == 1


def test_taking_from_an_empty_inbox_ends_after_its_timeout():
    import time

    inbox = LatestInbox(time.monotonic)
    started = time.monotonic()
    assert inbox.take(0.05) is None
    assert time.monotonic() - started >= 0.05


def test_its_size_is_bounded_by_the_number_of_cameras():
    inbox = LatestInbox(FakeClock().monotonic_s)
    for seq in range(1000):
        inbox.put(notice(seq, f"cam{seq % 3}"))
    assert len(inbox) == 3
    inbox.forget("cam0")
    assert len(inbox) == 2


def test_a_camera_faster_than_the_hold_back_is_still_due_in_time():
    clock = FakeClock()
    inbox = LatestInbox(clock.monotonic_s)
    for seq in range(10):
        inbox.put(notice(seq), hold_back_s=0.12)
        clock.advance(0.033)
        if seq < 3:
            assert inbox.take(0) is None
    assert inbox.take(0).seq == 9
