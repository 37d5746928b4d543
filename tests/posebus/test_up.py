"""`posebus up`: a whole site from one file, with edits applied at once, and all of it gone within five seconds."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import typer

from posebus.supervisor import STOP_ORDER
from posebus.up import choose_bus, parse_scale
from tests.posebus.conftest import Command
from tests.wait import eventually

Start = Callable[..., "subprocess.Popen[str]"]
CONFIG = """\
site: testsite
bus: mqtt://127.0.0.1:1
cameras:
  - name: lobby
    source: pictures
    fps: 2
    loop: true
detector: {model: fake-person}
pose: {model: fake-person}
"""


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    """A site whose camera is a folder of pictures."""
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / "pictures" / f"{i}.jpg"), np.full((120, 160, 3), 60 * i, np.uint8))
    path = tmp_path / "posebus.yaml"
    path.write_text(CONFIG)
    return path


class Output:
    """The lines that a process says, on a thread, so that waiting for one has an end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._queue: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._queue.put(line)

    def wait_for(self, *words: str, timeout_s: float = 40.0) -> str:
        def found() -> str | None:
            while not self._queue.empty():
                self.lines.append(self._queue.get())
            return next((line for line in self.lines if all(word in line for word in words)), None)

        return eventually(found, timeout_s, what=f"a line with {words}; said so far: {self.lines}") or ""

    def join(self) -> None:
        self._thread.join(5)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_site_runs_follows_edits_survives_a_crash_and_stops_in_time(
    start_posebus: Start, site_file: Path, tmp_path: Path
) -> None:
    process = start_posebus("up", "-c", site_file, "--logs", tmp_path / "logs")
    output = Output(process)
    assert "running an embedded broker" in output.wait_for("127.0.0.1:1 cannot be reached")
    for service in STOP_ORDER:
        output.wait_for(f"{service}/{service} ready")
    output.wait_for("camera lobby streaming")

    site_file.write_text(CONFIG + "colour: red\n")
    assert "stays" in output.wait_for("posebus.yaml:10: colour: unknown key")
    site_file.write_text(CONFIG + "general: {max_age_s: 2}\n")
    output.wait_for("applied", "general")

    (pose,) = [child for child in descendants(process) if "services.pose" in child.cmdline()]
    pose.kill()
    output.wait_for("pose ended (killed by SIGKILL)")

    def another_pose() -> bool:
        return any("services.pose" in child.cmdline() and child.pid != pose.pid for child in descendants(process))

    eventually(another_pose, what="the restarted service")
    children = descendants(process)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(15) == 0
    assert time.monotonic() - began < 5
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    output.join()


def test_a_killed_command_leaves_no_process_and_no_data(start_posebus: Start, site_file: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = start_posebus("up", "-c", site_file, "--logs", tmp_path / "logs", "--embedded", TMPDIR=str(temporary))
    output = Output(process)
    output.wait_for("camera lobby streaming")
    children = descendants(process)
    assert len(children) >= 7  # broker, two stores, four services
    process.kill()
    process.wait(5)
    eventually(
        lambda: not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE],
        15,
        what="the end of all children",
    )
    eventually(lambda: not list(temporary.glob("posebus-*")), what="the end of the temporary data")
    output.join()


def test_a_bad_file_starts_nothing(posebus: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("cameras: 3\n")
    done = posebus("up", "-c", path, "--logs", tmp_path / "logs")
    assert done.code == 2
    assert "bad.yaml:1: cameras" in done.err
    assert not (tmp_path / "logs").exists()


def test_a_reachable_bus_is_used_unless_told_otherwise(broker: str, site_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from common.config import load

    settings = load(site_file)
    assert choose_bus(settings, None)[0] is None
    assert choose_bus(settings, False)[0] == "mqtt://127.0.0.1:1"
    monkeypatch.setenv("POSEBUS_BUS", broker)
    assert choose_bus(settings, None)[0] == broker
    assert choose_bus(settings, True)[0] is None


def test_a_bottom_up_site_runs_without_a_detector(start_posebus: Start, site_file: Path, tmp_path: Path) -> None:
    site_file.write_text(CONFIG.replace("pose: {model: fake-person}", "pose: {model: fake-person, approach: bottom_up}"))
    process = start_posebus("up", "-c", site_file, "--logs", tmp_path / "logs")
    output = Output(process)
    output.wait_for("pose/pose ready")
    output.wait_for("camera lobby streaming")
    running = {word for child in descendants(process) for word in child.cmdline() if word.startswith("services.")}
    assert running == {"services.camera", "services.pose", "services.analytics"}
    site_file.write_text(CONFIG)
    output.wait_for("pose.approach is now 'top_down'", "restart the pose service")
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    output.join()


def test_scale_is_read_and_checked() -> None:
    assert parse_scale(["detector=2", "pose=0"]) == {"detector": 2, "pose": 0}
    for wrong in ("dashboard=1", "detector", "detector=many", "pose=-1"):
        with pytest.raises(typer.BadParameter, match=wrong):
            parse_scale([wrong])
