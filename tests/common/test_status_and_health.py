from __future__ import annotations

import os

import pytest

from common import health
from common.clock import FakeClock
from common.messages import CameraHealth, ServiceStatus
from common.status import StatusReporter


@pytest.fixture
def said() -> list[ServiceStatus]:
    return []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def status(said, clock) -> StatusReporter:
    return StatusReporter("pose", "p1", clock, said.append, version="1")


def test_a_service_starts_gets_ready_has_trouble_and_is_sound_again(status, said):
    status.report()
    status.ready(model="m")
    status.degraded("store gone; start it", about="store")
    status.degraded("frame broken", about="frames")
    status.sound("store")
    status.sound("frames")
    assert [s.state for s in said] == ["starting", "ready", "degraded", "degraded", "degraded", "ready"]
    assert said[3].reason == "store gone; start it; frame broken"
    assert said[-1].reason is None
    assert said[-1].model == "m"


def test_the_same_trouble_is_said_once(status, said):
    status.ready()
    for _ in range(100):
        status.degraded("store gone", about="store")
    assert len(said) == 2


def test_rates_ages_and_counters_are_of_the_interval(status, said, clock):
    status.ready()
    status.count("frames", 10)
    for ms in range(1, 101):
        status.age(float(ms))
    clock.advance(5)
    status.interval()
    assert said[-1].rates_hz["frames"] == 2.0
    assert said[-1].ages_ms == {"p50": 50.0, "p99": 99.0}
    clock.advance(5)
    status.interval()
    assert said[-1].rates_hz["frames"] == 0.0
    assert said[-1].counters["frames"] == 10
    assert said[-1].ages_ms == {}


def test_a_change_of_a_camera_is_said_at_once_and_a_number_is_not(status, said):
    status.camera("lobby", CameraHealth(state="streaming", fps=9.0))
    status.camera("lobby", CameraHealth(state="streaming", fps=9.5))
    status.camera("lobby", CameraHealth(state="failed", reason="refused"))
    status.camera("lobby", None)
    assert [s.cameras.get("lobby") and s.cameras["lobby"].state for s in said] == ["streaming", "failed", None]


def test_a_field_that_does_not_exist_is_refused(status):
    with pytest.raises(TypeError, match="colour"):
        status.set(colour="red")


def test_the_resident_memory_is_told(status):
    assert status.snapshot().rss_bytes > 10_000_000


def test_the_health_check_is_about_freshness(tmp_path, monkeypatch, capsys):
    path = tmp_path / "health"
    monkeypatch.setenv("POSEBUS_HEALTH_FILE", str(path))
    assert health.main([]) == 1
    health.touch(health.health_file("pose"))
    assert health.main([]) == 0
    os.utime(path, (1, 1))
    assert health.main(["--max-age-s", "15"]) == 1
    assert "last touched" in capsys.readouterr().err


def test_a_health_file_that_cannot_be_written_does_not_stop_the_service(tmp_path):
    health.touch(tmp_path / "missing" / "health")
    assert not (tmp_path / "missing").exists()
