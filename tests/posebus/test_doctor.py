"""`posebus doctor`: each finding right, with its fix; exit 1 only when something fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebus import checks
from posebus.checks import Finding
from posebus.checks import runtimes as all_runtimes
from tests import parts
from tests.conftest import Stores
from tests.model_parts import tiny_artifact
from tests.posebus.conftest import Command


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is tested without loading networks; `all_runtimes` is tested by itself."""
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


def add_stick(root: Path) -> None:
    usb = root / "sys/bus/usb/devices/1-2"
    usb.mkdir(parents=True)
    (usb / "idVendor").write_text("18d1\n")
    (usb / "idProduct").write_text("9302\n")


def test_accelerators_are_found_by_their_device_files(tmp_path: Path) -> None:
    add_stick(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()
    (tmp_path / "dev/nvhost-gpu").touch()
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    found = {finding.what: finding for finding in checks.accelerators(tmp_path)}
    assert found["nvidia"].level == "ok"
    assert found["nvidia"].text == f"NVIDIA Jetson Orin Nano Developer Kit: {tmp_path}/dev/nvhost-gpu"
    assert found["coral"].level == "ok"
    assert "usb:0 (USB 18d1:9302)" in found["coral"].text
    assert "apex_0" in found["coral"].text


def test_an_accelerator_that_cannot_be_used_is_a_warning_with_its_fix(tmp_path: Path) -> None:
    card = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x1ac1\n")
    (card / "device").write_text("0x089a\n")
    coral = {finding.what: finding for finding in checks.accelerators(tmp_path)}["coral"]
    assert coral.level == "warn"
    assert coral.text == "pci:0 (PCI 0000:01:00.0)"
    assert "sudo apt install gasket-dkms" in coral.fix


def test_a_machine_without_accelerators_has_none(tmp_path: Path) -> None:
    assert {finding.level for finding in checks.accelerators(tmp_path)} == {"skip"}


def of_runtimes(root: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in all_runtimes(root)}


@pytest.fixture
def _one_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The zoo has one tiny ONNX network."""
    artifact = tiny_artifact(tmp_path / "tiny", "onnx")
    monkeypatch.setattr(checks, "list_artifacts", lambda: [artifact])


@pytest.mark.usefixtures("_one_network")
def test_runtimes_say_what_they_can_use_and_run_what_is_here(tmp_path: Path) -> None:
    found = of_runtimes(tmp_path)
    assert found["runtime onnx"].level == "ok"
    assert "can use cpu; runs tiny-onnx 1 on cpu, loaded in" in found["runtime onnx"].text
    assert "; runs tiny-onnx 1 on cpu" in found["runtime openvino"].text
    assert found["runtime tflite"].text.endswith("can use cpu; no network of its format is here to try")
    assert "runtimes" not in found


@pytest.mark.usefixtures("_one_network")
def test_a_runtime_that_is_missing_is_skipped_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "probe", lambda runtime: "x is not installed (a; b); run `pip install x`")
    found = of_runtimes(tmp_path)
    assert {finding.level for what, finding in found.items() if what != "runtimes"} == {"skip"}
    assert found["runtime tensorrt"].text == "x is not installed (a; b)"
    assert found["runtime tensorrt"].fix == "run `pip install x`"
    assert found["runtimes"].level == "fail"


@pytest.mark.usefixtures("_one_network")
def test_a_runtime_that_is_missing_though_its_device_is_there_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"edgetpu": "no library; install it", "tensorrt": "no tensorrt; install it"}
    monkeypatch.setattr(checks, "probe", reasons.get)
    add_stick(tmp_path)
    found = of_runtimes(tmp_path)
    assert (found["runtime edgetpu"].level, found["runtime edgetpu"].fix) == ("warn", "install it")
    assert found["runtime tensorrt"].level == "skip"


@pytest.mark.usefixtures("_one_network")
def test_an_accelerators_runtime_is_not_tried_but_names_its_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "probe", lambda runtime: None if runtime == "edgetpu" else "not here; fix it")
    monkeypatch.setattr(checks, "devices", lambda runtime: ["usb:0 (USB 18d1:9302)"])
    found = of_runtimes(tmp_path)["runtime edgetpu"]
    assert found.level == "ok"
    assert found.text.endswith("can use usb:0 (USB 18d1:9302)")


@pytest.mark.usefixtures("_one_network")
def test_a_network_that_does_not_load_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "tiny/tiny.onnx").write_bytes(b"garbage")
    found = of_runtimes(tmp_path)["runtime onnx"]
    assert found.level == "fail"
    assert "does not load tiny-onnx 1: " in found.text


def site(folder: Path, **stages: object) -> Path:
    file = folder / "posebus.yaml"
    cameras = "cameras: [{name: lobby, source: 'rtsp://192.0.2.1/1'}]\n"
    file.write_text(cameras + "".join(f"{name}: {json.dumps(stage)}\n" for name, stage in stages.items()))
    return file


def of_models(config: Path | None = None) -> dict[str, Finding]:
    return {finding.what: finding for finding in checks.models(config)}


def test_the_networks_of_both_stages_are_looked_at(tmp_path: Path) -> None:
    own = tiny_artifact(tmp_path / "tiny", "onnx")
    found = of_models(site(tmp_path, detector={"model": str(own.folder)}, pose={"model": "fake-person"}))
    assert found["model of detector"] == Finding("model of detector", "ok", "tiny-onnx 1, its files are here; onnx runs it")
    assert found["model of pose"].text == "fake-person 1, its files are here; fake runs it"
    assert of_models().keys() == found.keys()


def test_a_network_that_is_not_here_yet_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBUS_CACHE", str(tmp_path / "cache"))
    found = of_models(site(tmp_path, detector={"model": "movenet-multipose"}))["model of detector"]
    assert (found.level, found.fix) == ("warn", "posebus models pull movenet-multipose")


def test_a_network_that_cannot_run_is_a_failure_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(tiny_artifact(tmp_path / "tiny", "onnx").folder)
    unknown = of_models(site(tmp_path, pose={"model": "pp-tinypose"}))["model of pose"]
    assert (unknown.level, unknown.fix) == ("fail", "correct `model` in the configuration")
    monkeypatch.setattr(checks, "probe", lambda runtime: f"no {runtime}; install it")
    asked = of_models(site(tmp_path, pose={"model": own, "runtime": "onnx"}))["model of pose"]
    assert (asked.level, asked.text) == ("fail", "tiny-onnx 1 is to run on onnx: no onnx; install it")
    free = of_models(site(tmp_path, pose={"model": own}))["model of pose"]
    assert (free.level, free.text) == ("fail", "tiny-onnx 1 (onnx) runs on no runtime here")


def test_bottom_up_has_one_network(tmp_path: Path) -> None:
    assert of_models(site(tmp_path, pose={"approach": "bottom_up"})).keys() == {"model of pose"}


def test_the_table_for_people_counts_the_findings(posebus: Command) -> None:
    done = posebus("doctor")
    assert done.out.splitlines()[-1].count("ok") == 1
    assert "skip" in done.out
