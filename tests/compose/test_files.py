"""What the deployment files promise, read from the files: no engine needed."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from paho.mqtt.client import topic_matches_sub

from common.topics import TABLE, topic
from deploy.mosquitto import credentials
from tests.conftest import REPO

COMPOSE: dict[str, Any] = yaml.safe_load((REPO / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = sorted(SERVICES.keys() - {"setup"})
DOCKERFILE = (REPO / "deploy/docker/Dockerfile").read_text(encoding="utf-8")
SITE = "anywhere"


def test_the_services_of_the_design_are_there() -> None:
    expected = {"setup", "mosquitto", "redis", "frames", "config", "camera", "detector", "pose", "analytics"}
    assert SERVICES.keys() == expected


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert service["mem_limit"]
    assert "cap_add" not in service
    assert "privileged" not in service


@pytest.mark.parametrize("name", LASTING)
def test_every_lasting_service_is_checked_restarted_and_stopped_in_time(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "5s"
    assert "container_name" not in service, "a fixed name forbids --scale"


def test_only_the_broker_is_published_and_by_default_to_this_machine_alone() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["mosquitto"]
    assert SERVICES["mosquitto"]["ports"] == ["${POSEBUS_BIND:-127.0.0.1}:${POSEBUS_PORT:-1883}:1883"]


def test_only_broker_and_camera_reach_beyond_the_stack() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in SERVICES.items() if "outside" in service.get("networks", ())}
    assert outside == {"mosquitto", "camera"}


def test_pixels_have_no_way_to_a_disk() -> None:
    frames = SERVICES["frames"]
    assert all(volume.endswith(":ro") for volume in frames["volumes"])
    assert frames["memswap_limit"] == frames["mem_limit"], "a swapped page is a page on a disk"
    settings = directives("frames")
    assert settings["save"] == '""'
    assert settings["appendonly"] == "no"
    assert settings["maxmemory-policy"] == "volatile-ttl"
    assert "-@admin" in settings["user"], "a client could switch saving on with CONFIG"


def test_state_is_on_the_disk_before_it_is_confirmed_and_never_evicted() -> None:
    settings = directives("state")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"


def directives(name: str) -> dict[str, str]:
    lines = (REPO / f"deploy/redis/{name}.conf").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def test_images_name_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(images) == len(SERVICES) + 1
    for image in images:
        assert re.search(r":[^:/]+$", image), image
        assert "latest" not in image


def test_the_dockerfile_builds_with_any_builder_on_any_architecture() -> None:
    assert "# syntax=" not in DOCKERFILE
    assert "<<" not in DOCKERFILE
    assert "--mount" not in DOCKERFILE
    assert not re.search(r"amd64|x86_64|aarch64|arm64", DOCKERFILE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}", "base", "packages", "app"}


def test_the_build_context_is_a_list_of_what_may_enter() -> None:
    lines = (REPO / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = set(re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE))
    allowed = [rule[1:].split("/")[0] for rule in rules if rule.startswith("!")]
    assert {source.split("/")[0] for source in copied} == set(allowed)


@pytest.mark.parametrize("runtime", ["tflite", "onnx", "openvino"])
def test_each_runtime_is_locked_together_with_core(runtime: str) -> None:
    core, whole = ((REPO / f"requirements/{name}.txt").read_text().splitlines() for name in ("core", runtime))
    assert set(core) < set(whole), "the image of a runtime is the image of core plus what this file has more"


def rules() -> dict[str, list[tuple[str, str]]]:
    """The ACL: account -> [(read | write | readwrite, topic filter)]."""
    parsed: dict[str, list[tuple[str, str]]] = {}
    for line in (REPO / "deploy/mosquitto/acl").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["user"]:
            parsed[words[1]] = []
        elif words[:1] == ["topic"]:
            list(parsed.values())[-1].append((words[1], words[2]))
    return parsed


def may(account: str, what: str, full_topic: str) -> bool:
    return any(what in access and topic_matches_sub(pattern, full_topic) for access, pattern in rules()[account])


def test_each_account_has_rules_and_a_password() -> None:
    assert set(rules()) == set(credentials.ACCOUNTS)


def test_only_config_and_camera_may_read_where_the_cameras_are() -> None:
    sources = topic(SITE, "config", "sources")
    assert {account for account in rules() if may(account, "read", sources)} == {"config", "camera"}
    assert {account for account in rules() if may(account, "write", sources)} == {"config"}


WRITERS = {
    "frames": {"camera"},
    "people": {"detector"},
    "poses": {"pose"},
    "tracks": {"analytics"},
    "alerts": {"analytics"},
    "state": {"analytics"},
    "occupancy": {"analytics"},
    "config": {"config"},
    "models": {"config"},
    "command": set(),
}


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_each_kind_of_topic_has_the_one_writer(name: str) -> None:
    spec = next(entry for entry in TABLE if entry.name == name)
    full = topic(SITE, name, *["x"] * spec.levels.count("/"))
    assert {account for account in rules() if may(account, "write", full)} == WRITERS[name]


def test_every_topic_but_status_has_its_writer_listed() -> None:
    assert {entry.name for entry in TABLE} == WRITERS.keys() | {"status"}


def test_each_service_tells_its_own_status_and_no_other() -> None:
    for service in ("config", "camera", "detector", "pose", "analytics"):
        full = topic(SITE, "status", service, "x")
        assert {account for account in rules() if may(account, "write", full)} == {service}
        assert may("viewer", "read", full)


def test_credentials_are_private_random_and_stay(tmp_path: Path) -> None:
    for name in (*credentials.ACCOUNTS, "broker-auth"):
        (tmp_path / name).mkdir()
    assert credentials.create(tmp_path) == list(credentials.ACCOUNTS)
    passwords = {name: (tmp_path / name / "password").read_text() for name in credentials.ACCOUNTS}
    assert len(set(passwords.values())) == len(passwords)
    assert min(map(len, passwords.values())) > 40
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*")} == {0o600}

    (tmp_path / "pose" / "password").unlink()
    assert credentials.create(tmp_path) == ["pose"]
    again = {name: (tmp_path / name / "password").read_text() for name in credentials.ACCOUNTS}
    assert {name for name in passwords if passwords[name] != again[name]} == {"pose"}
    assert len((tmp_path / "broker-auth" / "passwords").read_text().splitlines()) == len(credentials.ACCOUNTS)


def test_passwords_are_hashed_as_mosquitto_passwd_does() -> None:
    written = (  # by `mosquitto_passwd -b FILE golden posebus-golden` of Mosquitto 2.0.11
        "$7$101$9i5A3fkYzDUpujV0$jvKj/aQEmCXg/NQzheCFb0PGwGO0taWCDMKWqvINrVlBy3inpXmXd07P3o4KUU+MsqYKnh3wm7mS4ifSHdq1Jg=="
    )
    salt = base64.b64decode("9i5A3fkYzDUpujV0")
    assert credentials.hashed("posebus-golden", salt, 101) == written


def test_a_volume_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert credentials.main(str(tmp_path)) == 1
    assert f"{tmp_path}/config/password" in capsys.readouterr().err
