"""The camera service as a process, seen from the bus: frames, isolation, configuration, stores that go and come back."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import redis

from common.bus import Bus
from common.config import CameraSettings, PosebusConfig, StoreSettings
from common.messages import CameraHealth, FrameNotice, ServiceStatus
from tests import parts
from tests.conftest import MakeBus, StartService, Stores
from tests.services.camera_parts import camera, number_of, refused_port, speaking, write_picture, write_video
from tests.wait import eventually

Configure = Callable[[Bus, PosebusConfig], None]


class Watcher:
    """Hears what camera services say."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.frames: list[FrameNotice] = []
        self.status: dict[str, ServiceStatus] = {}
        bus.subscribe(lambda message, _: self.frames.append(message), "frames", "+")
        bus.subscribe(self._on_status, "status", "camera", "+")

    def _on_status(self, message: ServiceStatus | None, levels: tuple[str, ...]) -> None:
        if message is not None:
            self.status[levels[-1]] = message

    def of(self, camera: str) -> list[FrameNotice]:
        return [notice for notice in self.frames if notice.camera == camera]

    def health(self, camera: str, instance: str = "camera-1") -> CameraHealth | None:
        status = self.status.get(instance)
        return status.cameras.get(camera) if status else None

    def is_in(self, camera: str, state: str, instance: str = "camera-1") -> bool:
        health = self.health(camera, instance)
        return health is not None and health.state == state

    def reason(self, camera: str, instance: str = "camera-1") -> str:
        health = self.health(camera, instance)
        return str(health.reason) if health else ""


@pytest.fixture
def watcher(make_bus: MakeBus) -> Watcher:
    return Watcher(make_bus())


def config(stores: Stores, *cameras: CameraSettings) -> PosebusConfig:
    store = StoreSettings(frames_url=stores.frames_url, state_url=stores.state_url)
    return PosebusConfig(cameras=cameras, store=store)


def fetch(url: str, notice: FrameNotice) -> np.ndarray[Any, Any]:
    with redis.Redis.from_url(url) as store:
        data = store.get(notice.key)
    assert isinstance(data, bytes), f"{notice.key} is not in the store"
    assert len(data) == notice.jpeg_bytes
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[:2] == (notice.stored_height_px, notice.stored_width_px)
    return np.asarray(image)


def end(process: subprocess.Popen[bytes]) -> float:
    """Ask a service to stop; returns the seconds it took."""
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    return time.monotonic() - before


def test_frames_reach_the_store_and_the_bus_masked_and_scaled(
    watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "clip.mp4", size=(320, 240))
    right = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
    lobby = camera(str(video), fps=10, loop=True, max_side_px=160, privacy_masks=(right,))
    configure(watcher.bus, config(stores, lobby))
    start_service("camera")
    eventually(lambda: len(watcher.of("lobby")) >= 12, timeout_s=20)
    notice = watcher.of("lobby")[-1]
    image = fetch(stores.frames_url, notice)
    assert (notice.width_px, notice.height_px) == (320, 240)
    assert (notice.stored_width_px, notice.stored_height_px) == (160, 120)
    assert image[:, 88:].max() <= 8
    sequence = [notice.seq for notice in watcher.of("lobby")]
    assert np.diff(sequence).tolist() == [1] * (len(sequence) - 1)
    assert abs(sequence[0] - notice.captured_at_ns // 1_000_000) < 60_000
    assert notice.stages[0].instance == "camera-1"
    eventually(lambda: watcher.is_in("lobby", "streaming"))


def test_broken_cameras_say_so_and_disturb_nobody(
    watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService, tmp_path: Path
) -> None:
    good = write_video(tmp_path / "good.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(good.read_bytes()[:9_000])
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.jpg").write_bytes(b"")
    write_picture(pictures / "b.jpg", 77)
    refused = refused_port()
    with speaking(None) as silent:
        configure(
            watcher.bus,
            config(
                stores,
                camera(str(good), "good", fps=20, loop=True),
                camera(str(cut), "cut"),
                camera(str(pictures), "pictures", pace="fast"),
                camera(f"rtsp://eye:s3cret@127.0.0.1:{refused}/live", "refused"),
                camera(f"rtsp://eye:s3cret@127.0.0.1:{silent}/live", "silent"),
            ),
        )
        process = start_service("camera")
        for name, state, reason in (
            ("good", "streaming", ""),
            ("cut", "failed", "moov"),
            ("pictures", "ended", "a.jpg: it is empty"),
            ("refused", "failed", "refused the connection"),
        ):
            eventually(partial(watcher.is_in, name, state), timeout_s=20, what=f"{name} is {state}")
            assert reason in watcher.reason(name)
        before = len(watcher.of("good"))
        eventually(lambda: len(watcher.of("good")) >= before + 20, timeout_s=10)
        assert number_of(fetch(stores.frames_url, watcher.of("good")[-1])) < 90
        assert len(watcher.of("pictures")) == 1
        assert end(process) < 3.0  # also with a call that hangs in FFmpeg
    log = (tmp_path / "camera-1.log").read_text()
    assert "s3cret" not in log
    assert "s3cret" not in repr(watcher.status)
    assert watcher.status["camera-1"].counters["pictures_skipped"] == 1


def test_a_new_configuration_starts_stops_and_restarts_only_what_changed(
    watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService, tmp_path: Path
) -> None:
    video = str(write_video(tmp_path / "clip.mp4"))
    one, two = camera(video, "one", loop=True), camera(video, "two", loop=True)
    configure(watcher.bus, config(stores, one, two))
    start_service("camera")
    eventually(lambda: watcher.of("one") and watcher.of("two"), timeout_s=20)
    changed = camera(video, "two", loop=True, max_side_px=80)
    configure(watcher.bus, config(stores, one, changed, camera(video, "three", loop=True)))
    eventually(lambda: watcher.of("three") and watcher.of("two")[-1].stored_width_px == 80)
    sequence = [notice.seq for notice in watcher.of("one")]
    assert np.diff(sequence).tolist() == [1] * (len(sequence) - 1)
    assert all(np.diff([notice.seq for notice in watcher.of("two")]) > 0)
    configure(watcher.bus, config(stores, one))
    eventually(lambda: watcher.health("one") and not watcher.health("two") and not watcher.health("three"))
    count = len(watcher.of("two"))
    before = len(watcher.of("one"))
    eventually(lambda: len(watcher.of("one")) > before + 5)
    assert len(watcher.of("two")) == count


def test_two_instances_share_and_take_over(
    watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService, tmp_path: Path
) -> None:
    video = str(write_video(tmp_path / "clip.mp4"))
    configure(watcher.bus, config(stores, camera(video, "one", loop=True), camera(video, "usb", loop=True)))
    start_service("camera", instance="usb-node", POSEBUS_CAMERAS="usb")
    eventually(lambda: watcher.is_in("usb", "streaming", "usb-node"), timeout_s=20)
    assert watcher.health("one", "usb-node") is None
    first = start_service("camera", instance="first")
    eventually(lambda: watcher.is_in("one", "streaming", "first"), timeout_s=20)
    start_service("camera", instance="second")
    eventually(lambda: watcher.is_in("one", "waiting", "second"), timeout_s=20)
    last = watcher.of("one")[-1].seq
    first.kill()
    taken = eventually(
        lambda: [n for n in watcher.of("one") if n.stages[0].instance == "second"], timeout_s=10, what="take-over"
    )
    assert taken[0].seq > last
    assert all(np.diff([notice.seq for notice in watcher.of("one")]) > 0)
    assert {n.stages[0].instance for n in watcher.of("usb")} == {"usb-node"}


def test_a_full_frame_store_is_named_and_frames_flow_again_when_there_is_room(
    watcher: Watcher, stores: Stores, configure: Configure, start_service: StartService, tmp_path: Path
) -> None:
    video = str(write_video(tmp_path / "clip.mp4"))
    configure(watcher.bus, config(stores, camera(video, loop=True)))
    process = start_service("camera")
    eventually(lambda: watcher.of("lobby"), timeout_s=20)
    with redis.Redis.from_url(stores.frames_url) as store:
        limit = store.config_get("maxmemory")["maxmemory"]
        try:
            store.config_set("maxmemory-policy", "noeviction")
            store.config_set("maxmemory", 1)
            eventually(lambda: watcher.status["camera-1"].state == "degraded")
            reason = str(watcher.status["camera-1"].reason)
            assert "'lobby': frames are dropped" in reason
            assert "raise its maxmemory" in reason
        finally:
            store.config_set("maxmemory", limit)
            store.config_set("maxmemory-policy", "volatile-ttl")
    eventually(lambda: watcher.status["camera-1"].state == "ready")
    before = len(watcher.of("lobby"))
    eventually(lambda: len(watcher.of("lobby")) > before + 3)
    assert watcher.status["camera-1"].counters["store_errors"] > 0
    assert end(process) < 3.0


def test_stores_that_go_away_and_come_back_need_no_hand(
    watcher: Watcher,
    own_stores: tuple[parts.Store, parts.Store],
    configure: Configure,
    start_service: StartService,
    tmp_path: Path,
) -> None:
    frames, state = own_stores
    frames.start()
    state.start()
    video = str(write_video(tmp_path / "clip.mp4"))
    configure(watcher.bus, config(Stores(frames.url, state.url), camera(video, loop=True)))
    process = start_service("camera")
    eventually(lambda: watcher.of("lobby"), timeout_s=20)
    frames.stop(signal.SIGKILL)
    state.stop(signal.SIGKILL)

    def why() -> str:
        return str(watcher.status["camera-1"].reason)

    eventually(lambda: "shared out" in why() and "dropped" in why())
    assert "is it running?" in why()
    frames.start()
    state.start()
    before = len(watcher.of("lobby"))
    eventually(lambda: len(watcher.of("lobby")) > before + 5)
    eventually(lambda: watcher.status["camera-1"].state == "ready")
    assert number_of(fetch(frames.url, watcher.of("lobby")[-1])) < 90
    assert end(process) < 3.0


def test_a_wrong_list_of_cameras_is_refused_in_one_line(start_service: StartService, tmp_path: Path) -> None:
    process = start_service("camera", POSEBUS_CAMERAS="Front Door")
    assert process.wait(20) == 2
    lines = (tmp_path / "camera-1.log").read_text().splitlines()
    assert len(lines) == 1
    assert "POSEBUS_CAMERAS 'Front Door' is not a valid name" in lines[0]
