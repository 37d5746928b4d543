"""One frame through the detector: what is published when the second look fails, or has no time."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from common.clock import FakeClock
from common.config import SecondLookSettings
from common.geometry import Image
from common.manifest import DeviceLost, ModelError
from common.messages import FrameNotice, PeopleFound, ServiceStatus
from common.status import StatusReporter
from common.worker import Taken
from services.detector.detect import Detections
from services.detector.second_look_memory import SecondLook
from services.detector.service import detect_frame, second_look_of
from tests.services.second_look_parts import START_NS, lying_room, track, tracks_at, upright_only

STOOD, FLOOR, OTHER = (280.0, 100.0, 360.0, 340.0), (200, 300, 440, 370), (20, 60, 90, 270)


class OnlyWholeFrames:
    """A network that fails on windows, as one does whose input was built for the frame's shape."""

    def __init__(self, error: Exception) -> None:
        self.real = upright_only()
        self.artifact, self.input_size_px = self.real.artifact, self.real.input_size_px
        self.error = error

    def detect(self, image: Image) -> Detections:
        if image.shape[1] * 3 != image.shape[0] * 4:
            raise self.error
        return self.real.detect(image)


class Room:
    """A detector service without a broker; who stood in the room lies there now, and somebody else is well seen."""

    def __init__(self, *, max_age_s: float = 1.0) -> None:
        self.clock = FakeClock(START_NS)
        self.people: list[PeopleFound] = []
        self.states: list[ServiceStatus] = []
        status = StatusReporter("detector", "d1", self.clock, self.states.append)
        status.ready()
        bus = SimpleNamespace(publish=lambda message, *levels: self.people.append(message))
        self.service: Any = SimpleNamespace(
            clock=self.clock, status=status, bus=bus, instance="d1", general=SimpleNamespace(max_age_s=max_age_s)
        )

    def frame(self, model: Any, again: SecondLook, *, age_s: float = 0.0, missed_s: float = 0.1) -> None:
        at_s = (self.clock.now_ns() - START_NS) / 1e9 - age_s
        again.hear(tracks_at(at_s, track(1, STOOD, missed_s=missed_s, state="falling"), track(2, OTHER)))
        jpeg = cv2.imencode(".jpg", lying_room(FLOOR, OTHER))[1].tobytes()
        notice = FrameNotice(
            camera="lobby", seq=1, captured_at_ns=START_NS + round(at_s * 1e9), published_at_ns=0, key="k", width_px=640,
            height_px=480, stored_width_px=640, stored_height_px=480, jpeg_bytes=len(jpeg),
        )  # fmt: skip
        taken = Taken(notice, jpeg, 0.0, 0.0, self.clock.monotonic_s())
        detect_frame(self.service, taken, model, again, SecondLookSettings())


@pytest.mark.parametrize("error", [ModelError("built for 320x320"), ValueError("takes 256x256 pixels"), RuntimeError("odd")])
def test_people_of_the_first_look_are_published_though_the_second_fails_and_it_fails_seldom(error):
    room, model = Room(), OnlyWholeFrames(error)
    again = second_look_of(room.service)
    for i in range(40):
        room.clock.advance(0.1)
        room.frame(model, again, missed_s=i / 10)
    assert len(room.people) == 40
    for message in room.people:
        (person,) = message.people
        assert person.box_xyxy_px == pytest.approx(OTHER, abs=6)
    counters = room.service.status.counters
    assert counters["frames"] == 40
    assert 3 <= counters["second_look_errors"] <= 20, "three turns a round, and a wait that doubles with each"
    assert room.states[-1].state == "degraded"
    assert room.states[-1].reason == f"second look at camera 'lobby': {error}"
    room.clock.advance(4.0)
    room.frame(upright_only(), again)
    assert len(room.people[-1].people) == 2
    assert room.states[-1].state == "ready"


def test_a_lost_device_is_said_to_the_stage():
    room = Room()
    with pytest.raises(DeviceLost, match="gone"):
        room.frame(OnlyWholeFrames(DeviceLost("gone")), second_look_of(room.service))
    assert room.people == []


def test_what_a_picture_for_the_second_look_takes_counts_against_the_frames_age():
    """A frame may age 20 s, 10 of them here; a picture takes 8 s by the clock that is asked about it."""
    room = Room(max_age_s=20.0)
    ticks = itertools.count(0.0, 8.0)
    again = SecondLook(monotonic_s=lambda: next(ticks))
    room.frame(upright_only(), again)
    assert again.counters["second_look_found"] == 1
    room.clock.advance(3.0)
    room.frame(upright_only(), again, age_s=2.5)
    assert again.counters["second_looks_skipped"] == 1
    assert again.counters["second_look_found"] == 1
    assert [len(message.people) for message in room.people] == [2, 1]
    np.testing.assert_allclose(room.people[1].people[0].box_xyxy_px, OTHER, atol=6)
