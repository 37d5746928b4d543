"""Video files and folders of pictures as sources."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.clock import FakeClock
from services.camera.sources import Source, SourceError, open_source
from services.camera.sources.device import has_gstreamer
from services.camera.sources.folder import PictureFolder
from tests.services.camera_parts import camera, number_of, write_picture, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s at 30 fps."""
    return write_video(tmp_path_factory.mktemp("media") / "clip.mp4")


def opened(source: Path | str, clock: FakeClock | None = None, **settings: Any) -> Source:
    return open_source(camera(str(source), **settings), clock=clock or FakeClock(), stopping=threading.Event())


def numbers(source: Source, most: int = 1000) -> list[int]:
    """The numbers of all frames up to the end."""
    found: list[int] = []
    while len(found) < most and (frame := source.read()) is not None:
        found.append(number_of(frame.image))
    source.close()
    return found


def test_a_30_fps_file_at_10_fps_plays_at_its_natural_speed(video: Path) -> None:
    clock = FakeClock()
    source = opened(video, clock, fps=10)
    times, shown = [], []
    while (frame := source.read()) is not None:
        times.append(frame.captured_at_ns / 1e9)
        shown.append(number_of(frame.image))
    source.close()
    assert shown == list(range(0, 90, 3))
    assert np.allclose(np.diff(times), 0.1, atol=1e-3)
    assert source.note is None


def test_a_file_slower_than_the_configured_rate_shows_each_frame_once(video: Path) -> None:
    assert numbers(opened(video, fps=60)) == list(range(90))


def test_frames_that_are_overdue_are_passed_over(video: Path) -> None:
    clock = FakeClock()
    source = opened(video, clock, fps=10)
    first = source.read()
    clock.advance(1.5)  # the store did not answer
    second = source.read()
    source.close()
    assert first is not None
    assert second is not None
    assert number_of(first.image) == 0
    assert 44 <= number_of(second.image) <= 47
    assert source.late > 30


def test_a_decoder_slower_than_real_time_still_shows_pictures(video: Path) -> None:
    class SlowClock(FakeClock):
        """Time flies: each look at the clock costs 0.2 s."""

        def monotonic_s(self) -> float:
            self.advance(0.2)
            return super().monotonic_s()

    shown = numbers(opened(video, SlowClock(), fps=10))
    assert len(shown) >= 5
    assert shown == sorted(shown)


def test_fast_shows_the_same_frames_without_waiting(video: Path) -> None:
    clock = FakeClock()
    assert numbers(opened(video, clock, fps=10, pace="fast")) == list(range(0, 90, 3))
    assert clock.monotonic_s() == 0.0


def test_a_loop_goes_on_at_the_same_pace(video: Path) -> None:
    clock = FakeClock()
    shown = numbers(opened(video, clock, fps=10, loop=True), most=75)
    assert shown == (list(range(0, 90, 3)) * 3)[:75]
    assert clock.monotonic_s() == pytest.approx(7.4, abs=0.1)


def test_stopping_ends_a_wait(video: Path) -> None:
    stopping = threading.Event()
    source = open_source(camera(str(video)), clock=FakeClock(), stopping=stopping)
    stopping.set()
    assert source.read() is None
    source.close()


def broken_file(folder: Path, name: str) -> Path:
    path = folder / name
    whole = write_video(folder / "whole.mp4").read_bytes()
    contents = {"empty.mp4": b"", "cut.mp4": whole[: len(whole) // 2], "noise.mp4": random.Random(0).randbytes(30_000)}
    contents["text.mp4"] = b"this is no video\n" * 100
    if name in contents:
        path.write_bytes(contents[name])
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "no such file"),
        ("empty.mp4", r"empty \(0 bytes\)"),
        ("cut.mp4", r"truncated: its index \(moov\) is missing"),
        ("noise.mp4", "not a video"),
        ("text.mp4", "not a video"),
    ],
)
def test_a_broken_video_is_refused_with_name_and_reason(tmp_path: Path, name: str, reason: str) -> None:
    path = broken_file(tmp_path, name)
    with pytest.raises(SourceError, match=reason) as caught:
        opened(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("loop", [False, True])
def test_a_video_that_ends_early_says_how_much_is_missing(tmp_path: Path, loop: bool) -> None:
    path = write_video(tmp_path / "clip.avi")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    source = opened(path, fps=30, loop=loop)
    shown = numbers(source, most=60)
    assert (len(shown) == 60) is loop
    assert "ends early" in str(source.note)
    assert "of 90 frames" in str(source.note)


def test_a_folder_shows_its_pictures_by_name_at_the_configured_rate(tmp_path: Path) -> None:
    for name, number in (("b.png", 20), ("a.jpg", 10), ("c.bmp", 30)):
        write_picture(tmp_path / name, number)
    (tmp_path / "notes.txt").write_text("no picture")
    clock = FakeClock()
    assert numbers(opened(tmp_path, clock, fps=5)) == [10, 20, 30]
    assert clock.monotonic_s() == pytest.approx(0.4)


def test_a_folder_loops_and_sees_new_pictures(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", 10)
    source = opened(tmp_path, fps=5, loop=True)
    assert source.read() is not None
    write_picture(tmp_path / "b.jpg", 40)
    assert numbers(source, most=4) == [10, 40, 10, 40]


def test_a_single_picture_is_a_source(tmp_path: Path) -> None:
    assert numbers(opened(write_picture(tmp_path / "one.png", 80), loop=True), most=3) == [80, 80, 80]


def test_broken_pictures_are_skipped_by_name_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(os.urandom(5000))
    whole = write_picture(tmp_path / "c.jpg").read_bytes()
    (tmp_path / "c.jpg").write_bytes(whole[: len(whole) // 2])
    write_picture(tmp_path / "d.jpg", 100)
    source = opened(tmp_path)
    assert numbers(source) == [100]
    assert source.skipped == 3
    assert "c.jpg" in str(source.note)
    for name, reason in (("a.jpg", "0 bytes"), ("b.jpg", "not a JPEG"), ("c.jpg", "cut short")):
        assert any(name in line and reason in line for line in caplog.messages), (name, caplog.messages)


def test_a_50_megapixel_picture_is_skipped_without_decoding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((7072, 7072), np.uint8))
    write_picture(tmp_path / "b.jpg", 100)
    source = opened(tmp_path)
    decoded: list[str] = []
    real = cv2.imread

    def watched(path: str, *flags: int) -> Any:
        decoded.append(Path(path).name)
        return real(path, *flags)

    monkeypatch.setattr(cv2, "imread", watched)
    assert numbers(source) == [100]
    assert decoded == ["b.jpg"]
    assert source.skipped == 1
    assert "a.jpg" in str(source.note)
    assert "50 megapixels" in str(source.note)
    assert "limit of 40" in str(source.note)


def test_a_folder_without_a_usable_picture_fails_instead_of_spinning(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no picture in the folder"):
        opened(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    source = PictureFolder(str(tmp_path), fps=5, realtime=True, loop=True, clock=FakeClock(), stopping=threading.Event())
    with pytest.raises(SourceError, match=r"no usable picture.*a\.jpg.*0 bytes"):
        source.read()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("usb:77", "no device /dev/video77"),
        ("usb:front", "'front' is not a number"),
        ("/dev/video77", "video devices here"),
    ],
)
def test_a_device_that_is_not_there_is_named(source: str, reason: str) -> None:
    reading = opened(source)
    with pytest.raises(SourceError, match=reason):
        reading.read()
    reading.close()


def test_csi_needs_gstreamer_and_says_so() -> None:
    if has_gstreamer():
        pytest.skip("this OpenCV has GStreamer; the message is for those that do not")
    reading = opened("csi:0")
    with pytest.raises(SourceError, match=r"csi:0 needs an OpenCV with GStreamer.*JetPack"):
        reading.read()
    reading.close()


@pytest.mark.parametrize(("source", "reason"), [("gopher://x/y", "scheme 'gopher'"), (" ", "source is empty")])
def test_an_address_that_means_nothing_is_refused(source: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        opened(source)
