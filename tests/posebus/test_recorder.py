"""The recorder: puts together what belongs together, and keeps its memory bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from common.bus import Bus
from common.frames import FrameStore, connect_store
from common.messages import FrameNotice, TracksUpdated
from posebus import recorder as recording
from posebus.recorder import Recorder
from tests.conftest import MakeBus, Stores
from tests.posebus.pictures import START_NS, alert, track
from tests.wait import eventually

Send = Callable[[int], None]


def notice(seq: int, key: str) -> FrameNotice:
    ns = START_NS + seq
    return FrameNotice(
        camera="room", seq=seq, captured_at_ns=ns, published_at_ns=ns, key=key, width_px=64, height_px=48,
        stored_width_px=64, stored_height_px=48, jpeg_bytes=7,
    )  # fmt: skip


@pytest.fixture
def frames(stores: Stores) -> Iterator[FrameStore]:
    store = connect_store(stores.frames_url)
    yield FrameStore(store, ttl_s=10)
    store.close()


@pytest.fixture
def recorder(make_bus: MakeBus, frames: FrameStore) -> Recorder:
    found = Recorder(make_bus(client_id="recorder"), frames)
    found.start()
    return found


@pytest.fixture
def bus(make_bus: MakeBus, recorder: Recorder) -> Bus:
    return make_bus(client_id="stages")


@pytest.fixture
def send(bus: Bus, frames: FrameStore, recorder: Recorder) -> Send:
    """send(seq): a frame in the store and its notice on the bus; returns when it was heard."""

    def publish(seq: int) -> None:
        message = notice(seq, frames.put("room", seq, b"jpeg %d" % seq))
        before = recorder.counts().get("room", (0, 0))[0]

        def heard() -> bool:
            return recorder.counts().get("room", (0, 0))[0] > before or not bus.publish(message, "frames", "room")

        eventually(heard, what="the notice", every_s=0.1)

    return publish


def test_frames_pictures_tracks_and_alerts_come_together(recorder: Recorder, bus: Bus, send: Send) -> None:
    send(2)
    send(1)
    update = TracksUpdated(
        camera="room", seq=1, captured_at_ns=START_NS, published_at_ns=START_NS + 40_000_000, width_px=64, height_px=48,
        tracks=(track(),),
    )  # fmt: skip
    bus.publish(update, "tracks", "room")
    for _ in range(2):
        bus.publish_confirmed(alert("fall", "raised", 1.0), "alerts", "room", "fall")
    eventually(lambda: recorder.counts() == {"room": (2, 1)}, what="the tracks")
    found = recorder.stop()
    assert [record.jpeg for record in found.frames["room"]] == [b"jpeg 1", b"jpeg 2"]
    assert found.frames["room"][0].tracks == update
    assert len(found.alerts) == 1
    assert found.ages_ms[("room", "tracks")] == [40.0]
    assert found.pictures_missed == 0


def test_a_result_without_its_frame_is_left_out(recorder: Recorder, bus: Bus, send: Send) -> None:
    stray = TracksUpdated(camera="room", seq=99, captured_at_ns=1, published_at_ns=1, width_px=64, height_px=48, tracks=())
    bus.publish(stray, "tracks", "room")
    send(1)
    assert [record.notice.seq for record in recorder.stop().frames["room"]] == [1]


def test_pictures_are_limited_by_their_bytes(recorder: Recorder, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_JPEG_BYTES", 10)
    for seq in range(4):
        send(seq)
    found = recorder.stop()
    assert sum(record.jpeg is not None for record in found.frames["room"]) == 2
    assert found.pictures_missed == 2


def test_frames_are_limited_in_number(recorder: Recorder, bus: Bus, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    send(1)
    monkeypatch.setattr(recording, "MAX_FRAMES", 1)
    bus.publish(notice(2, "frame:room:2"), "frames", "room")
    bus.publish_confirmed(alert("fall", "raised", 1.0), "alerts", "room", "fall")  # behind the frame, on the same connection
    eventually(lambda: recorder._alerts, what="the alert")
    assert [record.notice.seq for record in recorder.stop().frames["room"]] == [1]


def test_a_picture_that_has_expired_is_counted(recorder: Recorder, frames: FrameStore, send: Send, stores: Stores) -> None:
    frames.put = lambda camera, seq, jpeg: f"frame:{camera}:{seq}"  # type: ignore[method-assign]
    send(1)
    found = recorder.stop()
    assert found.frames["room"][0].jpeg is None
    assert found.pictures_missed == 1
