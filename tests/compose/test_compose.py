"""The stack of compose.yaml end to end: built, healthy, a fall through it, a detector killed, quickly down.

The tests share one stack and run in the order of this file; the last one takes it down.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from common.messages import ServiceStatus, TracksUpdated
from tests.compose.stack import SERVICES, Stack, docker, engine_missing
from tests.wait import eventually

pytestmark = [pytest.mark.real_parts, pytest.mark.compose, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    missing = engine_missing()
    if missing:
        pytest.skip(f"no Docker engine with Compose v2: {missing}")
    made = Stack()
    try:
        made.timed("build", "build", timeout_s=1200)
        made.up()
        yield made
    finally:
        made.down()
        made.remove_images()


def test_every_service_becomes_healthy(stack: Stack) -> None:
    print(f"\ncompose: {', '.join(f'{what} {spent:.0f} s' for what, spent in stack.timings_s.items())}")
    for service in SERVICES:
        (container,) = stack.containers(service)
        assert stack.health(container) == "healthy", service


def test_containers_have_no_privilege_and_nothing_to_write_on(stack: Stack) -> None:
    for service in SERVICES:
        container = stack.inspect(stack.containers(service)[0])
        host = container["HostConfig"]
        assert container["Config"]["User"] == "10001:10001", service
        assert host["ReadonlyRootfs"] is True, service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert host["Privileged"] is False, service
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service
        writable = {mount["Destination"] for mount in container["Mounts"] if mount["RW"]}
        assert writable <= {"redis": {"/data"}, "mosquitto": {"/mosquitto/data"}}.get(service, set()), service


def test_the_images_carry_no_installer(stack: Stack) -> None:
    for service in ("camera", "detector"):
        found = stack.compose("exec", "-T", service, "sh", "-c", "command -v pip pip3 gcc || echo none")
        assert found.strip() == "none", service


def test_a_fall_reaches_mosquitto_sub(stack: Stack) -> None:
    line = stack.compose(
        "exec", "-T", "mosquitto", "mosquitto_sub", "-t", "posebus/home/alerts/+/fall", "-C", "1", "-W", "150",
        timeout_s=180,
    )  # fmt: skip
    alert = json.loads(line)
    assert alert["type"] == "alert/1"
    assert alert["kind"] == "fall"
    assert alert["site"] == "home"


def test_the_viewer_sees_the_configuration_but_not_where_cameras_are(stack: Stack) -> None:
    def parts_seen_by(account: str) -> set[str]:
        bus, seen = stack.bus(account), set[str]()
        bus.subscribe(lambda _part, levels: seen.add(levels[0]), "config", "+")
        bus.start()
        try:
            eventually(lambda: "cameras" in seen and "analytics" in seen, 15, what=f"{account} sees {seen}")
            time.sleep(1)  # nothing tells that no more will come
        finally:
            bus.stop()
        return seen

    assert "sources" in parts_seen_by("config"), "it is on the bus"
    assert parts_seen_by("viewer") == {"general", "cameras", "detector", "pose", "analytics"}


def test_the_viewer_changes_nothing(stack: Stack) -> None:
    forged = ServiceStatus(service="camera", instance="forged", state="ready")
    viewer, config = stack.bus("viewer"), stack.bus("config")
    seen: set[str] = set()
    config.subscribe(lambda _status, levels: seen.add(levels[1]), "status", "+", "+")
    viewer.start()
    config.start()
    try:
        assert viewer.wait_connected(15)
        eventually(lambda: seen, 15, what="the statuses")
        viewer.publish_confirmed(forged, "status", "camera", "forged", timeout_s=3)
        own = ServiceStatus(service="config", instance="genuine", state="ready")
        assert config.publish_confirmed(own, "status", "config", "genuine")
        eventually(lambda: "genuine" in seen, 10, what="a message published after the forged one")
        assert "forged" not in seen
    finally:
        config.clear_retained("status", "config", "genuine")
        viewer.stop()
        config.stop()


def test_a_wrong_password_is_refused(stack: Stack) -> None:
    attempt = "mosquitto_sub -u viewer -P wrong -t posebus/# -E -W 5 2>&1 || true"
    output = stack.compose("exec", "-T", "mosquitto", "sh", "-c", attempt)
    assert "not authorised" in output.lower(), output


class Watcher:
    """What the viewer sees of statuses and tracks."""

    def __init__(self, stack: Stack) -> None:
        self.statuses: dict[str, dict[str, ServiceStatus]] = defaultdict(dict)
        self.tracks: list[TracksUpdated] = []
        self.bus = stack.bus("viewer")
        self.bus.subscribe(self._on_status, "status", "+", "+")
        self.bus.subscribe(self._on_tracks, "tracks", "+")

    def _on_status(self, status: Any, levels: tuple[str, ...]) -> None:
        if isinstance(status, ServiceStatus):
            self.statuses[levels[0]][levels[1]] = status

    def _on_tracks(self, tracks: Any, levels: tuple[str, ...]) -> None:
        if isinstance(tracks, TracksUpdated):
            self.tracks.append(tracks)

    def online(self, service: str) -> dict[str, int]:
        """Frames done by each instance that is there."""
        return {
            name: status.counters.get("frames", 0)
            for name, status in self.statuses[service].items()
            if status.state not in ("offline", "starting")
        }

    def __enter__(self) -> Watcher:
        self.bus.start()
        assert self.bus.wait_connected(15), self.bus.last_error
        return self

    def __exit__(self, *_: object) -> None:
        self.bus.stop()


def test_two_detectors_and_two_pose_workers_share_the_work(stack: Stack) -> None:
    stack.up("--no-recreate", "--scale", "detector=2", "--scale", "pose=2")
    assert len(stack.containers("detector")) == len(stack.containers("pose")) == 2
    with Watcher(stack) as watcher:
        for service in ("detector", "pose"):

            def two_are_there(name: str = service) -> bool:
                return len(watcher.online(name)) == 2

            eventually(two_are_there, 30, what=f"two of {service}")
            before = watcher.online(service)

            def all_grew(name: str = service, before: dict[str, int] = before) -> bool:
                now = watcher.online(name)
                return all(now.get(instance, 0) > count for instance, count in before.items())

            eventually(all_grew, 60, what=f"{service}: both work; at first {before}", every_s=0.5)


def test_a_killed_detector_is_survived_and_comes_back(stack: Stack) -> None:
    victim = stack.containers("detector")[0]
    with Watcher(stack) as watcher:
        eventually(lambda: watcher.tracks, 30, what="tracks before the kill")
        killed = {name for name in watcher.online("detector") if name.startswith(victim[:12])}
        assert len(killed) == 1, "an instance is named after its container"
        kill_the_service_in(victim)
        del watcher.tracks[:]

        def detectors_of_tracks() -> set[str]:
            return {stage.instance for each in watcher.tracks for stage in each.stages if stage.stage == "detector"}

        eventually(lambda: detectors_of_tracks() - killed, 30, what="tracks of what the other one found")
        eventually(lambda: stack.inspect(victim)["RestartCount"] >= 1, 30, what="restarted", every_s=0.5)
        eventually(lambda: stack.health(victim) == "healthy", 60, what="healthy again", every_s=0.5)
        replaced = eventually(
            lambda: {name for name in detectors_of_tracks() - killed if name.startswith(victim[:12])}, 60,
            what="the replacement finds people", every_s=0.5,
        )  # fmt: skip
        assert len(replaced) == 1


def kill_the_service_in(container: str) -> None:
    """SIGKILL the child of the container's init: `docker kill` would count as stopped by hand and not be restarted."""
    code = "import os; os.kill(int(open('/proc/1/task/1/children').read().split()[0]), 9)"
    docker("exec", container, "python", "-c", code)


def test_down_is_quick_and_leaves_nothing(stack: Stack) -> None:
    stack.down()
    print(f"\ncompose: down {stack.timings_s['down']:.1f} s")
    assert stack.timings_s["down"] < 15
    mine = f"label=com.docker.compose.project={stack.project}"
    for kind in ("container", "volume", "network"):
        listing = ["ls", "-aq"] if kind == "container" else ["ls", "-q"]
        assert docker(kind, *listing, "--filter", mine).strip() == "", kind
