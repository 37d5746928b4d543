"""Make tests/replay/session.msgpack.gz: python -m tests.replay.record

A session is a sequence of PosesFound: a morning of stick figures with the faults of real networks. The golden file beside it,
session.alerts.json, is written too: look at what changed.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import msgspec

from common.config import AnalyticsSettings, CameraSettings, ZoneSettings
from common.messages import Alert, PosedPerson, PosesFound
from services.analytics.pipeline import CameraPipeline
from tests.replay.figures import START_NS, film
from tests.replay.scenes import DAILY, FALLS

FOLDER = Path(__file__).parent
SESSION, GOLDEN = FOLDER / "session.msgpack.gz", FOLDER / "session.alerts.json"
CAMERA = CameraSettings(
    name="lobby", source="x",
    zones=(ZoneSettings(name="press", polygon=((0.0, 0.55), (0.3, 0.55), (0.3, 1.0), (0.0, 1.0)), dwell_s=0.5),),
)  # fmt: skip
PLAN = ("walk", "sit_hard", "tie_shoes_side", "sideways_left", "crossing", "lie_down_slowly", "and_gets_up", "bend", "away")


def replay(messages: list[PosesFound]) -> list[Alert]:
    """The alerts of a session."""
    pipeline = CameraPipeline("home", CAMERA, AnalyticsSettings())
    return [alert for message in messages for alert in pipeline.update(message).alerts]


def read(path: Path = SESSION) -> list[PosesFound]:
    return msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=list[PosesFound])


def figures() -> list[PosesFound]:
    """One scene after the other, 6 s apart, at changing frame rates."""
    messages: list[PosesFound] = []
    for number, name in enumerate(PLAN):
        scene = {**DAILY, **FALLS}[name]
        start_ns = messages[-1].captured_at_ns + 6_000_000_000 if messages else START_NS
        seq = messages[-1].seq + 1 if messages else 1
        for frame in film(list(scene.people), scene.length_s, fps=(10, 5, 15)[number % 3], seed=number, first_seq=seq):
            at_ns = frame.captured_at_ns - START_NS + start_ns
            people = tuple(map(_short, frame.people))
            messages.append(
                msgspec.structs.replace(frame, captured_at_ns=at_ns, published_at_ns=at_ns + 40_000_000, people=people)
            )
    return messages


def _short(person: PosedPerson) -> PosedPerson:
    """Whole pixels: half the bytes."""
    points = tuple((round(x), round(y), round(score, 2)) for x, y, score in person.keypoints_px)
    return msgspec.structs.replace(person, keypoints_px=points)


def main() -> int:
    messages = figures()
    SESSION.write_bytes(gzip.compress(msgspec.msgpack.encode(messages), mtime=0))
    GOLDEN.write_bytes(msgspec.json.format(msgspec.json.encode(replay(read())), indent=1) + b"\n")
    sys.stderr.write(f"{len(messages)} frames, {SESSION.stat().st_size} bytes, {len(replay(messages))} alert steps\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
