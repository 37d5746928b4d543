"""The default networks against MoveNet, on the demo's clips: processor time a frame of detector and pose, and the alerts.

    python -m benchmarks.defaults [--detector NAME] [--pose NAME] [--against NAME] [--fps 8]

Both pairs see each frame, one after the other, in turn first, in one process; nothing is dropped for its age.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks._clip_chain import ClipChain, Played, Spent, frames
from benchmarks._measure import median
from benchmarks._report import Report, options
from common.config import DetectorSettings, PoseSettings, default_models
from posebus.clips import DWELL_S, ROOM, Programme, built_in
from posebus.summary import RaisedAlert, Summary, promise_problems

QUICK_FRAMES = 6
NEW, OLD = "defaults", "against"


def main() -> int:
    parser = options("The default networks against MoveNet, on the demo's clips.")
    parser.add_argument("--detector", default=default_models()["detector"])
    parser.add_argument("--pose", default=default_models()["pose"])
    parser.add_argument("--against", default="movenet-multipose", help="artifact that does both")
    parser.add_argument("--fps", type=float, default=8.0)
    arguments = parser.parse_args()
    report = Report("defaults", arguments)
    programme = built_in(arguments.fps, None)
    chains = {
        NEW: ClipChain(DetectorSettings(model=arguments.detector), PoseSettings(model=arguments.pose)),
        OLD: ClipChain(DetectorSettings(model=arguments.against), PoseSettings(model=arguments.against)),
    }
    report.data["settings"] = {"fps": arguments.fps, **{name: networks(chain) for name, chain in chains.items()}}
    try:
        played = play(chains, programme, QUICK_FRAMES if arguments.quick else None)
    finally:
        for chain in chains.values():
            chain.close()
    tell(report, chains, played, programme, judge=not arguments.quick)
    return report.finish()


def networks(chain: ClipChain) -> str:
    """`tinydet-m 1 (tflite int8 on cpu) + ...`."""
    return " + ".join(
        f"{stage.artifact} ({stage.engine.name} {getattr(stage.engine, 'precision', '')} on {stage.engine.device})"
        for stage in (chain.detector, chain.estimator)
    )


def play(chains: dict[str, ClipChain], programme: Programme, most: int | None) -> dict[str, dict[str, Played]]:
    """Camera -> pair of networks -> what came of it. most: frames of each clip."""
    found: dict[str, dict[str, Played]] = {}
    for camera in programme.cameras:
        for chain in chains.values():
            chain.open(camera)
        for seq, (at_s, jpeg, size_px) in enumerate(islice(frames(Path(camera.source), camera), most), start=1):
            order = list(chains.values())
            for chain in order if seq % 2 else reversed(order):
                chain.frame(seq, at_s, jpeg, size_px)
        found[camera.name] = {name: chain.play for name, chain in chains.items()}
    return found


def broken_promises(played: dict[str, Played], programme: Programme) -> list[str]:
    """What is not as the demo promises of these alerts."""
    alerts = [
        RaisedAlert(camera, kind, at_s, at_s, None, "", "", delay_s=_delay_s(programme, camera, kind, at_s))
        for camera, clip in played.items()
        for kind, at_s in clip.raised
    ]
    return promise_problems(Summary({}, alerts, {}), ROOM, dwell_s=DWELL_S)


def _delay_s(programme: Programme, camera: str, kind: str, at_s: float) -> float | None:
    key = {"fall": "impact_s", "intrusion": "enter_s"}.get(kind)
    return next((at_s - event[key] for event in programme.truth.get(camera, ()) if event["kind"] == kind and key), None)


def tell(
    report: Report, chains: dict[str, ClipChain], played: dict[str, dict[str, Played]], programme: Programme, *, judge: bool
) -> None:
    """Tables and targets."""
    spent = {name: [frame for clips in played.values() for frame in clips[name].spent] for name in chains}
    numbers = {name: summarise(frames) for name, frames in spent.items()}
    rows = [(networks(chains[name]), *(f"{numbers[name][key]:.2f}" for key in COLUMNS)) for name in chains]
    report.table("Milliseconds a frame, mean", ("networks", *COLUMNS.values()), rows)
    problems = {}
    alerts = []
    for name in chains:
        problems[name] = broken_promises({camera: clips[name] for camera, clips in played.items()}, programme) if judge else []
        raised = ", ".join(f"{camera} {kind} {at:.1f} s" for camera, clips in played.items() for kind, at in clips[name].raised)
        alerts.append((networks(chains[name]), raised or "none", "; ".join(problems[name]) or "as promised"))
    report.table("Alerts", ("networks", "raised", "verdict"), alerts)
    ratio = numbers[NEW]["cpu_ms"] / max(numbers[OLD]["cpu_ms"], 1e-9)
    report.data |= {"pairs": numbers, "problems": problems, "cpu_ratio": round(ratio, 4)}
    report.data["raised"] = {name: {camera: clips[name].raised for camera, clips in played.items()} for name in chains}
    report.target("processor time of detector and pose, defaults / against", ratio, "<=", 1.0)
    report.target("alerts of the defaults that are not as promised", float(len(problems[NEW])), "<=", 0)


COLUMNS = {
    "detector_cpu_ms": "detector, CPU", "pose_cpu_ms": "pose, CPU", "cpu_ms": "both, CPU", "detector_p50_ms": "detector, p50",
    "pose_p50_ms": "pose, p50", "people": "people", "looks": "second looks",
}  # fmt: skip


def summarise(frames: Sequence[Spent]) -> dict[str, Any]:
    """Means over frames of processor time, people and second looks; medians of the service time by the clock."""
    count = max(len(frames), 1)
    detector, pose = (sum(getattr(frame, key) for frame in frames) / count for key in ("detector_cpu_ms", "pose_cpu_ms"))
    return {
        "frames": len(frames),
        "detector_cpu_ms": round(detector, 3),
        "pose_cpu_ms": round(pose, 3),
        "cpu_ms": round(detector + pose, 3),
        "detector_p50_ms": round(median([frame.detector_ms for frame in frames]), 3),
        "pose_p50_ms": round(median([frame.pose_ms for frame in frames]), 3),
        "people": round(sum(frame.people for frame in frames) / count, 3),
        "looks": round(sum(frame.looks for frame in frames) / count, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
