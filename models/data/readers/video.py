"""Frames of a clip, labelled by networks of the zoo: what a site's own camera saw becomes training data without annotation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.artifact import find_artifact
from common.geometry import Floats, Image, resize
from common.runtimes import load
from models.data.picture import shrunk_size
from models.data.posture import posture_of
from models.data.sample import DataError, EncodedPicture, Person, Report, Sample, add, forget_outside
from models.data.teacher import weights
from services.detector.detect import PersonDetector
from services.pose.estimate import PoseEstimator

import cv2  # isort: skip

# A weaker box is uncertain, neither learned nor background: the bounds of what analytics believes and a detector publishes
# (`common/config.py`).
SURE = 0.4
UNCERTAIN = 0.25
_QUALITY = 90  # of the kept JPEG, percent: its artefacts are below those of the clip
_MAX_PEOPLE = 100


@dataclass(frozen=True)
class Teachers:
    """Who labels. `second` judges the keypoints of `pose` by how far its own are off (`models/data/teacher.py`)."""

    detector: PersonDetector
    pose: PoseEstimator | None = None
    second: PoseEstimator | None = None

    def close(self) -> None:
        for network in (self.detector, self.pose, self.second):
            if network is not None:
                network.close()


def load_teachers(
    detector: str = "picodet-s-320", pose: str = "pp-tinypose-256x192", second: str = "movenet-lightning", *, threads: int = 1
) -> Teachers:
    """Artifacts of the zoo by name; an empty name: without. Raises ModelError where one cannot be had."""
    found = find_artifact(detector)
    engine = load(found, task="detect", threads=threads)
    people = PersonDetector(engine, found, score_min=UNCERTAIN, max_people=_MAX_PEOPLE)
    return Teachers(people, _estimator(pose, threads), _estimator(second, threads))


def _estimator(name: str, threads: int) -> PoseEstimator | None:
    if not name:
        return None
    artifact = find_artifact(name)
    return PoseEstimator(load(artifact, task="pose", threads=threads), artifact)


def read_video(
    path: Path, teachers: Teachers, *, every: int = 10, long_side_px: int = 640, licence: str = "not stated",
    report: Report | None = None,
) -> list[Sample]:  # fmt: skip
    """Every `every`-th frame of a clip with its people; frames without people are kept, as background is to be learned too.

    long_side_px: larger frames are shrunk to it before they are labelled. All samples have the clip as source and group, so
    that a split keeps it together. Raises DataError for a file that is no video.
    """
    if every < 1:
        raise DataError(f"{path}: every {every}-th frame cannot be taken; give at least 1")
    report = report or Report()
    samples: list[Sample] = []
    for number, frame in _frames(path, every, long_side_px):
        height, width = frame.shape[:2]
        people = _label(frame, teachers, report)
        content = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        name = f"{path.name}:{number}"
        picture = EncodedPicture(content, name, (width, height))
        add(samples, Sample(name, picture, people, path.stem, licence, group=path.name), report)
    if not samples:
        raise DataError(f"{path} has no frame that can be decoded; give a video that OpenCV reads")
    return samples


def _frames(path: Path, every: int, long_side_px: int) -> Iterator[tuple[int, Image]]:
    """Numbers and frames, BGR."""
    if not path.is_file():
        raise DataError(f"{path} is missing; give a video file")
    capture = cv2.VideoCapture(str(path))
    try:
        number = 0
        while capture.grab():
            if number % every == 0:
                good, frame = capture.retrieve()
                if good:
                    height, width = frame.shape[:2]
                    yield number, resize(np.asarray(frame, np.uint8), shrunk_size((width, height), long_side_px))
            number += 1
    finally:
        capture.release()


def _label(frame: Image, teachers: Teachers, report: Report) -> tuple[Person, ...]:
    found = teachers.detector.detect(frame)
    keypoints = _keypoints(frame, found.boxes, teachers)
    people = []
    for box, score, points in zip(found.boxes, found.scores, keypoints, strict=True):
        if points is not None:
            points, far = forget_outside(points, box, (frame.shape[1], frame.shape[0]))
            report.note("video: keypoint guessed far outside the frame, weight 0", far)
        posture = "" if points is None else posture_of(points)
        people.append(Person(box, points, posture=posture, uncertain=bool(score < SURE), score=float(score)))
    return tuple(people)


def _keypoints(frame: Image, boxes: Floats, teachers: Teachers) -> list[Floats | None]:
    """(17, 3) x, y, weight of each box; None without a pose teacher."""
    if teachers.pose is None:
        return [None] * len(boxes)
    first = teachers.pose.estimate(frame, boxes)
    distance = np.zeros(first.shape[:2], np.float32)
    if teachers.second is not None:
        other = teachers.second.estimate(frame, boxes)
        size = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        distance = np.linalg.norm(first[..., :2] - other[..., :2], axis=-1) / size[:, None]
    first[..., 2] = weights(first[..., 2], np.asarray(distance, np.float32))
    return list(first)
