"""A small made-up recording for the tests of drawing and summary."""

from __future__ import annotations

import cv2
import numpy as np

from common.messages import Alert, FrameNotice, Keypoint, Track, TracksUpdated
from posebus.drawing import Image
from posebus.recorder import FrameRecord, Recording

START_NS = 1_700_000_000_000_000_000
FPS = 8


def blank(width: int = 640, height: int = 480) -> Image:
    return np.zeros((height, width, 3), np.uint8)


def standing(x: float = 320.0) -> tuple[Keypoint, ...]:
    """A person who faces the camera: their left is on the right of the picture."""
    rows = [(0, 100), (6, 95), (-6, 95), (12, 98), (-12, 98), (25, 140), (-25, 140), (35, 190), (-35, 190), (40, 235),
            (-40, 235), (15, 240), (-15, 240), (17, 310), (-17, 310), (18, 380), (-18, 380)]  # fmt: skip
    return tuple((x + dx, float(y), 0.9) for dx, y in rows)


def track(state: str = "normal", missed_s: float = 0.0, zones: tuple[str, ...] = ()) -> Track:
    return Track(
        track_id=4, box_xyxy_px=(270.0, 80.0, 370.0, 400.0), score=0.9, keypoints_px=standing(), age_s=1.0,
        missed_s=missed_s, state=state, zones=zones,
    )  # fmt: skip


def alert(kind: str, event: str, at_s: float, *, revision: int = 1, raised_s: float | None = None, id_: str = "") -> Alert:
    raised_ns = START_NS + round((at_s if raised_s is None else raised_s) * 1e9)
    return Alert(
        id=id_ or kind, revision=revision, site="demo", camera="room", kind=kind, event=event, severity="critical",
        message=f"A {kind}.", raised_at="", started_at_ns=raised_ns, raised_at_ns=raised_ns,
        updated_at_ns=START_NS + round(at_s * 1e9), seq=1, track_id=4, zone="machine" if kind == "intrusion" else None,
    )  # fmt: skip


def recording(alerts: list[Alert], *, seconds: float = 4.0, jpegs: bool = True) -> Recording:
    """A camera `room` with one person in every frame; the last frame did not come through."""
    jpeg = cv2.imencode(".jpg", blank())[1].tobytes()
    records = []
    for i in range(round(seconds * FPS) + 1):
        ns = START_NS + round(i / FPS * 1e9)
        notice = FrameNotice(
            camera="room", seq=i, captured_at_ns=ns, published_at_ns=ns, key=f"frame:room:{i}", width_px=640, height_px=480,
            stored_width_px=640, stored_height_px=480, jpeg_bytes=len(jpeg),
        )  # fmt: skip
        update = TracksUpdated(
            camera="room", seq=i, captured_at_ns=ns, published_at_ns=ns, width_px=640, height_px=480, tracks=(track(),)
        )
        records.append(FrameRecord(notice, jpeg if jpegs else None, tracks=update))
    records[-1].tracks = None
    ages = {("room", "tracks"): [float(i) for i in range(1, 101)]}
    return Recording({"room": records}, alerts, ages_ms=ages)
