"""The supervisor: crashed services start again, all stop in the order of the data, none is left behind."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from posebus import watchdog
from posebus.processes import describe_exit
from posebus.supervisor import STOP_ORDER, ServiceSpec, Supervisor, service_specs
from tests.wait import eventually

OBEDIENT = """
import signal, sys, time
def end(*_):
    with open(sys.argv[1], "a") as file: file.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
while True: time.sleep(0.05)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
CRASHING = "import sys; print('no such camera'); sys.exit(3)"

Make = Callable[..., Supervisor]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, said: list[str]) -> Iterator[Make]:
    """make((service, program), ...) -> a started supervisor of small programs."""
    made: list[Supervisor] = []

    def start(*programs: tuple[str, str]) -> Supervisor:
        specs = [
            ServiceSpec(service, service, (sys.executable, "-c", program, str(tmp_path / "ended"), service))
            for service, program in programs
        ]
        supervisor = Supervisor(specs, logs=tmp_path / "logs", say=said.append)
        made.append(supervisor)
        supervisor.start()
        return supervisor

    yield start
    for supervisor in made:
        supervisor.kill()


def wait_up(supervisor: Supervisor, logs: Path) -> None:
    for name in supervisor.pids:
        eventually(lambda name=name: "up" in (logs / f"{name}.log").read_text(), what=f"{name} runs")  # type: ignore[misc]


def test_services_stop_in_the_order_of_the_data(make: Make, tmp_path: Path) -> None:
    supervisor = make(*[(service, OBEDIENT) for service in reversed(STOP_ORDER)])
    wait_up(supervisor, tmp_path / "logs")
    assert supervisor.stop() == []
    assert (tmp_path / "ended").read_text().split() == ["camera", "detector", "pose", "analytics"]
    assert supervisor.pids == {}


def test_a_service_that_does_not_stop_is_killed_in_time(make: Make, tmp_path: Path) -> None:
    supervisor = make(("detector", STUBBORN), ("analytics", OBEDIENT))
    wait_up(supervisor, tmp_path / "logs")
    pids = list(supervisor.pids.values())
    began = time.monotonic()
    assert supervisor.stop(1.0) == ["detector"]
    assert time.monotonic() - began < 3
    assert (tmp_path / "ended").read_text().split() == ["analytics"]  # the stubborn one did not eat its time
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_second_interrupt_kills_at_once(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = make(("camera", STUBBORN), ("pose", STUBBORN))
    wait_up(supervisor, tmp_path / "logs")
    pids = list(supervisor.pids.values())
    interrupt = threading.Timer(0.3, _thread.interrupt_main)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        supervisor.stop(30.0)
    interrupt.join()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_crashed_service_is_started_again_and_that_is_said(make: Make, said: list[str], tmp_path: Path) -> None:
    supervisor = make(("pose", OBEDIENT), ("camera", OBEDIENT))
    wait_up(supervisor, tmp_path / "logs")
    before = supervisor.pids
    psutil.Process(before["pose"]).kill()

    def restarted() -> bool:
        supervisor.poll()
        return supervisor.pids.get("pose", before["pose"]) != before["pose"]

    eventually(restarted, what="the restart")
    assert supervisor.pids["camera"] == before["camera"]
    assert any("pose ended (killed by SIGKILL)" in line for line in said)
    assert supervisor.restarts == 1


def test_one_that_keeps_crashing_gets_growing_pauses_and_its_reason_is_told(make: Make, said: list[str]) -> None:
    supervisor = make(("camera", CRASHING))

    def crashed_three_times() -> bool:
        supervisor.poll()
        return len(said) == 3

    eventually(crashed_three_times, what="three crashes")
    assert [line.split("starts again in ")[1].split(" s")[0] for line in said] == ["0.5", "1", "2"]
    assert all("camera ended (exit code 3): no such camera" in line for line in said)


def test_children_lead_their_own_sessions_so_ctrl_c_does_not_reach_them(make: Make) -> None:
    import os

    supervisor = make(("camera", OBEDIENT))
    pid = supervisor.pids["camera"]
    assert os.getsid(pid) == pid


def test_every_service_gets_its_name_and_health_file(tmp_path: Path) -> None:
    specs = service_specs({"POSEBUS_SITE": "home"}, {"detector": 2, "pose": 0}, logs=tmp_path)
    assert [spec.name for spec in specs] == ["analytics", "detector-1", "detector-2", "camera"]
    assert len({spec.env["POSEBUS_HEALTH_FILE"] for spec in specs}) == 4
    assert all(spec.env["POSEBUS_SITE"] == "home" and spec.env["POSEBUS_INSTANCE"] == spec.name for spec in specs)


def test_the_watchdog_forgets_children_that_have_ended() -> None:
    lines = ["+10\n", "+11\n", "-10\n", "=/tmp/a b\n", "+12\n", "-99\n"]
    assert watchdog.read_orders(lines) == ([11, 12], "/tmp/a b")


def test_exit_codes_read_as_words() -> None:
    assert describe_exit(1) == "exit code 1"
    assert describe_exit(-11) == "killed by SIGSEGV"
    assert describe_exit(-63) == "killed by signal 63"
