"""`posebus doctor`: each finding right, with its fix; exit 1 only when something fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebus import checks
from posebus.checks import Finding
from tests import parts
from tests.conftest import Stores
from tests.posebus.conftest import Command


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a network is tested with the runtimes."""
    monkeypatch.setattr(checks, "runtimes", lambda: iter([Finding("runtimes", "skip", "not tested here")]))


def findings(out: str) -> dict[str, dict[str, Any]]:
    """The worst finding on each subject, by its name."""
    order = ["skip", "ok", "warn", "fail"]
    found: dict[str, dict[str, Any]] = {}
    for line in out.splitlines():
        finding = json.loads(line)
        before = found.get(finding["what"])
        if before is None or order.index(finding["level"]) > order.index(before["level"]):
            found[finding["what"]] = finding
    return found


def test_without_a_bus_it_skips_what_it_cannot_check(posebus: Command) -> None:
    done = posebus("doctor", "--json")
    assert done.code == 0, done.out
    found = findings(done.out)
    assert {name: found[name]["level"] for name in ("bus", "frames store", "state store", "clock", "configuration")} == {
        "bus": "skip", "frames store": "skip", "state store": "skip", "clock": "skip", "configuration": "skip",
    }  # fmt: skip
    assert found["python"]["level"] == "ok"


def test_a_sound_site_has_no_failures(posebus: Command, broker: str, stores: Stores, site: str) -> None:
    done = posebus(
        "doctor", "--json", "--site", site, "--bus", broker, "--frames-url", stores.frames_url, "--state-url", stores.state_url
    )
    found = findings(done.out)
    assert done.code == 0, found
    assert [found[name]["level"] for name in ("bus", "frames store", "state store", "clock")] == ["ok"] * 4


def test_what_is_unreachable_fails_with_address_and_fix(posebus: Command) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    done = posebus("doctor", "--json", "--bus", "mqtt://127.0.0.1:1", "--frames-url", nowhere, "--state-url", nowhere)
    assert done.code == 1
    found = findings(done.out)
    for name in ("bus", "frames store", "state store", "clock"):
        assert found[name]["level"] == "fail"
        assert "127.0.0.1:1" in found[name]["text"]
        assert found[name]["fix"]


def test_stores_in_each_others_place_are_noticed(posebus: Command, stores: Stores) -> None:
    done = posebus("doctor", "--json", "--frames-url", stores.state_url, "--state-url", stores.frames_url)
    assert done.code == 1
    texts = [json.loads(line)["text"] for line in done.out.splitlines() if '"fail"' in line]
    assert any("appendonly is off" in text for text in texts)
    assert any("volatile-ttl may throw alerts away" in text for text in texts)
    assert findings(done.out)["frames store"]["level"] == "warn"


def test_a_store_that_may_lose_a_second_is_a_warning(posebus: Command, store_kind: str, tmp_path: Path) -> None:
    part = parts.Store(store_kind, tmp_path, settings="appendonly yes\nappendfsync everysec\nmaxmemory-policy noeviction\n")
    part.start()
    try:
        done = posebus("doctor", "--json", "--state-url", part.url)
    finally:
        part.stop()
    assert done.code == 0
    assert "appendfsync is everysec" in findings(done.out)["state store"]["text"]


def test_the_configuration_is_checked_when_given(posebus: Command, config_file: Path) -> None:
    assert findings(posebus("doctor", "--json", "-c", config_file).out)["configuration"]["level"] == "ok"
    config_file.write_text(config_file.read_text().replace("rtsp://viewer:secret@192.0.2.1/stream", "missing.mp4"))
    done = posebus("doctor", "--json", "-c", config_file)
    assert done.code == 1
    assert "missing.mp4 does not exist" in findings(done.out)["camera lobby"]["text"]


def test_a_cache_that_cannot_be_written_fails(posebus: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("POSEBUS_CACHE", str(blocked / "cache"))
    done = posebus("doctor", "--json")
    assert done.code == 1
    assert "POSEBUS_CACHE" in findings(done.out)["cache"]["fix"]


def test_accelerators_are_found_by_their_device_files(tmp_path: Path) -> None:
    usb = tmp_path / "sys/bus/usb/devices/1-2"
    usb.mkdir(parents=True)
    (usb / "idVendor").write_text("18d1\n")
    (usb / "idProduct").write_text("9302\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()
    (tmp_path / "dev/nvhost-gpu").touch()
    found = {finding.what: finding for finding in checks.accelerators(tmp_path)}
    assert found["nvidia"].level == "ok"
    assert "USB 18d1:9302" in found["coral"].text
    assert "apex_0" in found["coral"].text


def test_a_machine_without_accelerators_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_nvidia_smi", lambda: "")
    assert {finding.level for finding in checks.accelerators(tmp_path)} == {"skip"}


def test_the_table_for_people_counts_the_findings(posebus: Command) -> None:
    done = posebus("doctor")
    assert done.out.splitlines()[-1].count("ok") == 1
    assert "skip" in done.out
