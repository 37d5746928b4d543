"""Which falls in recorded clips are raised, and which false alarms: detector, pose and analytics, offline, no bus.

    python -m benchmarks.falls [--clips FOLDER ...] [--fps 10] [--json FILE]

FOLDER has a labels.json: clip -> {"fall": true or false, ...}. What the networks find is cached in out/falls, so that rules
can be changed and measured in seconds. The clips are for measuring, not for choosing thresholds: those follow from reasons.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.config import AnalyticsSettings, CameraSettings, DetectorSettings, PoseSettings
from common.messages import PosedPerson, PosesFound, decode, encode
from services.analytics.pipeline import CameraPipeline

REPO = Path(__file__).resolve().parents[1]
KIT = REPO.parent / "shared" / "kit" / "data"
FOLDERS = (KIT / "gmdcsa24", KIT / "upfall_s1_trial1")
CACHE = REPO / "out" / "falls"


class Networks:
    """Detector and pose network, loaded when the first clip is not in the cache."""

    def __init__(self, detector: str, pose: str) -> None:
        self.detector, self.pose = detector, pose
        self._loaded: Any = None

    def see(self, image: Any) -> tuple[PosedPerson, ...]:
        """The people of one picture."""
        if self._loaded is None:
            from services.detector.detect import load_detector
            from services.pose.estimate import load_estimator

            settings = PoseSettings(model=self.pose)
            self._loaded = load_detector(DetectorSettings(model=self.detector)), load_estimator(settings), settings
        detector, estimator, settings = self._loaded
        found = detector.detect(image)
        boxes, scores = found.boxes[: settings.max_people], found.scores[: settings.max_people]
        points = estimator.estimate(image, boxes)
        return tuple(
            PosedPerson(box_xyxy_px=tuple(box), score=score, keypoints_px=tuple(map(tuple, keypoints)))
            for box, score, keypoints in zip(
                np.round(boxes, 1).tolist(), np.round(scores, 4).tolist(), np.round(points, 2).tolist(), strict=True
            )
        )


def poses_of(clip: Path, fps: float, networks: Networks) -> list[PosesFound]:
    """What the pose stage finds in a clip, from the cache if it is there."""
    key = f"{clip.parent.name}-{clip.stem}-{fps:g}-{networks.detector}-{networks.pose}".replace("/", "_")
    cached = CACHE / f"{key}.poses"
    if cached.is_file():
        data = cached.read_bytes()
        return [decode(PosesFound, part) for part in _parts(data)]
    found = list(_infer(clip, fps, networks))
    CACHE.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(b"".join(len(part).to_bytes(4, "big") + part for part in map(encode, found)))
    return found


def _infer(clip: Path, fps: float, networks: Networks) -> Any:
    video = cv2.VideoCapture(str(clip))
    rate = video.get(cv2.CAP_PROP_FPS) or 30.0
    number, due_s = 0, 0.0
    while True:
        ok, image = video.read()
        if not ok:
            break
        at_s = number / rate
        number += 1
        if at_s < due_s - 0.5 / rate:
            continue
        due_s += 1.0 / fps
        at_ns = 1_700_000_000_000_000_000 + round(at_s * 1e9)
        height, width = image.shape[:2]
        yield PosesFound(
            camera="clip", seq=number, captured_at_ns=at_ns, published_at_ns=at_ns, width_px=width, height_px=height,
            people=networks.see(image),
        )  # fmt: skip
    video.release()


def _parts(data: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return parts


def falls_in(poses: list[PosesFound]) -> dict[str, Any]:
    """Times of raised falls, seconds from the start of the clip, and how the person was seen."""
    pipeline = CameraPipeline("bench", CameraSettings(name="clip", source="clip"), AnalyticsSettings())
    start_ns = poses[0].captured_at_ns if poses else 0
    raised, onsets, states = [], [], []
    began_s = time.perf_counter()
    for frame in poses:
        outcome = pipeline.update(frame)
        for alert in outcome.alerts:
            if alert.event == "raised":
                raised.append(round((alert.raised_at_ns - start_ns) / 1e9, 2))
                onsets.append(round((alert.started_at_ns - start_ns) / 1e9, 2))
        states += [track.state for track in outcome.tracks]
    update_ms = (time.perf_counter() - began_s) * 1e3 / max(len(poses), 1)
    seen = sum(bool(frame.people) for frame in poses) / max(len(poses), 1)
    return {
        "raised_s": raised, "onset_s": onsets, "falling": "falling" in states, "frames": len(poses),
        "seen": round(seen, 2), "update_ms": round(update_ms, 3),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", default=FOLDERS, help="folders with a labels.json")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--detector", default="movenet-multipose")
    parser.add_argument("--pose", default="movenet-multipose")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    networks, rows = Networks(options.detector, options.pose), []
    for folder in options.clips:
        if not (folder / "labels.json").is_file():
            parser.error(f"{folder}: has no labels.json; give a folder of labelled clips with --clips")
        for name, label in sorted(json.loads((folder / "labels.json").read_text()).items()):
            about = label.get("name") or label.get("description", "")
            row = {"clip": f"{folder.name}/{name}", "fall": label["fall"], "about": about[:44]}
            row.update(falls_in(poses_of(folder / name, options.fps, networks)))
            rows.append(row)
            print(
                f"{row['clip']:46s} {row['about']:44s} {'fall' if row['fall'] else '-':5s} raised={row['raised_s']}"
                f" onset={row['onset_s']} falling={row['falling']} seen={row['seen']:.2f}", flush=True,
            )  # fmt: skip
    summary = summarise(rows)
    print("\n".join(f"{name}: {value}" for name, value in summary.items()))
    if options.json:
        report = {
            "fps": options.fps, "detector": options.detector, "pose": options.pose, "summary": summary, "clips": rows,
        }  # fmt: skip
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sensitivity and false alarms over clips."""
    falls, daily = [row for row in rows if row["fall"]], [row for row in rows if not row["fall"]]
    return {
        "falls_raised": f"{sum(bool(row['raised_s']) for row in falls)}/{len(falls)}",
        "falls_raised_twice": sum(len(row["raised_s"]) > 1 for row in falls),
        "false_alarms": f"{sum(bool(row['raised_s']) for row in daily)}/{len(daily)}",
        "update_ms_mean": round(sum(row["update_ms"] for row in rows) / max(len(rows), 1), 3),
    }


if __name__ == "__main__":
    raise SystemExit(main())
