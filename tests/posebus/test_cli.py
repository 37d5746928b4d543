"""The command as a whole: version, errors that a user can mend."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.service import own_version
from tests.posebus.conftest import Command


def test_version_is_that_of_the_package(posebus: Command) -> None:
    assert posebus("--version").out.strip() == f"posebus {own_version()}"


def test_a_user_error_is_one_line_and_exit_code_2(posebus: Command, tmp_path: Path) -> None:
    done = posebus("up", "-c", tmp_path / "missing.yaml")
    assert done.code == 2
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "missing.yaml" in done.err


def test_debug_shows_the_traceback(posebus: Command, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"missing\.yaml"):
        posebus("--debug", "up", "-c", tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tail", "--bus", "http://127.0.0.1"), "is not mqtt://"),
        (("tail", "--bus", "mqtt://127.0.0.1:1", "--seconds", "1"), "cannot be reached"),
        (("alerts", "--state-url", "redis://127.0.0.1:1/0"), "127.0.0.1:1"),
        (("alerts", "--state-url", "ftp://127.0.0.1"), "redis://host:port/db"),
        (("models", "pull", "movenet-multipos"), "did you mean 'movenet-multipose'"),
        (("demo", "/no/such/file.mp4"), "/no/such/file.mp4 does not exist"),
    ],
)
def test_wrong_addresses_and_names_are_told_with_their_fix(
    posebus: Command, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posebus.demo._get_model", lambda name, console: name)
    done = posebus(*arguments)
    assert done.code == 2
    assert said in done.err


def test_a_network_for_the_demo_that_does_not_exist_is_named(posebus: Command) -> None:
    done = posebus("demo", "--pose", "pp-tinypos-256x192")
    assert done.code == 2
    assert "did you mean 'pp-tinypose-256x192'" in done.err


def test_a_password_file_that_cannot_be_read_is_named(posebus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBUS_BUS_PASSWORD_FILE", "/no/such/secret")
    done = posebus("tail", "--seconds", "1")
    assert done.code == 2
    assert "/no/such/secret" in done.err


def test_a_command_whose_package_an_image_lacks_says_where_to_run_it(
    posebus: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service images have the manifests of `models` and none of its tools."""
    monkeypatch.setitem(sys.modules, "models.edgetpu.placement", None)
    done = posebus("models", "check", "--target", "edgetpu", tmp_path / "net.tflite")
    assert done.code == 2
    assert "models.edgetpu.placement is not part of this installation; run the command from a checkout" in done.err
