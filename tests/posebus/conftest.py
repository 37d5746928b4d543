"""Fixtures: the command, run in this process or as its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from posebus.cli import main

REPO = Path(__file__).resolve().parents[2]
GOOD = """\
site: {site}
cameras:
  - name: lobby
    source: rtsp://viewer:secret@192.0.2.1/stream
    zones:
      - name: press
        polygon: [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]
"""


@dataclass(frozen=True)
class Outcome:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("POSEBUS_") and name != "POSEBUS_CACHE"]:
        monkeypatch.delenv(name)


@pytest.fixture
def posebus(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """posebus("config", "check", path) runs the command and returns its outcome."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["posebus", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def start_posebus(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start_posebus("up", ...) -> the command as a process of its own, its output in pipes."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "posebus", *map(str, arguments)],
            env={**os.environ, **environment},
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


@pytest.fixture
def config_file(tmp_path: Path, site: str) -> Path:
    """A good configuration file for the test's own site."""
    path = tmp_path / "posebus.yaml"
    path.write_text(GOOD.format(site=site))
    return path
