"""People who lie, and a network that knows upright people only, for tests of the second look."""

from __future__ import annotations

import numpy as np

from common.artifact import find_artifact
from common.geometry import Floats, Image
from common.messages import Box, Keypoint, Track, TracksUpdated
from common.runtimes.base import Batch, Outputs, Request
from common.runtimes.fake import STANDING, FakeEngine, bright_people
from services.detector.detect import PersonDetector

SIZE = (640, 480)
START_NS = 1_700_000_000_000_000_000


def lying_room(*people: tuple[int, int, int, int]) -> Image:
    """A dark picture, 640 x 480, with bright rectangles."""
    image = np.full((SIZE[1], SIZE[0], 3), 30, np.uint8)
    for x0, y0, x1, y1 in people:
        image[y0:y1, x0:x1] = 255
    return image


def upright_only(calls: list[tuple[int, ...]] | None = None) -> PersonDetector:
    """The fake network, blind to rectangles that are wider than tall, as real ones are to people who lie."""
    artifact = find_artifact("fake-person")

    def answer(batch: Batch) -> Outputs:
        if calls is not None:
            calls.append(batch.shape)
        rows = bright_people(batch)["people"].copy()
        height, width = batch.shape[1:3]
        wide = (rows[..., 54] - rows[..., 52]) * width > (rows[..., 53] - rows[..., 51]) * height
        rows[wide] = 0
        return {"people": rows}

    engine = FakeEngine(Request(artifact, "detect", "auto", 1, (256, 256)), answer)
    return PersonDetector(engine, artifact, score_min=0.25, max_people=20)


def skeleton(head: tuple[float, float], feet: tuple[float, float], score: float = 0.9) -> tuple[Keypoint, ...]:
    """17 keypoints along the line from head to feet."""
    start, end = np.array(head, np.float64), np.array(feet, np.float64)
    points = start + STANDING[:, 1:2].astype(np.float64) * (end - start)
    return tuple((float(x), float(y), score) for x, y in points)


def track(
    track_id: int, box: Box, *, missed_s: float = 0.0, state: str = "normal", keypoints: tuple[Keypoint, ...] = ()
) -> Track:
    return Track(
        track_id=track_id, box_xyxy_px=box, score=0.9, keypoints_px=keypoints, age_s=5.0, missed_s=missed_s, state=state
    )  # fmt: skip


def tracks_at(at_s: float, *tracks: Track, camera: str = "lobby", size: tuple[int, int] = SIZE) -> TracksUpdated:
    at_ns = START_NS + round(at_s * 1e9)
    return TracksUpdated(
        camera=camera, seq=round(at_s * 1000), captured_at_ns=at_ns, published_at_ns=at_ns, width_px=size[0], height_px=size[1],
        tracks=tracks,
    )  # fmt: skip


def seen(*boxes: Box, score: float = 0.9) -> tuple[Floats, Floats]:
    """Detections of an upright look."""
    return np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32)
