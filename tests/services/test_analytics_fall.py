"""Falls are raised, daily life is not, at any frame rate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.config import AnalyticsSettings, CameraSettings
from common.messages import Alert, PosedPerson, PosesFound
from services.analytics.pipeline import CameraPipeline
from tests.replay.figures import PERFECT, REAL, START_NS, Faults, film, poses
from tests.replay.scenes import DAILY, FALLS, Scene

RATES = (5, 8, 10, 15, 30)
SEEDS = range(3)


def analyse(frames: list[PosesFound]) -> list[tuple[float, Alert]]:
    """Alerts and when they came, seconds from the start."""
    pipeline = CameraPipeline("home", CameraSettings(name="lobby", source="x"), AnalyticsSettings())
    return [
        ((frame.captured_at_ns - START_NS) / 1e9, alert) for frame in frames for alert in pipeline.update(frame).alerts
    ]  # fmt: skip


def shoot(scene: Scene, fps: float, faults: Faults = REAL, seed: int = 1) -> list[PosesFound]:
    return film(list(scene.people), scene.length_s, fps=fps, faults=faults, seed=seed)


def events(alerts: list[tuple[float, Alert]]) -> list[str]:
    return [alert.event for _, alert in alerts]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("name", FALLS)
def test_a_fall_is_raised_once_within_three_seconds_of_the_impact(name: str, fps: int) -> None:
    scene = FALLS[name]
    for seed in SEEDS:
        alerts = analyse(shoot(scene, fps, seed=seed))
        assert events(alerts) == ["raised"] + ["resolved"] * scene.recovered
        (at_s, alert), *_ = alerts
        assert 0.5 <= at_s - scene.impacts_s[0] <= 3.0
        # The onset is when the body begins to topple; frames and noise blur it by some tenths of a second.
        assert -1.5 <= (alert.started_at_ns - START_NS) / 1e9 - scene.impacts_s[0] <= 0.1
        assert alert.severity == "critical"


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("name", DAILY)
def test_daily_life_raises_nothing(name: str, fps: int) -> None:
    for faults in (PERFECT, REAL):
        assert analyse(shoot(DAILY[name], fps, faults)) == []


def test_getting_up_resolves_the_fall() -> None:
    (_, raised), (at_s, resolved) = analyse(shoot(FALLS["and_gets_up"], 10))
    assert resolved.reason == "recovered"
    assert (resolved.id, resolved.revision) == (raised.id, 2)
    assert at_s > FALLS["and_gets_up"].impacts_s[0] + 4.0


def test_the_alert_tells_its_evidence_in_values_and_in_a_sentence() -> None:
    ((_, alert),) = analyse(shoot(FALLS["sideways_right"], 10))
    values = {name: float(value) for name, value in alert.evidence.items()}
    assert 0.45 < values["neck_drop_body_lengths"] < 1.0
    assert 0.74 <= values["speed_body_lengths_s"] < 3.0
    assert values["tilt_deg"] >= 60
    assert alert.message.startswith("Person 1 fell in view of camera lobby")
    assert alert.message.endswith(".")
    assert alert.box_xyxy_norm is not None
    assert all(0 <= value <= 1 for value in alert.box_xyxy_norm)


def blind_after(frames: list[PosesFound], at_s: float, until_s: float = 1e9) -> list[PosesFound]:
    """Nobody is detected from at_s to until_s."""
    hidden = (START_NS + at_s * 1e9, START_NS + until_s * 1e9)
    return [
        frame if not hidden[0] <= frame.captured_at_ns < hidden[1] else _with(frame, ()) for frame in frames
    ]  # fmt: skip


def _with(frame: PosesFound, people: tuple[PosedPerson, ...]) -> PosesFound:
    at_s = (frame.captured_at_ns - START_NS) / 1e9
    return poses(list(people), at_s, frame.seq)


@pytest.mark.parametrize("fps", RATES)
def test_somebody_who_vanishes_on_the_floor_has_fallen(fps: int) -> None:
    scene = FALLS["sideways_left"]
    alerts = analyse(blind_after(shoot(scene, fps, PERFECT), scene.impacts_s[0] + 0.25))
    assert events(alerts) == ["raised"]
    assert alerts[0][0] - scene.impacts_s[0] <= 3.0
    assert alerts[0][1].evidence["vanished"] is True


@pytest.mark.parametrize("fps", RATES)
def test_somebody_who_vanishes_while_walking_has_not_fallen(fps: int) -> None:
    assert analyse(blind_after(shoot(DAILY["walk"], fps), 2.0)) == []


def test_silence_of_the_camera_is_not_vanishing() -> None:
    scene = FALLS["sideways_left"]
    frames = shoot(scene, 10, PERFECT)
    falling = [f for f in frames if f.captured_at_ns < START_NS + (scene.impacts_s[0] + 0.1) * 1e9]
    one_later = poses([], scene.impacts_s[0] + 20.0, frames[-1].seq + 1)
    assert analyse([*falling, one_later]) == []


def test_somebody_seen_again_under_another_id_is_not_raised_again() -> None:
    scene = FALLS["and_gets_up"]
    impact_s = scene.impacts_s[0]
    frames = blind_after(shoot(scene, 10, PERFECT), impact_s + 0.3, impact_s + 6.0)
    moved = [_moved(f, 60.0) if f.captured_at_ns >= START_NS + (impact_s + 6.0) * 1e9 else f for f in frames]
    alerts = analyse(moved)
    assert [alert.event for _, alert in alerts if alert.event != "updated"] == ["raised", "resolved"]
    assert len({alert.id for _, alert in alerts}) == 1


def _moved(frame: PosesFound, by_px: float) -> PosesFound:
    people = []
    for person in frame.people:
        x0, y0, x1, y1 = person.box_xyxy_px
        points = tuple((x + by_px, y, score) for x, y, score in person.keypoints_px)
        people.append(PosedPerson(box_xyxy_px=(x0 + by_px, y0, x1 + by_px, y1), score=0.8, keypoints_px=points))
    return _with(frame, tuple(people))


def test_a_fallen_person_who_is_not_seen_stays_fallen() -> None:
    scene = FALLS["sideways_left"]
    frames = shoot(scene, 10, PERFECT)
    end_s = scene.length_s
    after = [poses([], end_s + number * 0.5, frames[-1].seq + 1 + number) for number in range(500)]
    assert events(analyse([*frames, *after])) == ["raised"]
    later = [poses([], end_s + 250 + number * 0.5, frames[-1].seq + 600 + number) for number in range(300)]
    resolved = analyse([*frames, *after, *later])[-1][1]
    assert (resolved.event, resolved.reason) == ("resolved", "not seen for 300 s")


def test_a_person_out_of_a_bad_skeleton_is_judged_by_the_box() -> None:
    scene = FALLS["sideways_right"]
    blurred = replace(PERFECT, guessed=0.5)
    assert [events(analyse(shoot(scene, 15, blurred, seed))) for seed in SEEDS] == [["raised"]] * 3


@pytest.mark.parametrize("fps", [8, 10, 15, 30])
@pytest.mark.parametrize("name", ["sideways_right", "sideways_left", "towards", "oblique"])
def test_a_third_of_the_frames_may_be_missing(name: str, fps: int) -> None:
    for seed in SEEDS:
        assert events(analyse(shoot(FALLS[name], fps, replace(REAL, dropped=0.3), seed))) == ["raised"]


@pytest.mark.parametrize("name", ["lie_down_slowly", "sit_hard", "tie_shoes_side", "walk"])
@pytest.mark.parametrize("fps", [5, 10])
def test_missing_frames_make_no_fall_of_daily_life(name: str, fps: int) -> None:
    for seed in SEEDS:
        assert analyse(shoot(DAILY[name], fps, replace(REAL, dropped=0.4), seed)) == []
