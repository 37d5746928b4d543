"""Which frames the camera takes, and when it tries again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.camera.pacing import Backoff, LagMeter, Pacer, RateMeter


def taken(fps: float, times: list[float]) -> list[int]:
    pacer = Pacer(fps)
    return [i for i, time_s in enumerate(times) if pacer.take(time_s)]


def test_a_30_fps_source_at_10_fps_gives_every_third_frame() -> None:
    assert taken(10, [i / 30 for i in range(10)]) == [0, 3, 6, 9]


def test_a_source_at_the_configured_rate_loses_nothing_to_jitter() -> None:
    draw = random.Random(1)
    times = [i / 10 + draw.uniform(-0.01, 0.01) for i in range(500)]
    assert len(taken(10, times)) == 500


@settings(deadline=None)
@given(st.floats(1, 60), st.floats(1, 120))
def test_the_mean_rate_is_never_above_the_configured_one(fps: float, source_fps: float) -> None:
    times = [i / source_fps for i in range(600)]
    assert len(taken(fps, times)) <= times[-1] * fps + 2


def test_after_a_pause_there_is_no_burst() -> None:
    times = [0.0, 5.0, 5.01, 5.02, 5.03, 5.1]
    assert taken(10, times) == [0, 1, 5]


def test_lag_is_what_the_arrivals_fall_behind_the_timestamps() -> None:
    meter = LagMeter()
    assert meter.lag_s(100.0, 1.0) == 0.0
    assert meter.lag_s(100.5, 1.5) == 0.0
    assert meter.lag_s(103.5, 1.6) == pytest.approx(2.9, abs=0.01)  # the process stood still, buffers are read out
    assert meter.lag_s(103.6, 4.6) == pytest.approx(0.0, abs=0.01)


def test_a_step_of_the_streams_own_clock_is_no_lag() -> None:
    meter = LagMeter()
    meter.lag_s(100.0, 10.0)
    assert meter.lag_s(100.04, 7.0) == 0.0
    assert meter.lag_s(100.08, 7.04) == pytest.approx(0.0, abs=1e-3)


def test_a_clock_that_drifts_does_not_add_up_to_lag() -> None:
    meter = LagMeter()
    lags = [meter.lag_s(100 + i, 1 + i * (1 - 2e-4)) for i in range(20_000)]
    assert max(lags) < 0.01


def test_a_stream_without_timestamps_has_no_lag() -> None:
    assert LagMeter().lag_s(100.0, 0.0) == 0.0


def test_rate_is_measured_over_the_last_seconds() -> None:
    meter = RateMeter(window_s=5)
    for i in range(200):
        meter.tick(i / 20)
    assert meter.hz(199 / 20) == pytest.approx(20, rel=0.02)
    assert meter.hz(100.0) == 0.0


def test_backoff_grows_to_its_cap_and_never_hammers() -> None:
    backoff = Backoff(draw=random.Random(7))
    waits = [backoff.next_s() for _ in range(200)]
    assert max(waits[:1]) <= 0.5
    assert min(waits) >= 0.1
    assert 25 < max(waits) <= 30
    assert len({round(wait_s, 3) for wait_s in waits}) > 100  # jitter, not a ladder
    backoff.reset()
    assert backoff.next_s() <= 0.5


def test_a_wrong_password_is_not_tried_often() -> None:
    assert min(Backoff(draw=random.Random(i)).next_s(patient=True) for i in range(50)) >= 15
