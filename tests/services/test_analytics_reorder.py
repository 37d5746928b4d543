"""Messages of one camera come back into order."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.reorder import Reorder, Workers


@dataclass(frozen=True)
class Message:
    seq: int
    captured_at_ns: int = 0


def numbers(messages: list[Message]) -> list[int]:
    return [message.seq for message in messages]


def test_messages_in_order_are_released_at_once() -> None:
    order: Reorder[Message] = Reorder(0.12)
    assert [numbers(order.push(Message(seq), 0.0)) for seq in (5, 6, 7)] == [[5], [6], [7]]
    assert not order.counters


def test_a_message_that_overtook_waits_for_the_one_before() -> None:
    order: Reorder[Message] = Reorder(0.12)
    order.push(Message(1), 0.0)
    assert order.push(Message(3), 0.01) == []
    assert order.deadline_s() == 0.01 + 0.12
    assert numbers(order.push(Message(2), 0.05)) == [2, 3]
    assert order.deadline_s() is None


def test_a_gap_holds_later_messages_no_longer_than_the_window() -> None:
    order: Reorder[Message] = Reorder(0.12)
    order.push(Message(1), 0.0)
    order.push(Message(4), 0.01)
    order.push(Message(3), 0.10)
    assert order.poll(0.125) == []
    assert numbers(order.poll(0.131)) == [3, 4]
    assert order.counters["gaps"] == 1


def test_late_and_doubled_messages_are_dropped_and_counted() -> None:
    order: Reorder[Message] = Reorder(0.12)
    for seq in (1, 2, 3):
        order.push(Message(seq), 0.0)
    assert order.push(Message(2), 0.0) == []
    assert order.push(Message(3), 0.0) == []
    order.push(Message(5), 0.0)
    assert order.push(Message(5), 0.0) == []
    assert order.counters == {"late": 1, "duplicates": 2}


def test_the_jump_of_a_restarted_camera_is_no_gap() -> None:
    order: Reorder[Message] = Reorder(0.12)
    order.push(Message(10), 0.0)
    assert numbers(order.push(Message(5_000_000), 0.01)) == [5_000_000]


def test_a_camera_whose_clock_was_set_back_goes_on() -> None:
    order: Reorder[Message] = Reorder(0.12)
    order.push(Message(5_000_000, 100_000_000_000), 0.0)
    assert numbers(order.push(Message(7, 103_000_000_000), 3.0)) == [7]
    assert numbers(order.push(Message(8, 103_100_000_000), 3.1)) == [8]
    assert order.counters["restarts"] == 1


def test_what_an_owner_before_has_analysed_is_not_taken_again() -> None:
    order: Reorder[Message] = Reorder(0.12)
    order.start_after(10, 1_000)
    assert order.push(Message(10, 1_000), 0.0) == []
    assert numbers(order.push(Message(11, 1_100), 0.0)) == [11]


def test_a_gap_with_very_many_messages_behind_it_is_given_up() -> None:
    order: Reorder[Message] = Reorder(10.0, limit=8)
    order.push(Message(1), 0.0)
    released = [seq for later in range(3, 20) for seq in numbers(order.push(Message(later), 0.0))]
    assert released == list(range(3, 20))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 0.1), min_size=1, max_size=60), st.floats(0.02, 0.2))
def test_whatever_the_delays_within_the_window_nothing_is_lost(delays: list[float], interval_s: float) -> None:
    arrivals = sorted((number * interval_s + delay, number) for number, delay in enumerate(delays[1:], start=1))
    order: Reorder[Message] = Reorder(0.12)
    released = numbers(order.push(Message(0), 0.0))
    for now_s, number in arrivals:
        released += numbers(order.poll(now_s))
        released += numbers(order.push(Message(number), now_s))
    released += numbers(order.poll(1e9))
    assert released == list(range(len(delays)))
    assert not order.counters


def test_while_one_worker_a_stage_answers_nothing_can_be_overtaken() -> None:
    workers = Workers(keep_s=10.0)
    assert not workers.may_overtake(("d1", "p1"), 0.0)
    assert not workers.may_overtake(("d1", "p1"), 5.0)
    assert workers.may_overtake(("d2", "p1"), 6.0)
    assert workers.may_overtake(("d1", "p1"), 7.0)
    assert not workers.may_overtake(("d1", "p1"), 16.5)
    assert workers.may_overtake((), 17.0)


def test_a_camera_that_restarts_with_its_clock_set_back_is_heard_again() -> None:
    order: Reorder[Message] = Reorder(0.12)
    hour_ms, hour_ns = 3_600_000, 3_600_000_000_000
    order.start_after(5 * hour_ms, 5 * hour_ns)
    assert numbers(order.push(Message(4 * hour_ms, 4 * hour_ns), 0.0)) == [4 * hour_ms]
    assert numbers(order.push(Message(4 * hour_ms + 1, 4 * hour_ns + 1), 0.1)) == [4 * hour_ms + 1]
    assert order.counters["restarts"] == 1
