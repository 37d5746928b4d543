"""People to skeletons: one crop a person, one batch a frame; no people, no work. Or, bottom-up, frames to skeletons."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from common.config import Approach, PoseSettings
from common.imaging import decode_jpeg
from common.manifest import ModelError
from common.messages import FrameNotice, PeopleFound, Person, PosedPerson
from common.service import Service
from common.stage import Stage
from common.worker import Taken
from services.pose.bottom_up import BottomUpEstimator, load_bottom_up
from services.pose.bottom_up_frames import pose_whole_frame
from services.pose.estimate import PoseEstimator, load_estimator
from services.pose.publish import publish_poses

Model = PoseEstimator | BottomUpEstimator


def run(service: Service) -> None:
    """Work until the service stops: on the people that detectors find, or bottom-up on the cameras' frames.

    The approach that the configuration has at the start holds until the end. It decides what is listened to, and whether
    detectors are needed at all, so a change is refused until the processes are started again.
    """
    begun: list[Approach] = []

    def approach(settings: PoseSettings) -> Approach:
        """That of the first settings that anybody asks with, for good; the model is loaded on another thread."""
        if not begun:
            begun.append(settings.approach)
        return begun[0]

    def load(settings: PoseSettings) -> Model:
        if approach(settings) != settings.approach:
            reason = (
                f"pose.approach is now {settings.approach!r}, but this service runs {begun[0]!r}; restart the pose service, "
                "and start detectors for top_down, stop them for bottom_up"
            )
            service.status.degraded(reason, about="approach")  # until a model is loaded for the approach that runs
            raise ModelError(reason)
        return load_bottom_up(settings) if settings.approach == "bottom_up" else load_estimator(settings)

    def handle(taken: Taken[Any], model: Model, settings: PoseSettings) -> None:
        if isinstance(model, BottomUpEstimator):
            pose_whole_frame(service, taken, model, settings)
        else:
            pose_frame(service, taken, model, settings)

    stage: Stage[Any, PoseSettings, Model] = Stage(
        service, PoseSettings, load=load, handle=handle, needs_pixels=needs_pixels
    )
    stage.run("frames" if approach(stage.settings) == "bottom_up" else "people")


def needs_pixels(notice: FrameNotice | PeopleFound) -> bool:
    """Not of a frame that nobody was found in: it is passed on at once."""
    return isinstance(notice, FrameNotice) or bool(notice.people)


def choose(people: tuple[Person, ...], most: int) -> tuple[Person, ...]:
    """At most `most` people, those first whose box is largest and most certain (area times score)."""
    if len(people) <= most:
        return people

    def weight(person: Person) -> float:
        x1, y1, x2, y2 = person.box_xyxy_px
        return (x2 - x1) * (y2 - y1) * person.score

    return tuple(sorted(people, key=weight, reverse=True)[:most])


def pose_frame(service: Service, taken: Taken[PeopleFound], model: PoseEstimator, settings: PoseSettings) -> None:
    """Estimate the skeletons of one frame and publish them, in pixels of the frame as captured.

    A frame without people is passed on at once, so that analytics knows that it was looked at. Raises ImageError for a frame
    that is no usable JPEG, ModelError for one that the network fails on.
    """
    notice = taken.notice
    chosen = choose(notice.people, settings.max_people)
    posed, infer_ms = estimate(taken.jpeg, notice, chosen, model) if chosen else ((), 0.0)
    left_out = len(notice.people) - len(posed)
    publish_poses(service, taken, posed, left_out=left_out, model=str(model.artifact), infer_ms=infer_ms)


def estimate(
    jpeg: bytes, notice: PeopleFound, people: tuple[Person, ...], model: PoseEstimator
) -> tuple[tuple[PosedPerson, ...], float]:
    """The skeletons of `people`, in their order, and the milliseconds that crops, network and decoding took."""
    image = decode_jpeg(jpeg)
    height, width = image.shape[:2]
    to_captured = np.array([notice.width_px / width, notice.height_px / height], np.float32)
    boxes = (np.array([person.box_xyxy_px for person in people]) / np.tile(to_captured, 2)).astype(np.float32)
    before = time.perf_counter()
    turns_deg = np.array([person.turned_deg for person in people])  # as the detector saw them, so does the pose network best
    keypoints = model.estimate(image, boxes, turns_deg)  # (N, 17, 3)
    infer_ms = (time.perf_counter() - before) * 1e3
    keypoints = keypoints.astype(np.float64)
    keypoints[..., :2] = (keypoints[..., :2] * to_captured).round(1)
    keypoints[..., 2] = keypoints[..., 2].round(3)
    posed = tuple(
        PosedPerson(box_xyxy_px=person.box_xyxy_px, score=person.score, keypoints_px=tuple(map(tuple, points)))
        for person, points in zip(people, keypoints.tolist(), strict=True)
    )
    return posed, infer_ms
