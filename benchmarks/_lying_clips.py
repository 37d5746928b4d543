"""Clips of benchmarks.lying: where the person is, read by eye; answers of networks, kept; detector to analytics, offline."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._video import sampled
from common.config import AnalyticsSettings, CameraSettings, DetectorSettings, PoseSettings, SecondLookSettings
from common.geometry import Floats, Image, resize
from common.messages import PosedPerson, PosesFound, TracksUpdated
from services.analytics.pipeline import CameraPipeline
from services.detector.detect import Detections, PersonDetector, load_detector
from services.detector.second_look_memory import Frame, SecondLook, merge
from services.pose.estimate import load_estimator

REPO = Path(__file__).resolve().parents[1]
KIT = Path(os.environ.get("POSEBUS_KIT", REPO.parent / "shared" / "kit")) / "data"
FOLDERS = (KIT / "gmdcsa24", KIT / "upfall_s1_trial1")
CACHE = REPO / "out" / "lying"
START_NS = 1_700_000_000_000_000_000
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Fall:
    """What the eye sees in a clip of 640 x 480: seconds to within 0.2, boxes to within 10 px.

    onset_s: the person begins to fall, at `upright` until then. impact_s: the trunk is on the floor, and stays at `lying`.
    """

    onset_s: float
    impact_s: float
    upright: Box
    lying: Box


FALLS = {
    "gmdcsa24/S1/Fall/13.mp4": Fall(0.3, 1.6, (240, 0, 395, 480), (196, 320, 440, 480)),
    "gmdcsa24/S1/Fall/14.mp4": Fall(0.2, 1.8, (265, 0, 435, 480), (240, 347, 436, 480)),
    "gmdcsa24/S1/Fall/15.mp4": Fall(1.8, 3.0, (276, 129, 435, 470), (22, 340, 326, 450)),
    "upfall_s1_trial1/Activity1_Trial1Cam1.mp4": Fall(2.6, 3.4, (390, 165, 496, 480), (50, 395, 428, 480)),
    "upfall_s1_trial1/Activity1_Trial1Cam2.mp4": Fall(2.6, 3.4, (288, 66, 370, 290), (227, 270, 386, 446)),
    "upfall_s1_trial1/Activity2_Trial1Cam1.mp4": Fall(0.8, 1.6, (375, 165, 470, 480), (35, 415, 404, 480)),
    "upfall_s1_trial1/Activity2_Trial1Cam2.mp4": Fall(0.8, 1.6, (268, 66, 360, 290), (210, 275, 372, 440)),
    "upfall_s1_trial1/Activity3_Trial1Cam1.mp4": Fall(1.0, 1.6, (360, 165, 450, 480), (35, 425, 425, 480)),
    "upfall_s1_trial1/Activity3_Trial1Cam2.mp4": Fall(1.0, 1.6, (278, 68, 365, 290), (216, 260, 376, 446)),
    "upfall_s1_trial1/Activity4_Trial1Cam1.mp4": Fall(0.6, 1.2, (368, 165, 490, 480), (30, 392, 400, 480)),
    "upfall_s1_trial1/Activity4_Trial1Cam2.mp4": Fall(0.6, 1.4, (288, 68, 370, 290), (218, 280, 370, 450)),
    "upfall_s1_trial1/Activity5_Trial1Cam1.mp4": Fall(0.6, 1.6, (392, 165, 476, 480), (90, 410, 440, 480)),
    "upfall_s1_trial1/Activity5_Trial1Cam2.mp4": Fall(0.8, 1.6, (280, 66, 364, 290), (216, 268, 372, 424)),
}


def clips() -> list[tuple[str, bool]]:
    """(name, is it a fall) of all clips of the kit."""
    found = []
    for folder in FOLDERS:
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        found += [(f"{folder.name}/{name}", bool(label["fall"])) for name, label in sorted(labels.items())]
    return found


def frames(path: Path, fps: float, far: float) -> Iterator[tuple[float, Image]]:
    """(seconds, picture) at so many frames a second. far: the picture so many times smaller, in a field of its mean colour."""
    return ((at_s, _farther(image, far)) for at_s, image in sampled(path, fps))


def _farther(image: Image, far: float) -> Image:
    if far == 1.0:
        return image
    height, width = image.shape[:2]
    small = resize(image, (round(width / far), round(height / far)))
    canvas = np.full_like(image, image.mean(axis=(0, 1)).astype(np.uint8))
    x, y = corner(width, height, far)
    canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
    return canvas


def corner(width: int, height: int, far: float) -> tuple[int, int]:
    """Where the shrunken picture lies in the frame."""
    return round((width - width / far) / 2), round((height - height / far) / 2)


class Kept:
    """Answers of networks, kept in a file: the same question costs nothing the second time."""

    def __init__(self, name: str) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self._table = sqlite3.connect(CACHE / f"{name.replace('/', '_')}.sqlite", isolation_level=None)
        self._table.execute("PRAGMA synchronous=OFF")
        self._table.execute("CREATE TABLE IF NOT EXISTS answers (question BLOB PRIMARY KEY, answer BLOB)")

    def ask(self, question: tuple[bytes, ...], answer: Callable[[], Any]) -> Any:
        """The answer, lists and numbers, from the file or from `answer`."""
        digest = hashlib.blake2b(b"|".join(question), digest_size=16).digest()
        row = self._table.execute("SELECT answer FROM answers WHERE question = ?", (digest,)).fetchone()
        if row is not None:
            return msgspec.msgpack.decode(row[0])
        value = answer()
        self._table.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (digest, msgspec.msgpack.encode(value)))
        return value


class Networks:
    """A detector and a pose network, as the services run them, with their answers kept."""

    def __init__(self, detector: str, pose: str) -> None:
        self._settings = DetectorSettings(model=detector), PoseSettings(model=pose)
        self._kept = Kept(f"detect-{detector}"), Kept(f"pose-{pose}")
        self._detector: PersonDetector | None = None
        self._estimator: Any = None
        self.spent_ms: list[float] = []  # of each detection that was not kept

    def detect(self, image: Image) -> Detections:
        def answer() -> list[Any]:
            self._detector = self._detector or load_detector(self._settings[0])
            began = time.perf_counter()
            found = self._detector.detect(image)
            self.spent_ms.append((time.perf_counter() - began) * 1e3)
            return [found.boxes.tolist(), found.scores.tolist()]

        boxes, scores = self._kept[0].ask((repr(image.shape).encode(), image.tobytes()), answer)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))

    def pose(self, image: Image, found: Detections, turned_deg: list[int]) -> tuple[PosedPerson, ...]:
        most = self._settings[1].max_people
        boxes, scores = np.round(found.boxes[:most], 1), found.scores[:most]
        turns = np.array(turned_deg[:most], np.int64)

        def answer() -> list[Any]:
            self._estimator = self._estimator or load_estimator(self._settings[1])
            points: list[Any] = np.round(self._estimator.estimate(image, boxes, turns), 2).tolist()
            return points

        asked = (repr(image.shape).encode(), image.tobytes(), boxes.tobytes(), turns.tobytes() if turns.any() else b"")
        points = self._kept[1].ask(asked, answer) if len(boxes) else []
        return tuple(
            PosedPerson(box_xyxy_px=tuple(box), score=score, keypoints_px=tuple(map(tuple, keypoints)))
            for box, score, keypoints in zip(boxes.tolist(), scores.tolist(), points, strict=True)
        )


@dataclass
class Seen:
    """One frame: all people, the turn of each, the extra runs of the network, and where tracks are now."""

    at_s: float
    boxes: Floats
    scores: Floats
    turned_deg: list[int]
    calls: int
    watched: int  # tracks that were alive when it came
    followed: Floats  # (N, 4) boxes of tracks that were seen in this frame


@dataclass
class Played:
    """A clip, as it was seen."""

    size_px: tuple[int, int]
    frames: list[Seen] = field(default_factory=list)
    raised_s: list[float] = field(default_factory=list)


def play(name: str, fps: float, networks: Networks, settings: SecondLookSettings, far: float = 1.0) -> Played:
    """Detector, second look, pose, tracker and rules over one clip; the detector hears the tracks of the frame before."""
    pipeline = CameraPipeline("bench", CameraSettings(name="clip", source="clip"), AnalyticsSettings())
    again, played, watched = SecondLook(), Played((0, 0)), 0
    for number, (at_s, image) in enumerate(frames(KIT / name, fps, far), start=1):
        at_ns = START_NS + round(at_s * 1e9)
        size_px = played.size_px = (image.shape[1], image.shape[0])
        before = again.counters["second_looks"]
        found = networks.detect(image)
        frame = Frame("clip", at_ns, size_px, lambda _window, image=image: image)  # type: ignore[misc]
        found, turned = merge(found, again.search(frame, found, networks.detect, settings))
        calls = again.counters["second_looks"] - before
        poses = PosesFound(
            camera="clip", seq=number, captured_at_ns=at_ns, published_at_ns=at_ns, width_px=size_px[0], height_px=size_px[1],
            people=networks.pose(image, found, turned),
        )  # fmt: skip
        outcome = pipeline.update(poses)
        followed = np.array([track.box_xyxy_px for track in outcome.tracks if track.missed_s == 0], np.float32).reshape(-1, 4)
        played.frames.append(Seen(at_s, found.boxes, found.scores, turned, calls, watched, followed))
        again.hear(
            TracksUpdated(
                camera="clip", seq=number, captured_at_ns=at_ns, published_at_ns=at_ns, width_px=size_px[0],
                height_px=size_px[1], tracks=outcome.tracks,
            )
        )  # fmt: skip
        watched = len(outcome.tracks)
        played.raised_s += [round(at_s, 2) for alert in outcome.alerts if alert.event == "raised"]
    return played
