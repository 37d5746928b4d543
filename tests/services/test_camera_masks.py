"""Privacy masks and scaling: what leaves the process."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import FakeClock
from common.frames import StoreError
from common.messages import FrameNotice
from services.camera.masks import PrivacyMask, cover
from services.camera.publish import FramePublisher, Sequences, scaled
from tests.services.camera_parts import Said, Shelf, camera, frame, reporter

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def make(clock: FakeClock, shelf: Shelf, said: Said, **changes: Any) -> FramePublisher:
    return FramePublisher(
        camera("unused.mp4", **changes),
        frames=shelf, bus=said, clock=clock, status=reporter(clock)[0], sequences=Sequences(clock), instance="camera-1",
    )  # fmt: skip


def test_masked_pixels_are_black_in_the_published_jpeg_and_the_rest_is_not() -> None:
    clock, shelf, said = FakeClock(), Shelf(), Said()
    publisher = make(clock, shelf, said, privacy_masks=(LEFT_HALF,), max_side_px=320, jpeg_quality=90)
    publisher.publish(frame(640, 480, level=200, clock=clock))
    image = cv2.imdecode(np.frombuffer(next(iter(shelf.kept.values())), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (240, 320, 3)
    assert image[:, :152].max() <= 4  # the last block before the edge may ring by some levels
    assert image[:, :160].max() <= 60
    assert image[:, 176:].min() >= 190


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=3), st.integers(8, 90), st.integers(8, 90))
def test_every_pixel_whose_centre_lies_in_the_polygon_is_covered(
    corners: list[tuple[float, float]], width_px: int, height_px: int
) -> None:
    mask = cover([corners], width_px, height_px)
    polygon = np.asarray(corners, np.float32) * np.array([width_px, height_px], np.float32)
    inside = np.array(
        [[cv2.pointPolygonTest(polygon, (x + 0.5, y + 0.5), False) >= 0 for x in range(width_px)] for y in range(height_px)]
    )
    assert mask.shape == (height_px, width_px)
    assert (mask[inside] == 255).all()


def test_a_mask_does_not_spread_over_the_picture() -> None:
    mask = cover([LEFT_HALF], 100, 100)
    assert mask[:, :50].all()
    assert not mask[:, 52:].any()


def test_the_mask_follows_a_change_of_the_picture_size() -> None:
    mask = PrivacyMask([LEFT_HALF])
    for size in ((40, 60), (80, 100)):
        image = np.full((*size, 3), 255, np.uint8)
        mask.paint(image)
        assert not image[:, : size[1] // 2].any()
        assert image[:, size[1] // 2 + 2 :].all()


@pytest.mark.parametrize(
    ("width_px", "height_px", "side_px", "expected"),
    [(1920, 1080, 960, (540, 960)), (640, 480, 960, (480, 640)), (480, 640, 320, (320, 240)), (5000, 3, 64, (1, 64))],
)
def test_the_longer_side_is_limited_and_never_enlarged(
    width_px: int, height_px: int, side_px: int, expected: tuple[int, int]
) -> None:
    assert scaled(np.zeros((height_px, width_px, 3), np.uint8), side_px).shape[:2] == expected


def test_the_notice_tells_both_sizes_and_the_time() -> None:
    clock, shelf, said = FakeClock(), Shelf(), Said()
    publisher = make(clock, shelf, said, max_side_px=320)
    taken = frame(640, 480, clock=clock)
    clock.advance(0.02)
    seq = publisher.publish(taken)
    message, levels = said.messages[0]
    assert isinstance(message, FrameNotice)
    assert levels == ("frames", "lobby")
    assert (message.width_px, message.height_px) == (640, 480)
    assert (message.stored_width_px, message.stored_height_px) == (320, 240)
    assert message.captured_at_ns == taken.captured_at_ns
    assert message.published_at_ns - message.captured_at_ns == 20_000_000
    assert message.seq == seq
    assert message.jpeg_bytes == len(shelf.kept[message.key])
    assert [stage.stage for stage in message.stages] == ["camera"]


def test_seq_grows_across_restarts_even_when_the_clock_goes_back() -> None:
    clock = FakeClock()
    sequences = Sequences(clock)
    sequences.restart("lobby")
    first = [sequences.next("lobby") for _ in range(3)]
    assert first[0] == clock.now_ns() // 1_000_000
    clock.jump(-3600)
    sequences.restart("lobby")
    second = sequences.next("lobby")
    assert first == [first[0], first[0] + 1, first[0] + 2]
    assert second == first[-1] + 1
    clock.jump(7200)
    sequences.restart("lobby")
    assert sequences.next("lobby") == clock.now_ns() // 1_000_000


def test_a_store_that_is_full_drops_frames_says_so_and_recovers_by_itself() -> None:
    clock, shelf, said = FakeClock(), Shelf(), Said()
    status, statuses = reporter(clock)
    publisher = FramePublisher(
        camera("unused.mp4"),
        frames=shelf, bus=said, clock=clock, status=status, sequences=Sequences(clock), instance="camera-1",
    )  # fmt: skip
    shelf.error = StoreError("store 127.0.0.1:6379: is full; raise its maxmemory")
    assert [publisher.publish(frame(clock=clock)) for _ in range(3)] == [None, None, None]
    assert status.counters["store_errors"] == 3
    assert statuses[-1].state == "degraded"
    assert "lobby" in str(statuses[-1].reason)
    assert "raise its maxmemory" in str(statuses[-1].reason)
    assert not said.messages
    shelf.error = None
    assert publisher.publish(frame(clock=clock)) is not None
    assert statuses[-1].state == "ready"
    assert len(said.messages) == 1
