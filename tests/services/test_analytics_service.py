"""Analytics at the bus: real processes, a real broker, a real store."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import redis

from common.bus import Bus
from common.config import CameraSettings, PosebusConfig, ZoneSettings
from common.messages import Alert, Occupancy, PosesFound, RuleState, ServiceStatus, TracksUpdated
from services.analytics.jobs import state_key
from tests import parts
from tests.conftest import MakeBus, StartService, Stores
from tests.replay.figures import PERFECT, START_NS, chain, film, stand, topple
from tests.wait import eventually

STAND_S = 1.5
TOPPLING, FALL_S = topple(-1.0, 5.5, 0.0)
FALL = film([chain((stand(-1.0, 5.5), STAND_S), (TOPPLING, 60.0))], 12.0, fps=10, faults=PERFECT)
STANDING = film([stand(-1.0, 5.5)], 12.0, fps=10, faults=PERFECT)
FLOOR = ZoneSettings(name="press", polygon=((0.0, 0.4), (1.0, 0.4), (1.0, 1.0), (0.0, 1.0)), dwell_s=0.3)


def config(*names: str, zones: tuple[ZoneSettings, ...] = ()) -> PosebusConfig:
    return PosebusConfig(cameras=tuple(CameraSettings(name=name, source="x", zones=zones) for name in names))


class Live:
    """Publishes a film in real time, as pose workers do; `began_ns` is the capture time of its first frame."""

    def __init__(self, bus: Bus, frames: list[PosesFound], camera: str = "lobby", first_seq: int = 0) -> None:
        self._bus, self._frames, self._camera, self._first_seq = bus, frames, camera, first_seq
        self._stop = threading.Event()
        self.began_ns = time.time_ns()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for frame in self._frames:
            at_ns = self.began_ns + frame.captured_at_ns - START_NS
            if self._stop.wait(max((at_ns - time.time_ns()) / 1e9, 0.0)):
                return
            message = msgspec.structs.replace(
                frame, camera=self._camera, seq=self._first_seq + frame.seq, captured_at_ns=at_ns, published_at_ns=at_ns
            )
            self._bus.publish(message, "poses", self._camera)

    def at_s(self, time_ns: int) -> float:
        """Seconds since the film began."""
        return (time_ns - self.began_ns) / 1e9

    def wait_until(self, at_s: float) -> None:
        """Until the film is so far."""
        eventually(lambda: self.at_s(time.time_ns()) >= at_s, at_s + 5)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)


class Listener:
    """All that analytics says."""

    def __init__(self, bus: Bus) -> None:
        self.tracks: list[tuple[int, TracksUpdated]] = []
        self.alerts: list[Alert] = []
        self.states: dict[tuple[str, ...], RuleState | None] = {}
        self.occupancy: dict[tuple[str, ...], Occupancy | None] = {}
        self.status: dict[str, ServiceStatus] = {}
        bus.subscribe(lambda message, _: self.tracks.append((time.time_ns(), message)), "tracks", "+")
        bus.subscribe(lambda message, _: self.alerts.append(message), "alerts", "+", "+")
        bus.subscribe(lambda message, levels: self.states.update({levels: message}), "state", "+", "+")
        bus.subscribe(lambda message, levels: self.occupancy.update({levels: message}), "occupancy", "+", "+")
        bus.subscribe(lambda message, levels: self.status.update({levels[-1]: message}), "status", "analytics", "+")

    def owned_by(self, instance: str) -> set[str]:
        status = self.status.get(instance)
        cameras = status.cameras if status is not None and status.state != "offline" else {}
        return {name for name, health in cameras.items() if health.state == "owned"}

    def falls(self, event: str = "raised") -> list[Alert]:
        return [alert for alert in self.alerts if (alert.kind, alert.event) == ("fall", event)]


Configure = Callable[[Bus, PosebusConfig], None]


@pytest.fixture
def bus(make_bus: MakeBus) -> Bus:
    return make_bus()


@pytest.fixture
def said(bus: Bus) -> Listener:
    return Listener(bus)


@pytest.fixture
def start(start_service: StartService, stores: Stores) -> Callable[..., object]:
    def start(instance: str = "a", **environment: str) -> object:
        urls = {"POSEBUS_FRAMES_URL": stores.frames_url, "POSEBUS_STATE_URL": stores.state_url}
        return start_service("analytics", instance=instance, **{**urls, **environment})

    return start


@pytest.fixture
def live(bus: Bus) -> Iterator[Callable[..., Live]]:
    running: list[Live] = []

    def play(frames: list[PosesFound], camera: str = "lobby", first_seq: int = 0) -> Live:
        running.append(Live(bus, frames, camera, first_seq))
        return running[-1]

    yield play
    for each in running:
        each.stop()


def test_a_fall_at_the_bus(bus: Bus, said: Listener, start: Callable[..., object], configure: Configure,
                           live: Callable[..., Live]) -> None:  # fmt: skip
    configure(bus, config("lobby", zones=(FLOOR,)))
    start("a")
    eventually(lambda: said.owned_by("a") == {"lobby"})
    film_ = live(FALL)
    (raised,) = eventually(said.falls, 15)
    assert abs(film_.at_s(raised.started_at_ns) - STAND_S) < 0.6
    assert film_.at_s(raised.raised_at_ns) - (STAND_S + FALL_S) < 3.0
    eventually(lambda: (state := said.states.get(("lobby", "fall"))) and state.active and state.alerts == (raised.id,))
    eventually(lambda: (found := said.occupancy.get(("lobby", "press"))) and found.count == 1)
    assert [alert.event for alert in said.alerts if alert.kind == "intrusion"] == ["raised"]
    _, tracks = said.tracks[-1]
    assert [track.track_id for track in tracks.tracks] == [1]
    assert tracks.stages[-1].stage == "analytics"
    assert tracks.stages[-1].service_ms > 0


def test_another_replica_takes_over_in_the_middle_of_a_fall(
    bus: Bus, said: Listener, start: Callable[..., object], configure: Configure, live: Callable[..., Live]
) -> None:
    configure(bus, config("lobby"))
    processes = {name: start(name) for name in ("a", "b")}
    eventually(lambda: len(said.status) == 2 and (said.owned_by("a") or said.owned_by("b")), 20)
    owner = "a" if said.owned_by("a") else "b"
    film_ = live(FALL)
    film_.wait_until(STAND_S + FALL_S + 0.35)  # down, not yet still for long enough
    assert said.falls() == []
    assert {track.state for track in said.tracks[-1][1].tracks} == {"falling"}
    processes[owner].send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
    killed_ns = time.time_ns()
    other = {"a": "b", "b": "a"}[owner]
    heard = eventually(lambda: [at for at, m in said.tracks if at > killed_ns and m.stages[-1].instance == other], 10)
    assert (heard[0] - killed_ns) / 1e9 < 4.0
    eventually(said.falls, 10)
    film_.wait_until(9.0)
    assert len({(alert.id, alert.revision) for alert in said.alerts}) == len(said.falls()) == 1
    assert abs(film_.at_s(said.falls()[0].started_at_ns) - STAND_S) < 0.6
    # The timer ran on: raised for the frame that would have raised it without the failure.
    assert film_.at_s(said.falls()[0].raised_at_ns) - (STAND_S + FALL_S) < 2.0
    assert {track.track_id for _, message in said.tracks for track in message.tracks} == {1}


def test_two_replicas_share_the_cameras_and_hand_back_on_stop(
    bus: Bus, said: Listener, start: Callable[..., object], configure: Configure
) -> None:
    names = {"one", "two", "three", "four"}
    configure(bus, config(*sorted(names)))
    first = start("a")
    eventually(lambda: said.owned_by("a") == names)
    start("b")
    eventually(lambda: len(said.owned_by("a")) == len(said.owned_by("b")) == 2, 15)
    assert said.owned_by("a") | said.owned_by("b") == names
    first.send_signal(signal.SIGTERM)  # type: ignore[attr-defined]
    assert first.wait(5) == 0  # type: ignore[attr-defined]
    eventually(lambda: said.owned_by("b") == names, 4)


def test_zones_and_cameras_change_while_people_are_in_them(
    bus: Bus, said: Listener, start: Callable[..., object], configure: Configure, live: Callable[..., Live],
    stores: Stores,
) -> None:  # fmt: skip
    configure(bus, config("lobby", "yard", zones=(FLOOR,)))
    start("a")
    eventually(lambda: said.owned_by("a") == {"lobby", "yard"})
    live(STANDING)
    eventually(lambda: [alert.kind for alert in said.alerts] == ["intrusion"])
    eventually(lambda: said.occupancy.get(("lobby", "press")))
    configure(bus, config("lobby", "yard"))
    eventually(lambda: [alert.reason for alert in said.alerts] == [None, "zone removed"])
    eventually(lambda: said.occupancy[("lobby", "press")] is None)
    assert {track.track_id for _, message in said.tracks for track in message.tracks} == {1}
    with redis.Redis.from_url(stores.state_url) as store:
        eventually(lambda: store.exists(state_key("lobby")))
        configure(bus, config("yard"))
        eventually(lambda: not store.exists(state_key("lobby")))
    eventually(lambda: said.owned_by("a") == {"yard"})
    eventually(lambda: all(said.states[key] is None for key in said.states if key[0] == "lobby"))


def test_old_frames_are_dropped_and_counted(
    bus: Bus, said: Listener, start: Callable[..., object], configure: Configure
) -> None:
    configure(bus, config("lobby"))
    start("a")
    eventually(lambda: said.owned_by("a") == {"lobby"})
    for frame in STANDING[:5]:  # captured years ago
        bus.publish(frame, "poses", "lobby")
    eventually(lambda: said.status["a"].counters.get("stale") == 5, 10)
    assert said.tracks == []


def test_a_fall_while_the_store_is_gone_is_told_when_it_is_back(
    bus: Bus, said: Listener, start_service: StartService, configure: Configure, live: Callable[..., Live],
    own_stores: tuple[parts.Store, parts.Store],
) -> None:  # fmt: skip
    frames, state = own_stores
    frames.start()
    state.start()
    configure(bus, config("lobby"))
    start_service("analytics", instance="a", POSEBUS_FRAMES_URL=frames.url, POSEBUS_STATE_URL=state.url)
    eventually(lambda: said.owned_by("a") == {"lobby"})
    state.stop(signal.SIGKILL)
    film_ = live(FALL)
    film_.wait_until(STAND_S + FALL_S + 3.5)
    assert said.falls() == []
    assert {track.state for track in said.tracks[-1][1].tracks} == {"fallen"}  # processing went on
    eventually(lambda: said.status["a"].state == "degraded")
    reason = said.status["a"].reason or ""
    assert "alerts and state wait in memory" in reason
    assert "is it running?" in reason
    state.start()
    (raised,) = eventually(said.falls, 10)
    assert abs(film_.at_s(raised.started_at_ns) - STAND_S) < 0.6
    eventually(lambda: said.status["a"].state == "ready", 10)


def test_it_needs_no_more_than_an_address_and_says_so(start_service: StartService, tmp_path: Path) -> None:
    process = start_service("analytics", instance="a", POSEBUS_BUS="")
    assert process.wait(10) == 2
    assert "POSEBUS_BUS is not set" in (tmp_path / "a.log").read_text()
