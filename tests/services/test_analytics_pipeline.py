"""One camera's analytics: saved and loaded at any frame, in whatever order messages came."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import AnalyticsSettings, CameraSettings, ZoneSettings
from common.messages import Alert, PosedPerson, PosesFound, Track
from services.analytics.pipeline import CameraPipeline, Outcome
from services.analytics.reorder import Reorder
from tests.replay.figures import REAL, START_NS, film, poses
from tests.replay.scenes import FALLS

FLOOR = ((0.0, 0.55), (0.62, 0.55), (0.62, 1.0), (0.0, 1.0))
ZONE = ZoneSettings(name="press", polygon=FLOOR, dwell_s=0.5)
CAMERA = CameraSettings(name="lobby", source="x", zones=(ZONE,))
SETTINGS = AnalyticsSettings()


def fresh(camera: CameraSettings = CAMERA) -> CameraPipeline:
    return CameraPipeline("home", camera, SETTINGS)


def scene(fps: float, seed: int = 1, name: str = "and_gets_up") -> list[PosesFound]:
    return film(list(FALLS[name].people), FALLS[name].length_s, fps=fps, faults=REAL, seed=seed)


def told(pipeline: CameraPipeline, frames: list[PosesFound]) -> list[tuple[tuple[Track, ...], list[Alert]]]:
    return [(outcome.tracks, outcome.alerts) for outcome in map(pipeline.update, frames)]


def alerts_of(pipeline: CameraPipeline, frames: list[PosesFound]) -> list[Alert]:
    return [alert for _, alerts in told(pipeline, frames) for alert in alerts]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from([5, 8, 15, 30]), st.integers(0, 50), st.floats(0, 1))
def test_a_dump_at_any_frame_goes_on_exactly(fps: int, seed: int, part: float) -> None:
    frames = scene(fps, seed)
    cut = round(part * len(frames))
    whole, first, second = fresh(), fresh(), fresh()
    expected = told(whole, frames)
    before = told(first, frames[:cut])
    assert second.load(first.dump())
    assert before + told(second, frames[cut:]) == expected
    assert second.dump() == whole.dump()


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([5, 10, 30]), st.integers(0, 1_000))
def test_messages_shuffled_within_the_window_give_the_same_alerts(fps: int, seed: int) -> None:
    frames = scene(fps)
    chance = random.Random(seed)
    arrivals = sorted((f.captured_at_ns / 1e9 + chance.uniform(0.0, 0.1), f.seq, f) for f in frames[1:])
    order: Reorder[PosesFound] = Reorder(0.12)
    released = order.push(frames[0], frames[0].captured_at_ns / 1e9)
    for now_s, _, frame in arrivals:
        released += order.poll(now_s)
        released += order.push(frame, now_s)
    released += order.poll(float("inf"))
    assert alerts_of(fresh(), released) == alerts_of(fresh(), frames)


def test_a_fall_and_an_intrusion_are_told_with_states_and_occupancy() -> None:
    pipeline, states, occupancy = fresh(), [], []
    alerts: list[Alert] = []
    for frame in scene(10):
        outcome = pipeline.update(frame)
        alerts += outcome.alerts
        states += outcome.states
        occupancy += outcome.occupancy
    assert [alert.event for alert in alerts if alert.kind == "fall"] == ["raised", "resolved"]
    assert next(alert.event for alert in alerts if alert.kind == "intrusion") == "raised"
    falls = [(state.active, len(state.alerts)) for state in states if state.kind == "fall"]
    assert falls == [(False, 0), (True, 1), (False, 0)]
    assert {each.count for each in occupancy} == {0, 1}
    apart = [b.updated_at_ns - a.updated_at_ns for a, b in itertools.pairwise(occupancy)]
    assert min(apart) >= 1_000_000_000


def test_a_state_that_does_not_decode_starts_afresh_with_ids_never_used(caplog: pytest.LogCaptureFixture) -> None:
    pipeline, old = fresh(), fresh()
    told(old, scene(10)[:40])
    assert not pipeline.load(b"garbage")
    assert not pipeline.load(old.dump()[:-7])
    assert "state_unreadable camera=lobby" in caplog.text
    tracks = told(pipeline, scene(10))[-1][0]
    assert tracks[0].track_id > 100_000_000


def test_a_removed_zone_resolves_its_alert_and_keeps_the_track() -> None:
    pipeline = fresh()
    frames = scene(10)
    raised = alerts_of(pipeline, frames[:25])
    assert [alert.kind for alert in raised] == ["intrusion"]
    outcome = pipeline.configure(CAMERA.model_copy(update={"zones": ()}), SETTINGS)
    assert [(alert.event, alert.reason, alert.id) for alert in outcome.alerts] == [
        ("resolved", "zone removed", raised[0].id)
    ]
    assert outcome.cleared_zones == ["press"]
    assert ("intrusion", False) in [(state.kind, state.active) for state in outcome.states]
    assert {track.track_id for track in pipeline.update(frames[25]).tracks} == {1}


def test_a_zone_removed_while_nobody_owned_the_camera_is_resolved_after_loading() -> None:
    before = fresh()
    (raised,) = alerts_of(before, scene(10)[:25])
    changed = CAMERA.model_copy(update={"zones": ()})
    after = fresh(changed)
    after.load(before.dump())
    outcome = after.configure(changed, SETTINGS)
    assert [(alert.id, alert.reason) for alert in outcome.alerts] == [(raised.id, "zone removed")]
    assert outcome.cleared_zones == ["press"]


def test_switching_the_fall_rule_off_resolves_the_open_fall() -> None:
    pipeline = fresh()
    frames = scene(10)
    raised = [alert for alert in alerts_of(pipeline, frames[:70]) if alert.kind == "fall"]
    assert [alert.event for alert in raised] == ["raised"]
    outcome = pipeline.configure(CAMERA.model_copy(update={"fall": False}), SETTINGS)
    assert [(alert.id, alert.reason) for alert in outcome.alerts] == [(raised[0].id, "fall detection switched off")]
    assert not [alert for alert in alerts_of(pipeline, frames[70:]) if alert.kind == "fall"]


def test_closing_a_camera_resolves_everything() -> None:
    pipeline = fresh()
    open_ids = {alert.id for alert in alerts_of(pipeline, scene(10)[:70]) if alert.event == "raised"}
    closed = pipeline.close("camera removed").alerts
    assert {alert.id for alert in closed} <= open_ids
    assert {alert.reason for alert in closed} == {"camera removed"}
    assert "fall" in {alert.kind for alert in closed}


def test_a_silent_camera_frees_its_zones_and_keeps_its_falls() -> None:
    pipeline = fresh()
    frames = scene(10)
    alerts_of(pipeline, frames[:25])
    last_ns = frames[24].captured_at_ns
    assert pipeline.tick(last_ns + 9_000_000_000) == Outcome()
    outcome = pipeline.tick(last_ns + 11_000_000_000)
    assert [(alert.kind, alert.reason) for alert in outcome.alerts] == [("intrusion", "camera silent")]
    assert [each.count for each in outcome.occupancy] == [0]
    assert pipeline.tick(last_ns + 12_000_000_000) == Outcome()


def test_a_clock_that_is_set_back_stops_no_timer() -> None:
    frames = scene(10)
    back = [
        poses(list(f.people), (f.captured_at_ns - START_NS) / 1e9 - (3600 if f.seq > 40 else 0), f.seq) for f in frames
    ]  # fmt: skip
    pipeline = fresh()
    assert [a.event for a in alerts_of(pipeline, back) if a.kind == "fall"] == ["raised", "resolved"]
    assert pipeline.counters["clock_set_back"] == 1


@pytest.mark.parametrize("box", [(float("nan"), 0.0, 1.0, 1.0), (0.0, 0.0, float("inf"), 1.0), (5.0, 5.0, 5.0, 9.0)])
def test_a_box_that_is_none_is_counted_and_harms_nobody(box: tuple[float, float, float, float]) -> None:
    bad = PosedPerson(box_xyxy_px=box, score=0.9, keypoints_px=((0.0, 0.0, 0.0),) * 17)
    frames = scene(10)
    spoilt = [poses([bad, *f.people], (f.captured_at_ns - START_NS) / 1e9, f.seq) for f in frames]
    pipeline = fresh()
    assert alerts_of(pipeline, spoilt) == alerts_of(fresh(), frames)
    assert pipeline.counters["bad_boxes"] == len(frames)


def test_skeletons_of_another_length_and_without_numbers_are_treated_as_unseen() -> None:
    nowhere = ((float("nan"), float("nan"), 0.9),) * 17
    for points in ((), nowhere, ((0.0, 0.0, 0.0),) * 4):
        person = PosedPerson(box_xyxy_px=(100.0, 100.0, 160.0, 280.0), score=0.9, keypoints_px=points)
        pipeline = fresh()
        tracks = told(pipeline, [poses([person], 0.1 * number, number + 1) for number in range(20)])[-1][0]
        assert [track.state for track in tracks] == ["normal"]


def test_the_same_event_has_the_same_id_on_every_replica() -> None:
    first, second = alerts_of(fresh(), scene(10)), alerts_of(fresh(), scene(10))
    assert first == second
    other = CameraPipeline("elsewhere", CAMERA, SETTINGS)
    assert {alert.id for alert in alerts_of(other, scene(10))}.isdisjoint({alert.id for alert in first})


def test_alerts_count_revisions_under_one_id() -> None:
    for alerts in _by_id(alerts_of(fresh(), scene(15))).values():
        assert [alert.revision for alert in alerts] == list(range(1, len(alerts) + 1))
        assert alerts[0].event == "raised"


def _by_id(alerts: list[Alert]) -> dict[str, list[Alert]]:
    found: dict[str, list[Alert]] = {}
    for alert in alerts:
        found.setdefault(alert.id, []).append(alert)
    return found


def test_faults_are_part_of_the_scene() -> None:
    assert scene(10) != film(list(FALLS["and_gets_up"].people), 10, fps=10, faults=replace(REAL, noise=0.0))


def test_who_takes_over_says_the_open_states_again_as_they_may_never_have_been_heard() -> None:
    first, second = fresh(), fresh()
    active: list[str] = []
    for frame in scene(10):
        active = [state.kind for state in first.update(frame).states if state.active] or active
        if "fall" in active:
            break
    assert second.load(first.dump())
    said = {state.kind: state.active for state in second.configure(CAMERA, SETTINGS).states}
    assert said["fall"]
