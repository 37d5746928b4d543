"""Fixtures: a real broker and real stores, unique sites, services as processes, all ended by their id."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from common import config as settings
from common.bus import Bus
from tests import parts

REPO = Path(__file__).resolve().parents[1]
STATE = "appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n"
FRAMES = "appendonly no\nmaxmemory 256mb\nmaxmemory-policy volatile-ttl\n"
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=parts.BROKERS, default="iotcore", help="the broker that tests run against")
    parser.addoption("--store", choices=parts.STORES, default="valkey", help="the store that tests run against")


def pytest_configure(config: pytest.Config) -> None:
    """A shell's background job ignores Ctrl-C, and so would all that tests start, whatever they send to it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of real external parts run only when they are asked for: `-m real_parts`."""
    if "real_parts" in config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="real external parts: run with `-m real_parts`, as .ci/run does")
    for item in items:
        if "real_parts" in item.keywords:
            item.add_marker(skip)


@dataclass(frozen=True)
class Stores:
    """Addresses of the two stores."""

    frames_url: str
    state_url: str


@pytest.fixture(scope="session")
def broker_kind(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--broker"))


@pytest.fixture(scope="session")
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--store"))


@pytest.fixture(scope="session")
def kit() -> Path:
    """The folder of real models and clips; skips, visibly, where it is absent."""
    folder = Path(os.environ.get("POSEBUS_KIT", REPO.parent / "shared" / "kit"))
    if not folder.is_dir():
        pytest.skip("the kit of real models and clips is absent: set POSEBUS_KIT")
    return folder


@pytest.fixture(scope="session")
def shared_broker(broker_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Broker]:
    part = parts.Broker(broker_kind, tmp_path_factory.mktemp("broker"))
    part.start()
    yield part
    part.stop()


@pytest.fixture(scope="session")
def shared_stores(store_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[parts.Store, parts.Store]]:
    frames = parts.Store(store_kind, tmp_path_factory.mktemp("frames"), settings=FRAMES)
    state = parts.Store(store_kind, tmp_path_factory.mktemp("state"), settings=STATE)
    frames.start()
    state.start()
    yield frames, state
    frames.stop()
    state.stop()


@pytest.fixture
def broker(shared_broker: parts.Broker) -> str:
    """Address of a real broker; use a site of your own (fixture `site`), as others use it too."""
    return shared_broker.url


@pytest.fixture
def stores(shared_stores: tuple[parts.Store, parts.Store]) -> Stores:
    """Two real stores, emptied."""
    for part in shared_stores:
        with redis.Redis.from_url(part.url) as client:
            client.flushall()
    return Stores(shared_stores[0].url, shared_stores[1].url)


@pytest.fixture
def own_broker(broker_kind: str, tmp_path: Path) -> Iterator[parts.Broker]:
    """A broker that the test may stop and start; not started yet."""
    part = parts.Broker(broker_kind, tmp_path / "broker")
    yield part
    part.stop()


@pytest.fixture
def own_stores(store_kind: str, tmp_path: Path) -> Iterator[tuple[parts.Store, parts.Store]]:
    """Frame store and state store that the test may stop and start; not started yet."""
    frames = parts.Store(store_kind, tmp_path / "frames", settings=FRAMES)
    state = parts.Store(store_kind, tmp_path / "state", settings=STATE)
    yield frames, state
    frames.stop()
    state.stop()


@pytest.fixture
def site() -> str:
    """A site that no other test uses."""
    return f"site{next(_numbers)}"


MakeBus = Callable[..., Bus]


@pytest.fixture
def make_bus(broker: str, site: str) -> Iterator[MakeBus]:
    """make_bus(site=, url=, client_id=, protocol=) -> a connected Bus, stopped at the end of the test."""
    made: list[Bus] = []

    def make(*, url: str = broker, client_id: str = "test", protocol: str = "auto", on: str = site) -> Bus:
        bus = Bus(url, site=on, client_id=client_id, protocol=protocol)
        made.append(bus)
        bus.start()
        assert bus.wait_connected(15), bus.last_error
        return bus

    yield make
    for bus in made:
        bus.stop()


@pytest.fixture
def configure() -> Callable[[Bus, settings.PosebusConfig], None]:
    """configure(bus, config): publish all parts of a configuration."""

    def publish(bus: Bus, config: settings.PosebusConfig) -> None:
        for name, part in settings.split(config).items():
            bus.publish(part, "config", name)

    return publish


StartService = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_service(site: str, broker: str, tmp_path: Path) -> Iterator[StartService]:
    """start_service(name, instance=, **environment) -> the process of a real service; its log is {tmp_path}/{instance}.log."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *, instance: str | None = None, **environment: str) -> subprocess.Popen[bytes]:
        instance = instance or f"{name}-{len(started) + 1}"
        variables = {
            **os.environ,
            "POSEBUS_BUS": broker,
            "POSEBUS_SITE": site,
            "POSEBUS_INSTANCE": instance,
            "POSEBUS_HEALTH_FILE": str(tmp_path / f"{instance}.health"),
            "PYTHONWARNINGS": "ignore",
            **environment,
        }
        with open(tmp_path / f"{instance}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"], env=variables, cwd=REPO, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
