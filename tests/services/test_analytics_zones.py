"""Visits to zones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.config import ZoneSettings
from common.messages import Alert
from services.analytics.zones import ZoneRule, ZoneStep, contains

SQUARE = ((0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6))
IN, OUT = (0.4, 0.4), (0.8, 0.4)
NOBODY: frozenset[int] = frozenset()
ALERT = Alert(
    id="a", revision=1, site="s", camera="c", kind="intrusion", event="raised", severity="warning", message="",
    raised_at="", started_at_ns=0, raised_at_ns=0, updated_at_ns=0, seq=0,
)  # fmt: skip


def zone(**changes: object) -> ZoneSettings:
    return ZoneSettings.model_validate({"name": "press", "polygon": SQUARE, "dwell_s": 1.0, **changes})


def play(rule: ZoneRule, places: str, *, start_s: float = 0.0, every_s: float = 0.1) -> list[tuple[float, ZoneStep]]:
    """One letter a frame: i inside, o outside, - not seen."""
    steps = []
    for number, place in enumerate(places):
        at_s = start_s + number * every_s
        feet = {} if place == "-" else {7: IN if place == "i" else OUT}
        for step in rule.update(round(at_s * 1e9) + 1, every_s, feet, NOBODY):
            step.visit.alert = ALERT if step.event == "raised" else None
            steps.append((round(at_s, 2), step))
    return steps


def test_an_intrusion_is_raised_after_the_dwell_time_and_resolved_on_leaving() -> None:
    rule = ZoneRule((zone(),))
    steps = play(rule, "oo" + "i" * 15 + "o" * 10)
    assert [(at_s, step.event, step.reason) for at_s, step in steps] == [(1.2, "raised", None), (2.1, "resolved", "left")]
    assert rule.visits == []


def test_flicker_at_the_border_is_one_visit() -> None:
    rule = ZoneRule((zone(),))
    steps = play(rule, "iio" * 10 + "ioooi" * 5)
    assert [step.event for _, step in steps] == ["raised"]
    assert len(rule.visits) == 1


def test_a_short_crossing_raises_nothing() -> None:
    assert play(ZoneRule((zone(),)), "o" + "i" * 9 + "o" * 10 + "i" * 9 + "o" * 9) == []


def test_dwell_zero_raises_with_the_first_frame_inside() -> None:
    assert [at_s for at_s, _ in play(ZoneRule((zone(dwell_s=0.0),)), "oi")] == [0.1]


def test_a_zone_that_only_counts_raises_nothing() -> None:
    rule = ZoneRule((zone(kind="count"),))
    assert play(rule, "i" * 30) == []
    assert [visit.track_id for visit in rule.present("press")] == [7]


def test_somebody_who_grazes_the_border_is_not_counted() -> None:
    rule = ZoneRule((zone(),))
    play(rule, "oi")
    assert rule.present("press") == []
    play(rule, "iii", start_s=0.2)
    assert rule.inside(7) == ("press",)


def test_somebody_lost_inside_keeps_the_zone_until_the_track_ends() -> None:
    rule = ZoneRule((zone(),))
    assert len(play(rule, "i" * 15 + "-" * 20)) == 1
    assert rule.inside(7) == ("press",)
    (step,) = rule.update(5_000_000_000, 0.1, {}, frozenset({7}))
    assert (step.event, step.reason) == ("resolved", "lost")


def test_removing_a_zone_resolves_and_moving_it_does_not() -> None:
    rule = ZoneRule((zone(),))
    assert len(play(rule, "i" * 15)) == 1
    assert rule.configure((zone(polygon=((0, 0), (1, 0), (1, 1), (0, 1))),)) == []
    assert len(rule.visits) == 1
    (step,) = rule.configure(())
    assert (step.event, step.reason) == ("resolved", "zone removed")
    assert rule.visits == []


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_concave_polygon_has_a_hole_where_it_is_open(x: float, y: float) -> None:
    letter_u = ((0.0, 0.0), (0.3, 0.0), (0.3, 0.7), (0.7, 0.7), (0.7, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    on_an_edge = x in (0.0, 0.3, 0.7, 1.0) or y in (0.0, 0.7, 1.0)
    if not on_an_edge:
        assert contains(letter_u, (x, y)) == (not (0.3 < x < 0.7 and y < 0.7))
