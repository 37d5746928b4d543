"""One camera's life: streaming, ended, failed, back again; and hundreds of times without leaving anything behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import pytest

from common.clock import SystemClock
from common.config import CameraSettings
from common.messages import CameraHealth
from common.status import StatusReporter
from services.camera.pacing import Backoff
from services.camera.sources import Frame, Source, SourceError, open_source
from services.camera.worker import CameraWorker
from tests.services.camera_parts import camera, frame, mjpeg, refused_port, reporter, rtsp, speaking, write_video
from tests.wait import eventually


class Tray:
    """An outlet that keeps frames."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.is_closed = False

    def publish(self, frame: Frame) -> int | None:
        self.frames.append(frame)
        return len(self.frames)

    def close(self) -> None:
        self.is_closed = True


class Script:
    """A source that yields frames, then does what the script says."""

    note: str | None = None
    skipped = 0
    late = 0

    def __init__(self, frames: int, then: Exception | None = None, *, live: bool = True) -> None:
        self.live = live
        self.left = frames
        self.then = then
        self.closed = 0

    def read(self) -> Frame | None:
        if self.left:
            self.left -= 1
            return frame()
        if self.then is not None:
            raise self.then
        return None

    def close(self) -> None:
        self.closed += 1


class Quick(Backoff):
    """Does not wait, and remembers what it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[float, bool]] = []

    def next_s(self, *, patient: bool = False) -> float:
        self.waits.append((super().next_s(patient=patient), patient))
        return 0.001


def real_source(settings: CameraSettings, stopping: threading.Event) -> Source:
    return open_source(settings, clock=SystemClock(), stopping=stopping)


def worker(
    settings: CameraSettings, open_it: Callable[[CameraSettings, threading.Event], Source] = real_source
) -> tuple[CameraWorker, Tray, list[str]]:
    """A worker that is not started, its outlet, and its states in order."""
    tray, states = Tray(), []
    status, said = reporter()
    made = CameraWorker(settings, open_source=open_it, outlet=tray, clock=SystemClock(), status=status, backoff=Quick())
    del said[:]
    tell = status.camera

    def listen(name: str, health: CameraHealth | None) -> None:
        assert health is not None
        states.append(health.state)
        tell(name, health)

    status.camera = listen  # type: ignore[method-assign]
    return made, tray, states


def test_a_camera_that_fails_is_opened_again_and_streams() -> None:
    sources = [Script(0, SourceError("cam:554 refused")), Script(2, SourceError("closed")), Script(3, RuntimeError("odd"))]
    opened = list(sources)
    release = threading.Event()

    def open_it(settings: CameraSettings, stopping: threading.Event) -> Source:
        if opened:
            return opened.pop(0)
        release.set()
        stopping.wait(10)
        return Script(0)

    made, tray, states = worker(camera("rtsp://cam/1"), open_it)
    made.start()
    assert release.wait(5)
    assert states == ["failed", "streaming", "failed", "streaming", "failed"]
    assert len(tray.frames) == 5
    assert [source.closed for source in sources] == [1, 1, 1]
    assert made.health.reconnects == 3
    assert made.health.reason == "unexpected RuntimeError: odd"
    made.stop()
    assert made.join(2)
    assert tray.is_closed


def test_a_refused_password_makes_the_worker_patient() -> None:
    made, _, _ = worker(camera("rtsp://cam/1"), lambda *_: Script(0, SourceError("wrong password", patient=True)))
    made.start()
    backoff = made._backoff
    assert isinstance(backoff, Quick)
    eventually(lambda: len(backoff.waits) >= 3)
    made.stop()
    assert made.join(2)
    assert all(patient and wait_s >= 15 for wait_s, patient in backoff.waits)


def test_a_file_ends_once_and_is_not_opened_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", frames=12)
    opened: list[str] = []

    def open_it(settings: CameraSettings, stopping: threading.Event) -> Source:
        opened.append(settings.source)
        return real_source(settings, stopping)

    made, tray, states = worker(camera(str(path), pace="fast", fps=30), open_it)
    made.start()
    eventually(lambda: made.health.state == "ended")
    made.stop()
    assert made.join(2)
    assert states == ["streaming", "ended"]
    assert len(tray.frames) == 12
    assert len(opened) == 1
    assert made.health.last_seq == 12


def test_a_truncated_file_ends_with_the_reason(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi")
    path.write_bytes(path.read_bytes()[:20_000])
    made, _, _ = worker(camera(str(path), pace="fast", fps=30))
    made.start()
    eventually(lambda: made.health.state == "ended")
    made.stop()
    assert made.join(2)
    assert "ends early" in str(made.health.reason)


def test_a_stopped_worker_says_nothing_more() -> None:
    go_on = threading.Event()

    def open_it(settings: CameraSettings, stopping: threading.Event) -> Source:
        go_on.wait(5)
        return Script(3)

    made, tray, states = worker(camera("rtsp://cam/1"), open_it)
    made.start()
    made.stop()
    go_on.set()
    assert made.join(2)
    assert states == []
    assert tray.frames == []


def test_the_next_worker_waits_for_the_one_before() -> None:
    first_reads, let_go, order = threading.Event(), threading.Event(), list[str]()

    class Slow(Script):
        def read(self) -> Frame | None:
            first_reads.set()
            let_go.wait(5)
            return None

        def close(self) -> None:
            order.append("first closed")

    def open_second(settings: CameraSettings, stopping: threading.Event) -> Source:
        order.append("second opened")
        return Script(0, live=False)

    first, _, _ = worker(camera("rtsp://cam/1"), lambda *_: Slow(0))
    first.start()
    assert first_reads.wait(5)
    status, _ = reporter()
    second = CameraWorker(
        camera("rtsp://cam/2"), open_source=open_second, outlet=Tray(), clock=SystemClock(), status=status, after=first
    )
    first.stop()
    second.start()
    let_go.set()
    eventually(lambda: second.health.state == "ended")
    second.stop()
    assert second.join(2)
    assert order == ["first closed", "second opened"]


class Counting:
    """An outlet that only counts: what it kept would look like a leak."""

    frames = 0

    def publish(self, frame: Frame) -> int | None:
        self.frames += 1
        return self.frames

    def close(self) -> None: ...


Target = Callable[[Path], AbstractContextManager[str]]


def refusing(_: Path) -> AbstractContextManager[str]:
    return nullcontext(f"rtsp://eye:pw@127.0.0.1:{refused_port()}/live")


class Server(AbstractContextManager[str]):
    """A server as a target, by its address."""

    def __init__(self, address: str, reply: Callable[[str], bytes]) -> None:
        self._address = address
        self._server = speaking(reply, once=True)

    def __enter__(self) -> str:
        return self._address.format(port=self._server.__enter__())

    def __exit__(self, *_: object) -> None:
        self._server.__exit__(None, None, None)


def not_found(_: Path) -> AbstractContextManager[str]:
    return Server("rtsp://127.0.0.1:{port}/live", lambda _: rtsp("404 Not Found"))


def breaking_off(_: Path) -> AbstractContextManager[str]:
    stream = mjpeg(12)
    return Server("http://127.0.0.1:{port}/video", lambda _: stream)


def truncated(folder: Path) -> AbstractContextManager[str]:
    path = write_video(folder / "clip.mp4")
    path.write_bytes(path.read_bytes()[:10_000])
    return nullcontext(str(path))


@pytest.mark.parametrize("target", [refusing, not_found, breaking_off, truncated])
def test_300_reconnects_leave_no_thread_no_file_and_no_memory_behind(tmp_path: Path, target: Target) -> None:
    process, counter = psutil.Process(), Counting()
    status = StatusReporter("camera", "camera-1", SystemClock(), lambda _: None)  # a list of it would grow by itself
    with target(tmp_path) as source:
        made = CameraWorker(
            camera(source, fps=100, timeout_s=2),
            open_source=real_source, outlet=counter, clock=SystemClock(), status=status, backoff=Quick(),
        )  # fmt: skip
        made.start()
        eventually(lambda: made.health.reconnects >= 60, timeout_s=60)
        gc.collect()
        files, threads, rss = process.num_fds(), process.num_threads(), process.memory_info().rss
        before = counter.frames
        eventually(lambda: made.health.reconnects >= 360, timeout_s=100)
        seen = counter.frames - before
        gc.collect()
        grown = process.memory_info().rss - rss
        made.stop()
        assert made.join(5)
        assert process.num_fds() <= files + 8  # those of the connection of the moment come and go
        assert process.num_threads() <= threads + 4
    assert grown < 16 * 2**20, f"grew by {grown / 2**20:.1f} MiB in 300 reconnects"
    assert (seen > 250) is (target is breaking_off)  # so that it did stream, each time
