"""Which cameras an instance reads: configuration, leases, isolation."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from common.clock import SystemClock
from common.config import CameraSettings, CamerasPart
from common.frames import StoreError, connect_store
from common.leases import Leases
from common.status import StatusReporter
from services.camera.service import allowed_cameras
from services.camera.sources import Source, SourceError
from services.camera.supervisor import Supervisor
from services.camera.worker import CameraWorker
from tests.conftest import Stores
from tests.services.camera_parts import camera, reporter
from tests.services.test_camera_worker import Script, Tray
from tests.wait import eventually


class Endless(Script):
    """Streams a frame whenever asked, until stopped."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__(10**9)
        self._stopping = stopping

    def read(self):  # type: ignore[no-untyped-def]
        return None if self._stopping.wait(0.01) else super().read()


class Instance:
    """A supervisor with real leases, and what it opened."""

    def __init__(self, store: redis.Redis, name: str, allowed: frozenset[str] | None = None) -> None:
        self.opened: list[str] = []
        self.status, self.said = reporter()
        self.leases = Leases(store, "camera", name)
        self.supervisor = Supervisor(make_worker=self._make, leases=self.leases, status=self.status, allowed=allowed)

    def _make(self, settings: CameraSettings, before: CameraWorker | None) -> CameraWorker:
        def open_it(settings: CameraSettings, stopping: threading.Event) -> Source:
            self.opened.append(settings.name)
            if settings.source == "broken":
                raise SourceError("cannot be opened")
            return Endless(stopping)

        return CameraWorker(settings, open_source=open_it, outlet=Tray(), clock=SystemClock(), status=self.status, after=before)

    def apply(self, *cameras: CameraSettings) -> None:
        self.supervisor.configure(CamerasPart(cameras=cameras))
        self.supervisor.tick()

    def states(self) -> dict[str, str]:
        self.supervisor.tick()
        return {name: health.state for name, health in self.status.snapshot().cameras.items()}


@pytest.fixture
def store(stores: Stores) -> Iterator[redis.Redis]:
    client = connect_store(stores.state_url)
    yield client
    client.close()


@pytest.fixture
def instance(store: redis.Redis) -> Iterator[Instance]:
    made = Instance(store, "camera-1")
    yield made
    made.supervisor.close()


def test_a_broken_camera_disturbs_nobody(instance: Instance) -> None:
    instance.apply(camera("a", "one"), camera("broken", "two"), camera("c", "three"))
    expected = {"one": "streaming", "two": "failed", "three": "streaming"}
    eventually(lambda: instance.states() == expected)
    health = instance.status.snapshot().cameras
    assert health["two"].reason == "cannot be opened"
    assert instance.status.snapshot().state == "ready"


def test_a_new_configuration_touches_only_what_changed(instance: Instance) -> None:
    one, two = camera("a", "one"), camera("b", "two")
    instance.apply(one, two)
    eventually(lambda: instance.states() == {"one": "streaming", "two": "streaming"})
    instance.apply(one.model_copy(update={"fall": False}), camera("b", "two", fps=5), camera("c", "three"))
    eventually(lambda: instance.states() == dict.fromkeys(("one", "two", "three"), "streaming"))
    eventually(lambda: sorted(instance.opened) == ["one", "three", "two", "two"])
    instance.apply(one)
    assert instance.states() == {"one": "streaming"}
    assert instance.leases.owner("two") is None
    assert sorted(instance.opened) == ["one", "three", "two", "two"]


def test_a_camera_is_read_by_one_instance_and_taken_over_when_it_leaves(instance: Instance, store: redis.Redis) -> None:
    other = Instance(store, "camera-2")
    instance.apply(camera("a", "one"))
    other.apply(camera("a", "one"))
    eventually(lambda: instance.states() == {"one": "streaming"})
    assert other.states() == {"one": "waiting"}
    assert other.status.snapshot().cameras["one"].reason == "another instance reads it"
    instance.supervisor.close()
    eventually(lambda: other.states() == {"one": "streaming"})
    other.supervisor.close()
    assert other.leases.owner("one") is None


def test_a_lost_lease_stops_the_reading(instance: Instance, store: redis.Redis) -> None:
    instance.apply(camera("a", "one"))
    eventually(lambda: instance.states() == {"one": "streaming"})
    store.set(instance.leases.key("one"), "camera-9")
    assert instance.states() == {"one": "waiting"}
    store.delete(instance.leases.key("one"))
    eventually(lambda: instance.states() == {"one": "streaming"})


def test_a_store_that_is_away_stops_no_camera(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance.apply(camera("a", "one"))
    eventually(lambda: instance.states() == {"one": "streaming"})

    def away(name: str) -> bool:
        raise StoreError("store 127.0.0.1:6379: cannot be reached; is it running?")

    with monkeypatch.context() as patched:
        patched.setattr(instance.leases, "acquire", away)
        instance.apply(camera("a", "one"), camera("b", "two"))
        assert instance.states() == {"one": "streaming", "two": "waiting"}
        assert instance.said[-1].state == "degraded"
        assert "is it running?" in str(instance.status.snapshot().reason)
    eventually(lambda: instance.states() == {"one": "streaming", "two": "streaming"})
    assert instance.status.snapshot().state == "ready"


def test_an_instance_takes_only_the_cameras_it_may(store: redis.Redis) -> None:
    usb = Instance(store, "usb-node", allowed=frozenset({"two"}))
    usb.apply(camera("a", "one"), camera("b", "two"))
    eventually(lambda: usb.states() == {"two": "streaming"})
    usb.supervisor.close()


def test_the_list_of_allowed_cameras_is_checked() -> None:
    assert allowed_cameras(None) is None
    assert allowed_cameras(" , ") is None
    assert allowed_cameras("front, back") == frozenset({"front", "back"})
    with pytest.raises(ValueError, match="POSEBUS_CAMERAS 'Front Door'"):
        allowed_cameras("Front Door")


def test_the_loop_applies_a_configuration_at_once_and_ends_when_told(instance: Instance) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=instance.supervisor.run, args=(stopping,), daemon=True)
    thread.start()
    instance.supervisor.configure(CamerasPart(cameras=(camera("a", "one"),)))

    def state(status: StatusReporter) -> bool:
        return "one" in status.snapshot().cameras and status.snapshot().cameras["one"].state == "streaming"

    eventually(lambda: state(instance.status), timeout_s=5)
    stopping.set()
    thread.join(2)
    assert not thread.is_alive()
