"""`posebus tail` and `posebus alerts`: what is on the bus and in the outbox, for people and for pipes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

from common.frames import connect_store
from common.leases import Leases
from common.messages import Alert, CameraHealth, ServiceStatus
from common.outbox import Outbox
from tests.conftest import MakeBus, Stores
from tests.posebus.conftest import Command

Start = Callable[..., "subprocess.Popen[str]"]

ALERT = Alert(
    id="a1", revision=1, site="home", camera="lobby", kind="fall", event="raised", severity="critical",
    message="Person 1 has fallen.", raised_at="2026-01-01T00:00:00Z", started_at_ns=1, raised_at_ns=2_000_000_000,
    updated_at_ns=2_000_000_000, seq=7, track_id=1,
)  # fmt: skip
STATUS = ServiceStatus(
    service="camera", instance="node-1", state="ready", cameras={"lobby": CameraHealth(state="failed", reason="no route")}
)


def test_json_is_one_object_per_line_and_count_ends_it(posebus: Command, broker: str, make_bus: MakeBus, site: str) -> None:
    make_bus().publish_confirmed(STATUS, "status", "camera", "node-1")  # retained: tail gets it at once
    done = posebus("tail", "--bus", broker, "--site", site, "--json", "--count", 1)
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    message = json.loads(line)
    assert message["topic"] == "status/camera/node-1"
    assert message["type"] == "status/1"
    assert message["cameras"]["lobby"]["reason"] == "no route"


def test_lines_tell_alerts_and_failed_cameras_to_people(
    start_posebus: Start, broker: str, make_bus: MakeBus, site: str
) -> None:
    bus = make_bus()
    bus.publish_confirmed(STATUS, "status", "camera", "node-1")
    process = start_posebus("tail", "--bus", broker, "--site", site, "--count", 3)
    assert process.stdout is not None
    assert "camera/node-1 ready" in process.stdout.readline()
    assert "camera lobby failed (no route)" in process.stdout.readline()
    for _ in range(2):  # the second is the same step again: said once
        bus.publish_confirmed(ALERT, "alerts", "lobby", "fall")
    assert "ALERT raised fall camera=lobby severity=critical" in process.stdout.readline()
    assert process.wait(10) == 0


def test_seconds_end_it(posebus: Command, broker: str, site: str) -> None:
    assert posebus("tail", "--bus", broker, "--site", site, "--seconds", 0.3).code == 0


def test_ctrl_c_ends_it_cleanly(start_posebus: Start, broker: str, make_bus: MakeBus, site: str) -> None:
    make_bus().publish_confirmed(STATUS, "status", "camera", "node-1")
    process = start_posebus("tail", "--bus", broker, "--site", site, "--json")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("{")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_alerts_shows_the_history_of_the_outbox(posebus: Command, stores: Stores) -> None:
    store = connect_store(stores.state_url)
    leases = Leases(store, "analytics", "me")
    assert leases.acquire("lobby")
    assert Outbox(store).commit(leases, "lobby", "state:lobby", b"", [ALERT])
    store.close()
    assert "Person 1 has" in posebus("alerts", "--state-url", stores.state_url).out
    line = posebus("alerts", "--state-url", stores.state_url, "--json").out
    assert json.loads(line)["id"] == "a1"


def test_no_alerts_are_no_error(posebus: Command, stores: Stores) -> None:
    done = posebus("alerts", "--state-url", stores.state_url)
    assert (done.code, done.out) == (0, "no alerts yet\n")


def test_count_is_exact_in_a_flood(start_posebus: Start, broker: str, make_bus: MakeBus, site: str) -> None:
    bus = make_bus()
    bus.publish_confirmed(STATUS, "status", "camera", "node-1")
    process = start_posebus("tail", "--bus", broker, "--site", site, "--json", "--count", 200)
    assert process.stdout is not None
    assert process.stdout.readline()
    for i in range(200):
        bus.publish_confirmed(STATUS, "status", "camera", f"node-{i}")
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(out.splitlines()) == 199
