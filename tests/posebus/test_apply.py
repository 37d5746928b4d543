"""Putting a configuration on the bus: retained, only what changed, passwords in one part only, bad edits refused."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.bus import Bus
from common.config import PARTS
from common.messages import ConfigPart, encode
from posebus.apply import FileWatcher
from tests import parts
from tests.conftest import MakeBus
from tests.posebus.conftest import GOOD, Command
from tests.wait import eventually

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def on_bus(make_bus: MakeBus) -> dict[str, ConfigPart]:
    """The parts that are retained on the bus of the test's site, kept up to date."""
    return collect(make_bus())


def collect(bus: Bus) -> dict[str, ConfigPart]:
    found: dict[str, ConfigPart] = {}

    def on_part(part: Any, levels: tuple[str, ...]) -> None:
        found[levels[0]] = part

    bus.subscribe(on_part, "config", "+")
    return found


def test_apply_publishes_all_parts_retained(
    posebus: Command, broker: str, config_file: Path, make_bus: MakeBus, site: str
) -> None:
    done = posebus("config", "apply", config_file, "--bus", broker)
    assert done.code == 0, done.err
    late = collect(make_bus(client_id="late"))
    eventually(lambda: late.keys() == PARTS.keys(), what="the retained parts")


def test_passwords_are_in_the_part_sources_only(
    posebus: Command, broker: str, config_file: Path, on_bus: dict[str, ConfigPart]
) -> None:
    posebus("config", "apply", config_file, "--bus", broker)
    eventually(lambda: on_bus.keys() == PARTS.keys())
    assert [name for name, part in on_bus.items() if b"secret" in encode(part)] == ["sources"]


def test_only_what_changed_is_published_again(posebus: Command, broker: str, config_file: Path) -> None:
    posebus("config", "apply", config_file, "--bus", broker)
    assert "nothing changed" in posebus("config", "apply", config_file, "--bus", broker).out
    config_file.write_text(config_file.read_text() + "pose:\n  max_people: 3\n")
    assert posebus("config", "apply", config_file, "--bus", broker).out.endswith(": pose\n")


def test_a_bad_file_publishes_nothing(posebus: Command, broker: str, config_file: Path, on_bus: dict[str, ConfigPart]) -> None:
    posebus("config", "apply", config_file, "--bus", broker)
    eventually(lambda: on_bus.keys() == PARTS.keys())
    before = dict(on_bus)
    config_file.write_text(config_file.read_text() + "colour: red\n")
    done = posebus("config", "apply", config_file, "--bus", broker)
    assert done.code == 2
    assert f"{config_file}:8: colour: unknown key" in done.err
    assert on_bus == before


def test_an_unreachable_bus_is_an_error_with_its_address(posebus: Command, config_file: Path) -> None:
    done = posebus("config", "apply", config_file, "--bus", "mqtt://127.0.0.1:1")
    assert done.code == 2
    assert "127.0.0.1:1 cannot be reached" in done.err


def test_watch_applies_edits_refuses_bad_ones_and_stops_at_sigterm(
    start_posebus: Start, broker: str, config_file: Path, on_bus: dict[str, ConfigPart], tmp_path: Path
) -> None:
    health = tmp_path / "health"
    process = start_posebus("config", "apply", config_file, "--watch", POSEBUS_BUS=broker, POSEBUS_HEALTH_FILE=str(health))
    eventually(lambda: on_bus.keys() == PARTS.keys(), 20, what="the first application")
    eventually(health.exists, what="the health file")
    good = config_file.read_text()
    config_file.write_text(good + "colour: red\n")
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    refused = next(line for line in lines if "refused" in line)
    assert "colour: unknown key" in refused
    assert "stays" in refused
    config_file.write_text(good + "general:\n  max_age_s: 2.5\n")
    eventually(lambda: on_bus["general"].data["max_age_s"] == 2.5, what="the edit")
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(5) == 0
    assert time.monotonic() - began < 2


def test_watch_waits_for_a_good_file(
    start_posebus: Start, broker: str, config_file: Path, on_bus: dict[str, ConfigPart]
) -> None:
    good = config_file.read_text()
    config_file.write_text("cameras: []\n")
    process = start_posebus("config", "apply", config_file, "--watch", POSEBUS_BUS=broker)
    assert process.stderr is not None
    assert "cameras" in process.stderr.readline()
    config_file.write_text(good)
    eventually(lambda: on_bus.keys() == PARTS.keys(), 15, what="the mended file")


def test_watch_publishes_again_when_the_broker_lost_its_memory(
    start_posebus: Start, own_broker: parts.Broker, config_file: Path, make_bus: MakeBus
) -> None:
    own_broker.start()
    start_posebus("config", "apply", config_file, "--watch", POSEBUS_BUS=own_broker.url)
    before = collect(make_bus(url=own_broker.url, client_id="before"))
    eventually(lambda: before.keys() == PARTS.keys(), 20, what="the first application")
    own_broker.stop()
    own_broker.start()
    after = collect(make_bus(url=own_broker.url, client_id="after"))
    eventually(lambda: after.keys() == PARTS.keys(), 30, what="the parts on the new broker")


def test_a_file_that_is_replaced_or_vanishes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    watcher = FileWatcher(path)
    assert not watcher.changed()
    other = tmp_path / "other"
    other.write_text("b")
    other.replace(path)  # as editors save
    assert watcher.changed()
    assert not watcher.changed()
    path.unlink()
    assert watcher.changed()


def test_revisions_do_not_depend_on_the_order_of_keys(posebus: Command, broker: str, tmp_path: Path, site: str) -> None:
    text = GOOD.format(site=site)
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(text)
    second.write_text(text.split("\n", 1)[1] + f"site: {site}\n")
    posebus("config", "apply", first, "--bus", broker)
    assert "nothing changed" in posebus("config", "apply", second, "--bus", broker).out
