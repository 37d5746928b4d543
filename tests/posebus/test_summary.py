"""The demo's numbers, and its judgement of what was promised."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from common.messages import Alert, ServiceStatus
from posebus import summary
from posebus.summary import Summary
from tests.posebus.pictures import alert, recording

TRUTH: dict[str, list[dict[str, Any]]] = {
    "room": [{"kind": "intrusion", "enter_s": 0.5}, {"kind": "fall", "onset_s": 1.5, "impact_s": 2.0}]
}
INTRUSION = alert("intrusion", "raised", 1.5)
FALL = alert("fall", "raised", 3.2)


def judged(alerts: list[Alert]) -> list[str]:
    return summary.promise_problems(summary.summarise(recording(alerts), {}, TRUTH), "room", dwell_s=1.0)


def test_frames_people_tracks_rate_and_ages_are_counted() -> None:
    camera = summary.summarise(recording([]), {}, TRUTH).cameras["room"]
    assert (camera.frames, camera.analysed, camera.people, camera.tracks) == (33, 32, 1, 1)
    assert camera.seconds == 4.0
    assert camera.ages_ms["tracks"] == {"p50": 50.0, "p99": 99.0}
    assert camera.ages_ms["people"] == {"p50": 0.0, "p99": 0.0}


def test_steps_of_one_alert_are_one_alert_with_its_delay() -> None:
    steps = [FALL, FALL, alert("fall", "updated", 3.5, revision=2, raised_s=3.2)]
    steps.append(alert("fall", "resolved", 3.9, revision=3, raised_s=3.2))
    (folded,) = summary.summarise(recording(steps), {}, TRUTH).alerts
    assert (folded.raised_s, folded.resolved_s, folded.delay_s) == (3.2, 3.9, 1.2)


def test_drops_are_told_by_service_and_reason() -> None:
    status = ServiceStatus(
        service="detector", instance="a", state="ready", counters={"frames": 9, "stale": 2, "claims_lost": 5, "expired": 0}
    )
    other = ServiceStatus(service="detector", instance="b", state="ready", counters={"stale": 1})
    services = {("detector", "a"): status, ("detector", "b"): other}
    assert summary.summarise(recording([]), services, TRUTH).drops == {"detector: stale": 3}


def test_what_was_promised_has_no_problems() -> None:
    assert judged([INTRUSION, FALL]) == []


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        ([INTRUSION], "0 fall alerts, expected exactly 1"),
        ([FALL], "0 intrusion alerts, expected exactly 1"),
        ([INTRUSION, FALL, alert("fall", "raised", 3.9, id_="again")], "2 fall alerts at 3.2 s, 3.9 s"),
        ([INTRUSION, alert("fall", "raised", 1.0)], "fall alert -1.0 s after its ground truth"),
        ([alert("intrusion", "raised", 0.6), FALL], "intrusion alert +0.1 s after its ground truth"),
        ([INTRUSION, FALL, alert("posture", "raised", 1.0)], "unexpected posture alert at 1.0 s"),
    ],
)
def test_each_difference_is_told(alerts: list[Alert], said: str) -> None:
    (problem,) = judged(alerts)
    assert said in problem


def test_the_main_job_needs_frames_that_came_through_and_tracks() -> None:
    good = summary.summarise(recording([]), {}, TRUTH)
    assert summary.work_problems(good, ["room"]) == []
    assert summary.work_problems(good, ["room", "walk"]) == ["camera walk: no frame was published"]
    empty = recording([])
    for record in empty.frames["room"]:
        record.tracks = None
    assert "none came through" in summary.work_problems(summary.summarise(empty, {}, TRUTH), ["room"])[0]
    assert summary.work_problems(Summary({}, [], {}), []) == ["nobody was followed"]


def test_the_tables_show_alerts_and_drops() -> None:
    console = Console(width=140, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    found = summary.summarise(recording([INTRUSION, FALL]), {}, TRUTH)
    found.drops = {"pose: stale": 7}
    console.print(summary.render(found))
    text = console.export_text()
    console.file.close()
    for words in ("room", "+1.2 s", "A fall.", "pose: stale 7", "50 / 99"):
        assert words in text
