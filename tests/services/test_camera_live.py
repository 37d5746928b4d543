"""Live sources: the newest frame, never a backlog, never a thread that others have to wait for."""

from __future__ import annotations

import threading
import time

import pytest

from common.clock import FakeClock, SystemClock
from services.camera.sources.base import SourceError
from services.camera.sources.live import Capture, LiveSource
from services.camera.sources.stream import open_stream
from tests.services.camera_parts import FakeCapture, mjpeg, number_of, speaking
from tests.wait import eventually


def live(capture: Capture, clock: FakeClock | SystemClock, *, fps: float = 10, timeout_s: float = 5.0) -> LiveSource:
    return LiveSource(lambda: capture, fps=fps, clock=clock, stopping=threading.Event(), timeout_s=timeout_s)


def test_a_slow_reader_gets_the_newest_frame_and_no_backlog() -> None:
    clock = FakeClock()
    capture = FakeCapture(100, on_grab=lambda _: clock.advance(0.1))
    source = live(capture, clock)
    assert capture.closed.wait(5)  # all hundred frames came while nobody read
    newest = source.read()
    assert newest is not None
    assert newest.image[0, 0, 0] == 99
    assert newest.captured_at_ns == clock.now_ns()
    with pytest.raises(SourceError, match="closed the connection"):
        source.read()


def test_every_frame_is_grabbed_but_only_the_wanted_ones_are_converted() -> None:
    clock = FakeClock()
    capture = FakeCapture(90, on_grab=lambda _: clock.advance(1 / 30))
    source = live(capture, clock, fps=10)
    assert capture.closed.wait(5)
    assert capture.grabbed == 90
    assert capture.retrieved == list(range(0, 90, 3))
    source.close()


def test_old_pictures_out_of_a_buffer_are_passed_over_and_counted() -> None:
    clock = FakeClock()

    def arrive(number: int) -> None:
        if number == 10:
            clock.advance(4.0)  # the process stood still while the camera went on
        clock.advance(0.001 if 10 <= number < 50 else 0.1)

    capture = FakeCapture(60, on_grab=arrive, media=[1 + i / 10 for i in range(60)])
    source = live(capture, clock)
    assert capture.closed.wait(5)
    assert not set(capture.retrieved) & set(range(11, 38))
    assert {9, 50, 59} <= set(capture.retrieved)
    assert 25 <= source.late <= 35
    source.close()


def test_a_decoder_that_does_not_keep_up_is_named() -> None:
    clock = FakeClock()
    capture = FakeCapture(400, on_grab=lambda _: clock.advance(0.1), media=[1 + i / 25 for i in range(400)])
    source = live(capture, clock)
    assert capture.closed.wait(5)
    assert source.read() is not None  # the newest of those in time
    with pytest.raises(SourceError, match="decoding does not keep up; lower the camera's resolution"):
        source.read()


def test_a_stuck_capture_blocks_neither_reading_nor_closing() -> None:
    clock, release = FakeClock(), threading.Event()

    def stick(number: int) -> None:
        if number == 1:
            release.wait(20)

    capture = FakeCapture(5, on_grab=stick)
    source = live(capture, clock, timeout_s=2)
    assert source.read() is not None
    clock.advance(3)
    with pytest.raises(SourceError, match=r"no frame for 2 s: the source stalled"):
        source.read()
    before = time.monotonic()
    source.close()
    assert time.monotonic() - before < 1.0
    release.set()
    assert capture.closed.wait(5)  # the thread cleans up after itself


def test_what_the_driver_raises_becomes_a_source_error() -> None:
    def explode(_: int) -> None:
        raise RuntimeError("bad rtsp://eye:s3cret@cam/1")

    source = live(FakeCapture(5, on_grab=explode), FakeClock())
    with pytest.raises(SourceError, match=r"reading failed: bad rtsp://eye:\*\*\*@cam/1"):
        source.read()


def test_stopping_ends_a_read() -> None:
    release, stopping = threading.Event(), threading.Event()

    def stick(_: int) -> None:
        release.wait(20)

    capture = FakeCapture(5, on_grab=stick)
    source = LiveSource(lambda: capture, fps=10, clock=SystemClock(), stopping=stopping, timeout_s=30)
    stopping.set()
    assert source.read() is None
    release.set()
    source.close()


def test_a_motion_jpeg_camera_over_http_is_read() -> None:
    with speaking(lambda _: mjpeg(40), once=True) as port:
        url = f"http://127.0.0.1:{port}/video"
        source = LiveSource(
            lambda: open_stream(url, timeout_s=3), fps=30, clock=SystemClock(), stopping=threading.Event(), timeout_s=3
        )
        frame = source.read()
        assert frame is not None
        assert frame.image.shape == (120, 160, 3)
        assert number_of(frame.image) < 40
        source.close()


def test_a_stream_that_goes_silent_ends_by_its_time_out() -> None:
    """Real FFmpeg: the server sends 40 frames and then nothing more, without closing."""
    with speaking(lambda _: mjpeg(40)) as port:
        url = f"http://127.0.0.1:{port}/video"
        source = LiveSource(
            lambda: open_stream(url, timeout_s=1), fps=30, clock=SystemClock(), stopping=threading.Event(), timeout_s=1
        )

        def failed() -> str | None:
            try:
                source.read()
            except SourceError as error:
                return str(error)
            return None

        assert "no frame for 1 s" in str(eventually(failed, timeout_s=15))
        source.close()
        eventually(lambda: not source._thread.is_alive(), timeout_s=10)
