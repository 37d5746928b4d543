"""Frames to people: claim, fetch, detect, publish boxes."""

from __future__ import annotations

import time

import numpy as np

from common.config import DetectorSettings
from common.imaging import decode_jpeg
from common.messages import FrameNotice, PeopleFound, Person, StageTiming
from common.service import Service
from common.stage import Stage, publication_ns
from common.worker import Taken
from services.detector.detect import PersonDetector, load_detector


def run(service: Service) -> None:
    """Work until the service stops."""

    def handle(taken: Taken[FrameNotice], model: PersonDetector, _settings: DetectorSettings) -> None:
        detect_frame(service, taken, model)

    stage: Stage[FrameNotice, DetectorSettings, PersonDetector] = Stage(
        service, DetectorSettings, load=load_detector, handle=handle
    )
    stage.run("frames")


def detect_frame(service: Service, taken: Taken[FrameNotice], model: PersonDetector) -> None:
    """Find the people of one frame and publish them, in pixels of the frame as captured.

    Raises ImageError for a frame that is no usable JPEG, ModelError for one that the network fails on.
    """
    notice = taken.notice
    image = decode_jpeg(taken.jpeg, at_least=model.input_size_px)
    before = time.perf_counter()
    found = model.detect(image)
    infer_ms = (time.perf_counter() - before) * 1e3
    height, width = image.shape[:2]
    factors = np.array([notice.width_px / width, notice.height_px / height] * 2)
    people = tuple(
        Person(box_xyxy_px=tuple(box), score=score)
        for box, score in zip((found.boxes * factors).round(1).tolist(), found.scores.round(4).tolist(), strict=True)
    )
    now_ns = publication_ns(service, notice.captured_at_ns)
    if now_ns is None:
        return
    timing = StageTiming(
        stage="detector",
        instance=service.instance,
        wait_ms=round(taken.wait_ms, 3),
        fetch_ms=round(taken.fetch_ms, 3),
        infer_ms=round(infer_ms, 3),
        service_ms=round((service.clock.monotonic_s() - taken.started_s) * 1e3, 3),
    )
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
        stages=(*notice.stages, timing),
    )
    service.bus.publish(message, "people", notice.camera)
    service.status.count("frames")
    service.status.count("people", len(people))
