"""The whole chain at the bus, camera to alert: what must stop nothing, and what must heal by itself, on the fake network."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from common import config, topics
from common.bus import Bus
from common.frames import connect_store
from common.messages import Alert, ConfigPart, ServiceStatus, TracksUpdated, encode, type_name
from tests import parts
from tests.contracts.examples import EXAMPLES
from tests.wait import eventually

SERVICES = ("camera", "detector", "pose", "analytics")
ZONE = {"name": "press", "polygon": [[0.5, 0.3], [1, 0.3], [1, 1], [0.5, 1]], "dwell_s": 0.5}


def write_clip(file: Path, seconds: float = 6.0, fps: int = 15) -> None:
    """A bright rectangle, a person to the fake network, walks from the left to the right half of the picture and stays."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), fps, (320, 240))
    for i in range(round(seconds * fps)):
        image = np.zeros((240, 320, 3), np.uint8)
        left = 20 + min(round(i * 240 / (seconds * fps) * 1.6), 220)
        cv2.rectangle(image, (left, 80), (left + 40, 200), (255, 255, 255), -1)
        writer.write(image)
    writer.release()


class Chain:
    """All services on a broker and stores of their own."""

    def __init__(self, folder: Path, broker: parts.Broker, stores: tuple[parts.Store, parts.Store], site: str) -> None:
        self.broker, self.stores, self.site = broker, stores, site
        self.frames, self.state = stores
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.tracks: list[TracksUpdated] = []
        self.alerts: list[Alert] = []
        self.status: dict[str, ServiceStatus] = {}
        write_clip(folder / "walk.mp4")
        self.settings = config.PosebusConfig.model_validate(
            {
                "general": {"max_age_s": 3.0},
                "store": {"frames_url": self.frames.url, "state_url": self.state.url},
                "cameras": [
                    {"name": "lobby", "source": str(folder / "walk.mp4"), "fps": 10, "loop": True, "zones": [ZONE]},
                    {"name": "dead", "source": str(folder / "missing.mp4"), "fps": 10},
                ],
                "detector": {"model": "fake-person", "runtime": "fake"},
                "pose": {"model": "fake-person", "runtime": "fake"},
            }
        )
        self.bus = Bus(broker.url, site=site, client_id="chain")
        self.bus.subscribe(lambda message, levels: self.tracks.append(message), "tracks", "lobby")
        self.bus.subscribe(lambda message, levels: self.alerts.append(message), "alerts", "#")
        self.bus.subscribe(self._on_status, "status", "+", "+")
        self.bus.start()
        assert self.bus.wait_connected(15)
        self.publish_config()

    def publish_config(self) -> None:
        for name, part in config.split(self.settings).items():
            self.bus.publish(part, "config", name)

    def _on_status(self, message: ServiceStatus | None, levels: tuple[str, ...]) -> None:
        if message is not None:
            self.status[levels[0]] = message

    def flows(self, timeout_s: float = 40) -> None:
        """Fail unless tracks with a person come, from now on."""
        before = len(self.tracks)
        eventually(lambda: any(m.tracks for m in self.tracks[before:]), timeout_s, what="tracks flow", every_s=0.1)

    def alive(self) -> bool:
        return all(process.poll() is None for process in self.processes.values())

    def raised(self, kind: str) -> list[Alert]:
        return [alert for alert in self.alerts if alert.kind == kind and alert.event == "raised"]


@pytest.fixture
def chain(tmp_path, own_broker, own_stores, site, start_service) -> Iterator[Chain]:
    for part in (own_broker, *own_stores):
        part.start()
    chain = Chain(tmp_path, own_broker, own_stores, site)
    for name in SERVICES:
        chain.processes[name] = start_service(name, POSEBUS_BUS=own_broker.url)
    chain.flows()
    yield chain
    chain.bus.stop()


def test_a_clip_becomes_tracks_and_one_intrusion_and_a_broken_camera_disturbs_nobody(chain):
    alert = eventually(lambda: chain.raised("intrusion"), 20)[0]
    assert (alert.camera, alert.zone, alert.event, alert.revision) == ("lobby", "press", "raised", 1)
    assert alert.message
    timings = [timing.stage for timing in chain.tracks[-1].stages]
    assert timings == ["camera", "detector", "pose", "analytics"]
    dead = eventually(lambda: chain.status["camera"].cameras.get("dead"))
    assert dead.state == "failed"
    assert "missing.mp4" in dead.reason
    assert chain.status["camera"].cameras["lobby"].state == "streaming"


def test_garbage_and_wrong_version_bytes_on_every_topic_stop_nothing(chain):
    raw = parts.plain_client(chain.broker.port)
    for spec in topics.TABLE:
        levels = spec.levels.split("/")[1:]
        for name in ("lobby", "detector", "cameras", "sources", "pose", "analytics", "general"):
            topic = topics.topic(chain.site, spec.name, *([name] * len(levels)))
            for payload in (b"\xff\x00garbage", b"null", b"{}", b"", b"[" * 3000, *wrong_versions(spec.payload)):
                raw.publish(topic, payload)
    chain.flows()
    assert chain.alive()
    eventually(lambda: chain.status["analytics"].counters.get("bus_garbage", 0) > 0, 15)
    raw.loop_stop()


def wrong_versions(kind: type | None) -> list[bytes]:
    example = next((e for e in EXAMPLES.values() if type(e) is kind), None)
    if example is None:
        return []
    tag = type_name(type(example)).encode()
    return [encode(example).replace(tag, tag[:-1] + b"9")]


def outages() -> list[object]:
    return [pytest.param(3, id="3s"), pytest.param(30, id="30s", marks=pytest.mark.real_parts)]


@pytest.mark.parametrize("seconds", outages())
@pytest.mark.parametrize("what", ["broker", "frames", "state"])
def test_after_an_outage_the_chain_works_again_by_itself(chain, what, seconds):
    part = {"broker": chain.broker, "frames": chain.frames, "state": chain.state}[what]
    part.stop(signal.SIGKILL)
    time.sleep(seconds)  # the length of the outage is what is tested
    assert chain.alive()
    part.start()
    if what == "broker":
        eventually(lambda: chain.bus.connected, 20)
        chain.publish_config()  # a broker without persistence has forgotten it
    chain.flows()
    assert chain.alive()
    eventually(lambda: chain.status["detector"].state == "ready", 20)
    eventually(lambda: chain.status["analytics"].state == "ready", 20)


def test_a_full_frame_store_is_named_and_the_chain_goes_on_when_there_is_room(chain):
    store = connect_store(chain.frames.url)
    store.config_set("maxmemory-policy", "noeviction")
    store.config_set("maxmemory", "1")  # byte: less than any store holds
    eventually(lambda: "full" in (chain.status["camera"].reason or ""), 20)
    assert "maxmemory" in chain.status["camera"].reason
    store.config_set("maxmemory", "0")
    chain.flows()
    eventually(lambda: chain.status["camera"].state == "ready", 20)


def test_alerts_raised_while_the_state_store_is_full_are_not_lost(chain):
    store = connect_store(chain.state.url)
    eventually(lambda: chain.raised("intrusion"), 20)
    store.config_set("maxmemory", "1")  # byte: less than any store holds
    eventually(lambda: "full" in (chain.status["analytics"].reason or ""), 20)
    before = len(chain.raised("intrusion"))
    seen = len(chain.tracks)
    eventually(lambda: len(chain.tracks) > seen + 80, 40)  # more than one loop of the clip: another visit to the zone
    assert len(chain.raised("intrusion")) == before
    store.config_set("maxmemory", "0")
    eventually(lambda: len(chain.raised("intrusion")) > before, 20)
    assert len({(a.id, a.revision) for a in chain.alerts}) == len(chain.alerts)


def test_a_camera_is_added_and_removed_while_all_runs(chain):
    extra = chain.settings.cameras[0].model_copy(update={"name": "hall", "zones": ()})
    got: list[TracksUpdated] = []
    chain.bus.subscribe(lambda message, levels: got.append(message), "tracks", "hall")
    grown = chain.settings.model_copy(update={"cameras": (*chain.settings.cameras, extra)})
    for name, part in config.split(grown).items():
        chain.bus.publish(part, "config", name)
    eventually(lambda: any(m.tracks for m in got), 30)
    chain.publish_config()
    eventually(lambda: "hall" not in chain.status["camera"].cameras, 20)
    chain.flows()


def test_a_configuration_that_does_not_validate_changes_nothing(chain):
    for part in ("cameras", "sources"):
        chain.bus.publish(ConfigPart(part=part, revision="bad", data={"cameras": [{"nam": "x"}]}), "config", part)
    eventually(lambda: "refused" in (chain.status["camera"].reason or ""), 10)
    chain.flows()


def test_every_service_ends_in_order_within_its_time(chain):
    for name in reversed(SERVICES):
        chain.processes[name].send_signal(signal.SIGTERM)
    assert [chain.processes[name].wait(5) for name in SERVICES] == [0, 0, 0, 0]
    eventually(lambda: all(chain.status[name].state == "offline" for name in SERVICES))
