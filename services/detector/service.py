"""Frames to people: claim, fetch, detect, publish boxes."""

from __future__ import annotations

import time

import numpy as np

from common.config import DetectorSettings, SecondLookSettings
from common.geometry import Image
from common.imaging import decode_jpeg
from common.messages import FrameNotice, PeopleFound, Person, TracksUpdated
from common.service import Service
from common.stage import Stage, publication_ns, stage_timing
from common.worker import Taken
from services.detector.detect import Detections, PersonDetector, load_detector
from services.detector.second_look_memory import Frame, SecondLook, merge

ABOUT = "second look"  # what the status says is in trouble when it fails


def run(service: Service) -> None:
    """Work until the service stops."""
    again = second_look_of(service)

    def handle(taken: Taken[FrameNotice], model: PersonDetector, settings: DetectorSettings) -> None:
        detect_frame(service, taken, model, again, settings.second_look)

    def on_tracks(message: TracksUpdated | None, _levels: tuple[str, ...]) -> None:
        if message is not None:
            again.hear(message)

    service.bus.subscribe(on_tracks, "tracks", "+")
    stage: Stage[FrameNotice, DetectorSettings, PersonDetector] = Stage(
        service, DetectorSettings, load=load_detector, handle=handle
    )
    stage.run("frames")


def second_look_of(service: Service) -> SecondLook:
    """A second look that counts in the service's status, and says there when it fails."""

    def say(reason: str | None) -> None:
        if reason is None:
            service.status.sound(ABOUT)
        else:
            service.status.degraded(reason, about=ABOUT)

    return SecondLook(count=service.status.count, say=say, monotonic_s=service.clock.monotonic_s)


def detect_frame(
    service: Service, taken: Taken[FrameNotice], model: PersonDetector, again: SecondLook | None = None,
    settings: SecondLookSettings | None = None,
) -> None:
    """Find the people of one frame and publish them, in pixels of the frame as captured.

    again: knows whom to look for a second time; None: one look is all. settings: of the second look, None for the defaults.
    Raises ImageError for a frame that is no usable JPEG, ModelError for one that the network fails on at the first look, and
    DeviceLost; of a second look that fails `again` tells, and the people of the first are published.
    """
    notice = taken.notice
    image = decode_jpeg(taken.jpeg, at_least=model.input_size_px)
    before = time.perf_counter()
    found = model.detect(image)
    first_ms = (time.perf_counter() - before) * 1e3
    factors = np.array([notice.width_px / image.shape[1], notice.height_px / image.shape[0]] * 2, np.float32)
    found = Detections(np.asarray(found.boxes * factors, np.float32), found.scores)
    before = time.perf_counter()
    found, turned = _look_again(service, taken, model, found, first_ms, again or SecondLook(), settings or SecondLookSettings())
    infer_ms = first_ms + (time.perf_counter() - before) * 1e3
    people = tuple(
        Person(box_xyxy_px=tuple(box), score=score, turned_deg=turn)
        for box, score, turn in zip(found.boxes.round(1).tolist(), found.scores.round(4).tolist(), turned, strict=True)
    )
    now_ns = publication_ns(service, notice.captured_at_ns)
    if now_ns is None:
        return
    message = PeopleFound(
        camera=notice.camera,
        seq=notice.seq,
        captured_at_ns=notice.captured_at_ns,
        published_at_ns=now_ns,
        key=notice.key,
        width_px=notice.width_px,
        height_px=notice.height_px,
        people=people,
        model=str(model.artifact),
        stages=(*notice.stages, stage_timing(service, taken, "detector", infer_ms)),
    )
    service.bus.publish(message, "people", notice.camera)
    service.status.count("frames")
    service.status.count("people", len(people))


def _look_again(
    service: Service, taken: Taken[FrameNotice], model: PersonDetector, found: Detections, first_ms: float, again: SecondLook,
    settings: SecondLookSettings,
) -> tuple[Detections, list[int]]:
    """First and second look together, and the turn of each person. found: pixels of the frame as captured."""
    notice = taken.notice
    frame = Frame(
        camera=notice.camera,
        captured_at_ns=notice.captured_at_ns,
        size_px=(notice.width_px, notice.height_px),
        picture=lambda window: _decode(taken, window, model.input_size_px),
    )
    persons = again.search(
        frame, found, model.detect, settings, may_go_on=lambda picture_s: _has_time(service, notice, picture_s + first_ms / 1e3)
    )  # fmt: skip
    return merge(found, persons)


def _decode(taken: Taken[FrameNotice], window: tuple[int, int, int, int], input_px: tuple[int, int]) -> Image:
    """The frame, large enough for the window (pixels as captured) to fill the network's input where the JPEG has as much."""
    notice = taken.notice
    x0, y0, x1, y1 = window
    zoom = notice.width_px / (x1 - x0), notice.height_px / (y1 - y0)
    return decode_jpeg(taken.jpeg, at_least=(round(input_px[0] * zoom[0]), round(input_px[1] * zoom[1])))


def _has_time(service: Service, notice: FrameNotice, cost_s: float) -> bool:
    """Would one more look of these seconds leave half of what a frame may age to the later stages?"""
    age_s = (service.clock.now_ns() - notice.captured_at_ns) / 1e9
    return age_s + cost_s <= service.general.max_age_s / 2
