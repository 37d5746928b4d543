"""Are people who fell still found on the floor, with and without the second look, and what does it cost?

    python -m benchmarks.lying [--detectors NAME ...] [--far 1 2] [--fps 5] [--save]

Detector, second look, pose, tracker and fall rule, offline, over the clips of the kit, whose boxes and times were read by eye
(`_lying_clips.py`). What networks answer is kept in out/lying, so that a change of rules is measured in a minute.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._lying_clips import FALLS, FOLDERS, KIT, Box, Networks, Played, Seen, clips, corner, frames, play
from benchmarks._lying_photos import recall
from benchmarks._report import Report, options
from common.config import DetectorSettings, SecondLookSettings
from common.geometry import Floats, iou_matrix
from services.detector import second_look
from services.detector.detect import load_detector

SCORE, OVERLAP = 0.35, 0.3  # what counts as found: so certain, and at the place
LIE_DOWN = ("upfall_s1_trial1/Activity11_Trial1Cam1.mp4", "upfall_s1_trial1/Activity11_Trial1Cam2.mp4")  # and never fall
QUICK = ("upfall_s1_trial1/Activity4_Trial1Cam1.mp4", "gmdcsa24/S1/ADL/16.mp4")
OFF = SecondLookSettings(enabled=False)
Hit = Callable[[Seen, Box], bool]


def main() -> int:
    parser = options("Recall of people on the floor, with and without the second look.")
    parser.add_argument("--detectors", nargs="+", default=["movenet-multipose", "rtmdet-nano", "yolox-nano", "picodet-s-320"])
    parser.add_argument(
        "--daily", nargs="*", default=["movenet-multipose", "rtmdet-nano"], help="those that are shown daily life, too"
    )
    parser.add_argument("--pose", default="movenet-multipose")
    parser.add_argument("--far", type=float, nargs="+", default=[1.0], help="also show the clips so many times smaller")
    parser.add_argument("--fps", type=float, default=5.0)
    arguments = parser.parse_args()
    missing = [str(folder) for folder in FOLDERS if not (folder / "labels.json").is_file()]
    if missing:
        parser.error(f"no labelled clips in {', '.join(missing)}: this benchmark needs the kit")
    names = [(name, fall) for name, fall in clips() if not arguments.quick or name in QUICK]
    detectors = ["rtmdet-nano"] if arguments.quick else arguments.detectors
    report = Report("lying", arguments)
    settings = SecondLookSettings()
    report.data["settings"] = {
        "fps": arguments.fps, "pose": arguments.pose, "score": SCORE, "overlap": OVERLAP, "second_look": settings.model_dump(),
    }  # fmt: skip
    report.data["rows"] = [
        _measure(
            report, [clip for clip in names if clip[1] or (far == 1.0 and detector in arguments.daily)], detector, far, chosen,
            arguments,
        )
        for detector in detectors
        for far in arguments.far
        for chosen in (OFF, settings)
    ]
    report.data["photos"] = [
        {"detector": detector, **recall(Networks(detector, arguments.pose), posture, 8 if arguments.quick else 157)}
        for detector in detectors
        for posture in ("lying", "upright")
    ]
    report.data["milliseconds"] = [_time_looks(detector) for detector in detectors]
    _tables(report)
    _targets(report)
    return report.finish()


def _measure(
    report: Report, names: Sequence[tuple[str, bool]], detector: str, far: float, settings: SecondLookSettings,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """One row: all clips with one detector, with or without the second look."""
    networks = Networks(detector, arguments.pose)
    played = {}
    for name, _ in names:
        played[name] = play(name, arguments.fps, networks, settings, far)
    falls = {name: played[name] for name, fall in names if fall}
    daily = [seen for name, fall in names if not fall and name not in LIE_DOWN for seen in played[name].frames]
    lie = [seen for name, fall in names if name in LIE_DOWN for seen in played[name].frames]

    def place(box: Box, size_px: tuple[int, int]) -> Floats:
        x, y = corner(*size_px, far)
        return np.array([box], np.float32) / np.float32(far) + np.array([x, y, x, y], np.float32)

    def share(clip: str, lying: bool, hit: Callable[[Seen, Floats], bool]) -> list[bool]:
        fall, seen = FALLS[clip], falls[clip]
        part = [s for s in seen.frames if (s.at_s >= fall.impact_s if lying else s.at_s < fall.onset_s)]
        return [hit(s, place(fall.lying if lying else fall.upright, seen.size_px)) for s in part]

    after = {clip: share(clip, True, found) for clip in falls}
    floor = [s.calls for clip in falls for s in falls[clip].frames if s.at_s >= FALLS[clip].impact_s]
    row = {
        "detector": detector, "far": far, "second_look": settings.enabled,
        "before": _mean([hit for clip in falls for hit in share(clip, False, found)]),
        "after": _mean([hit for hits in after.values() for hit in hits]),
        "after_95": _interval([float(np.mean(hits)) for hits in after.values()]),
        "after_by_clip": {clip: _mean(hits) for clip, hits in after.items()},
        "followed_after": _mean([hit for clip in falls for hit in share(clip, True, is_followed)]),
        "frames_after": len(floor), "runs_per_frame_after": _mean(floor),
        "frames_daily": len(daily), "runs_per_frame_daily": _mean([s.calls for s in daily]),
        "runs_per_frame_nobody": _mean([s.calls for s in daily if not s.watched]),
        "boxes_daily": sum(turn != 0 for s in daily for turn in s.turned_deg),
        "runs_per_frame_lying_down": _mean([s.calls for s in lie]),
        "falls": len(falls), "raised": sum(bool(clip.raised_s) for clip in falls.values()),
        "false_alarms": {name: played[name].raised_s for name, fall in names if not fall and played[name].raised_s},
        "daily_by_clip": _costs(played, [name for name, fall in names if not fall]),
    }  # fmt: skip
    report.say(f"{detector} far={far:g} second look={settings.enabled}: after the impact {row['after']:.2f}")
    return row


def found(seen: Seen, place: Floats) -> bool:
    """Is there a box at least so certain that overlaps the place (1, 4)?"""
    return bool(((iou_matrix(place, seen.boxes)[0] >= OVERLAP) & (seen.scores >= SCORE)).any())


def is_followed(seen: Seen, place: Floats) -> bool:
    """Was a track seen at the place in this frame?"""
    return bool((iou_matrix(place, seen.followed)[0] >= OVERLAP).any())


def _costs(played: dict[str, Played], names: list[str]) -> dict[str, list[int]]:
    """Of the clips that cost anything: extra runs, and people found by them."""
    costs = {
        name: [sum(s.calls for s in played[name].frames), sum(turn != 0 for s in played[name].frames for turn in s.turned_deg)]
        for name in names
    }
    return {name: cost for name, cost in costs.items() if cost[0]}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if len(values) else float("nan")


def _interval(by_clip: list[float]) -> tuple[float, float]:
    """95 % interval of the mean over clips, by drawing clips with replacement: frames of one clip are not independent."""
    values: NDArray[np.float64] = np.array(by_clip)
    draws = np.random.default_rng(1).integers(0, len(values), (10_000, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return round(float(low), 3), round(float(high), 3)


def _time_looks(detector: str, repeats: int = 15) -> dict[str, Any]:
    """Medians of a first and a second look at the last frame of a clip, in turn, one thread."""
    model = load_detector(DetectorSettings(model=detector))
    *_, (_, image) = frames(KIT / QUICK[0], 2.0, 1.0)
    size_px = (image.shape[1], image.shape[0])
    box = np.array(FALLS[QUICK[0]].upright, np.float32)
    window = second_look.region_of(second_look.Gap(1, box, float(box[3] - box[1]), None), size_px)
    spent: dict[str, list[float]] = {"first": [], "second": []}
    for _ in range(repeats):
        began = time.perf_counter()
        model.detect(image)
        between = time.perf_counter()
        second_look.look(image, window, size_px, 90, model.detect)
        spent["first"].append((between - began) * 1e3)
        spent["second"].append((time.perf_counter() - between) * 1e3)
    model.close()
    first_ms, second_ms = (float(np.median(spent[which])) for which in ("first", "second"))
    return {
        "detector": detector, "first_ms": round(first_ms, 1), "second_ms": round(second_ms, 1),
        "ratio": round(second_ms / first_ms, 2),
    }  # fmt: skip


def _tables(report: Report) -> None:
    def cells(row: dict[str, Any]) -> tuple[str, ...]:
        low, high = row["after_95"]
        return (
            row["detector"], f"{row['far']:g}", "yes" if row["second_look"] else "no", f"{row['before']:.2f}",
            f"{row['after']:.2f}", f"{low:.2f}-{high:.2f}", f"{row['followed_after']:.2f}",
            f"{row['raised']}/{row['falls']}", f"{row['runs_per_frame_after']:.2f}",
            *((f"{row['runs_per_frame_daily']:.3f}", str(row["boxes_daily"]), str(len(row["false_alarms"])))
              if row["frames_daily"] else ("", "", "")),
        )  # fmt: skip

    rows = report.data["rows"]
    columns = (
        "detector", "far", "second look", "before", "after", "95 %", "followed after", "falls raised", "runs/frame after",
        "runs/frame daily", "boxes daily", "false alarms",
    )  # fmt: skip
    report.table("People found before the fall and after the impact", columns, [cells(row) for row in rows])
    turns = ("0", "90", "-90", "180", "any")
    report.table(
        "Photos of people: found as they are, turned, and in any way", ("detector", "posture", "n", *turns),
        [
            (row["detector"], row["posture"], str(row["n"]), *(f"{row[turn]:.2f}" for turn in turns))
            for row in report.data["photos"]
        ],
    )  # fmt: skip
    report.table(
        "One look", ("detector", "first ms", "second ms", "ratio"),
        [(m["detector"], f"{m['first_ms']}", f"{m['second_ms']}", f"{m['ratio']}") for m in report.data["milliseconds"]],
    )  # fmt: skip
    first = rows[0]
    report.note(
        f"{first['falls']} falls, {first['frames_after']} frames after the impact, {first['frames_daily']} of daily life; "
        f"found: a box >= {SCORE} with IoU >= {OVERLAP} with the place read by eye; 95 %: bootstrap over clips. "
        "runs/frame: extra runs of the network. boxes daily: people that only the second look found in daily life, without the "
        "clips of somebody who lies down. far 2: the falls at half the size, in a field of their mean colour."
    )


def _targets(report: Report) -> None:
    """The remedy must help where people are lost, harm nowhere, and cost next to nothing while all is well."""
    rows = report.data["rows"]
    for without, with_it in zip(rows[::2], rows[1::2], strict=True):
        name = f"{with_it['detector']}, far {with_it['far']:g}"
        report.target(f"{name}: recall after the impact, gained", with_it["after"] - without["after"], ">=", 0.0)
        report.target(f"{name}: falls raised, gained", with_it["raised"] - without["raised"], ">=", 0)
        more = len(with_it["false_alarms"].keys() - without["false_alarms"].keys())
        if with_it["frames_daily"]:
            report.target(f"{name}: clips with a false alarm, more", more, "<=", 0)
            report.target(f"{name}: extra runs per frame of daily life", with_it["runs_per_frame_daily"], "<=", 0.1)


if __name__ == "__main__":
    raise SystemExit(main())
