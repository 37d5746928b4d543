"""A real RTSP camera, from the stream to the bus: it plays, it is refused, it breaks off and comes back.

Needs these Debian packages (a missing one is a visible skip): gir1.2-gst-rtsp-server-1.0 python3-gi
gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from posebus.embedded import free_port
from tests import parts
from tests.conftest import MakeBus, StartService, Stores
from tests.services.camera_parts import camera
from tests.services.test_camera_service import Configure, Watcher, config, end, fetch
from tests.wait import eventually

pytestmark = pytest.mark.real_parts

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
PROBE = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
missing = [name for name in ("videotestsrc", "x264enc", "rtph264pay") if Gst.ElementFactory.find(name) is None]
raise SystemExit("no element " + ", ".join(missing) if missing else 0)
"""


class Camera:
    """The RTSP server as a child process, on one port for its whole life."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, user: str = "", path: str = "live") -> str:
        return f"rtsp://{user}127.0.0.1:{self.port}/{path}"

    def start(self, *credential: str) -> None:
        self.process = subprocess.Popen([SYSTEM_PYTHON, str(SERVER), str(self.port), *credential])
        eventually(lambda: parts.accepts(self.port), timeout_s=20, what="the RTSP server listens")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)
            self.process = None


@pytest.fixture
def rtsp() -> Iterator[Camera]:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"the RTSP server needs {SYSTEM_PYTHON}")
    found = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    if found.returncode:
        pytest.skip(f"Debian's GStreamer RTSP server is not installed: {found.stderr.strip().splitlines()[-1:]}")
    server = Camera()
    yield server
    server.stop()


@pytest.fixture
def watcher(make_bus: MakeBus) -> Watcher:
    return Watcher(make_bus())


def test_a_stream_with_a_password_plays_at_the_configured_rate(
    rtsp: Camera, watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService, tmp_path: Path
) -> None:
    rtsp.start("eye", "s3cret")
    configure(watcher.bus, config(stores, camera(rtsp.url("eye:s3cret@"), fps=10, max_side_px=160)))
    process = start_service("camera")
    eventually(lambda: len(watcher.of("lobby")) >= 50, timeout_s=40)
    notices = watcher.of("lobby")
    image = fetch(stores.frames_url, notices[-1])
    assert (notices[-1].width_px, notices[-1].height_px) == (320, 240)
    assert image.shape == (120, 160, 3)
    assert image.max() > 200  # the white ball
    intervals_s = np.diff([notice.captured_at_ns for notice in notices[10:]]) / 1e9
    assert np.mean(intervals_s) == pytest.approx(0.1, rel=0.1)
    assert psutil.Process(process.pid).net_connections(kind="udp") == []  # over TCP
    assert end(process) < 3.0
    assert "s3cret" not in (tmp_path / "camera-1.log").read_text()


def test_what_is_wrong_with_an_address_is_named(
    rtsp: Camera, watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService, tmp_path: Path
) -> None:
    rtsp.start("eye", "s3cret")
    configure(
        watcher.bus,
        config(
            stores,
            camera(rtsp.url("eye:hunter2@"), "wrong-password"),
            camera(rtsp.url(), "no-password"),
            camera(rtsp.url("eye:s3cret@", "garden"), "wrong-path"),
            camera(rtsp.url("eye:s3cret@"), "right"),
        ),
    )
    start_service("camera")
    expected = {
        "wrong-password": "refuses the credential of user 'eye': wrong user or password",
        "no-password": "asks for user and password",
        "wrong-path": "has no such stream '/garden'",
    }
    for name, reason in expected.items():
        eventually(partial(watcher.is_in, name, "failed"), timeout_s=30, what=name)
        assert reason in watcher.reason(name)
    eventually(partial(watcher.is_in, "right", "streaming"), timeout_s=30)
    assert "hunter2" not in (tmp_path / "camera-1.log").read_text()
    assert "hunter2" not in repr(watcher.status)


def test_a_camera_that_loses_power_streams_again_by_itself(
    rtsp: Camera, watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService
) -> None:
    rtsp.start()
    configure(watcher.bus, config(stores, camera(rtsp.url(), timeout_s=2)))
    start_service("camera")
    eventually(partial(watcher.is_in, "lobby", "streaming"), timeout_s=40)
    rtsp.stop()
    eventually(partial(watcher.is_in, "lobby", "failed"), timeout_s=15)
    eventually(lambda: "refused the connection" in watcher.reason("lobby"), timeout_s=15)
    last = watcher.of("lobby")[-1].seq
    rtsp.start()
    eventually(partial(watcher.is_in, "lobby", "streaming"), timeout_s=60)
    eventually(lambda: len([notice for notice in watcher.of("lobby") if notice.seq > last]) > 10, timeout_s=20)
    health = watcher.health("lobby")
    assert health is not None
    assert health.reconnects >= 1
    assert all(np.diff([notice.seq for notice in watcher.of("lobby")]) > 0)


def test_a_camera_that_hangs_is_noticed_and_read_again(
    rtsp: Camera, watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService
) -> None:
    rtsp.start()
    configure(watcher.bus, config(stores, camera(rtsp.url(), timeout_s=1)))
    start_service("camera")
    eventually(partial(watcher.is_in, "lobby", "streaming"), timeout_s=40)
    rtsp.signal(signal.SIGSTOP)
    eventually(partial(watcher.is_in, "lobby", "failed"), timeout_s=15)
    assert any(reason in watcher.reason("lobby") for reason in ("no frame for 1 s", "does not answer"))
    rtsp.signal(signal.SIGCONT)
    eventually(partial(watcher.is_in, "lobby", "streaming"), timeout_s=60)


def test_after_a_standstill_no_old_pictures_are_published(
    rtsp: Camera, watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService
) -> None:
    rtsp.start()
    configure(watcher.bus, config(stores, camera(rtsp.url(), timeout_s=30)))
    process = start_service("camera")
    eventually(lambda: len(watcher.of("lobby")) > 20, timeout_s=40)
    process.send_signal(signal.SIGSTOP)
    before = len(watcher.of("lobby"))
    with pytest.raises(AssertionError):
        eventually(lambda: len(watcher.of("lobby")) > before + 1, timeout_s=4)
    process.send_signal(signal.SIGCONT)
    eventually(lambda: len(watcher.of("lobby")) > before + 20, timeout_s=20)
    fresh = watcher.of("lobby")[before + 1 :]
    assert max(notice.published_at_ns - notice.captured_at_ns for notice in fresh) < 1.2e9
    eventually(lambda: (watcher.status["camera-1"].counters.get("frames_late", 0)) > 20, timeout_s=10)
