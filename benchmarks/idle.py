"""What posebus costs when nobody is there: 4 cameras, 10 frames/s, 640 x 480, in processor time beside detection.

Cameras play a clip without people; the detector's engine is a sleep that finds nobody, as an accelerator would. Counted are
camera, pose and analytics services, broker and stores; the detector is shown and not counted.

    python -m benchmarks.idle [--seconds 20] [--repeat 3]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2

from benchmarks import _stack
from benchmarks._fleet import Fleet, make_clip
from benchmarks._measure import cpu_seconds, median
from benchmarks._report import Report, options
from common.bus import Handler
from common.config import PosebusConfig

CAMERAS, FPS = 4, 10.0
CLIP = "empty.mp4"
LIMIT = 0.25  # of one core
SETTLE_S = 4.0
NOT_COUNTED = "detector"
TOPICS = ("frames", "people", "poses", "tracks")


def main() -> int:
    parser = options("Processor time of an idle stack.")
    _stack.add_options(parser)
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of each measurement")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="measurements; the median counts")
    arguments = parser.parse_args()
    report = Report("idle", arguments, label=_stack.label(arguments))
    report.data["settings"] = {"cameras": CAMERAS, "fps": FPS, "broker": arguments.broker, "store": arguments.store}
    with _stack.open_stack(arguments) as stack, Fleet(stack, site="idle") as fleet:
        start(fleet)
        runs, encode_ms = measure(fleet, arguments)
    tell(report, runs)
    typical_ms, best_ms = median(encode_ms), min(encode_ms)
    report.data["jpeg_encode_ms"] = {"median": round(typical_ms, 3), "least": round(best_ms, 3)}
    report.note(
        f"One JPEG of the same picture took {typical_ms:.2f} ms of processor time in this run, {best_ms:.2f} ms at best: what "
        f"else ran on this machine made everything about {typical_ms / best_ms:.1f} times dearer."
    )
    return report.finish()


def start(fleet: Fleet) -> None:
    """Four cameras with one clip, one process for each service."""
    clip = make_clip(fleet.folder / CLIP, fps=FPS, seconds=5, people=0)
    fleet.configure(
        PosebusConfig.model_validate(
            {
                "site": fleet.site,
                "cameras": [
                    {"name": f"camera-{i}", "source": str(clip), "fps": FPS, "loop": True,
                     "zones": [{"name": "floor", "polygon": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}]}
                    for i in range(CAMERAS)
                ],
                "detector": {"model": "fake-person", "runtime": "fake", "device": "sleep:10ms"},
                "pose": {"model": "fake-person", "runtime": "fake", "device": "sleep:10ms"},
            }
        )
    )  # fmt: skip
    for service in ("analytics", "pose", "detector", "camera"):
        fleet.start(service, service)
    fleet.wait_ready()


def yardstick(clip: Path, seconds: float) -> list[float]:
    """Wait, and meanwhile time now and then what one JPEG of the same picture takes: it tells what the machine is worth now."""
    video = cv2.VideoCapture(str(clip))
    image = video.read()[1]
    video.release()
    times_ms, until_s = [], time.monotonic() + seconds
    while time.monotonic() < until_s:
        before_s = time.thread_time()
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
        times_ms.append((time.thread_time() - before_s) * 1e3)
        time.sleep(0.1)
    return times_ms


def measure(fleet: Fleet, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[float]]:
    """Processor time by process, as shares of one core, and messages a second, of each measurement; and the yardstick."""
    seen: Counter[str] = Counter()
    for topic in TOPICS:
        fleet.bus.subscribe(count_into(seen, topic), topic, "+")
    seconds = 2.0 if arguments.quick else arguments.seconds
    time.sleep(0.5 if arguments.quick else SETTLE_S)
    runs: list[dict[str, Any]] = []
    encode_ms: list[float] = []
    for _ in range(1 if arguments.quick else arguments.repeat):
        seen.clear()
        began_s, before = time.monotonic(), {name: cpu_seconds(pid) for name, pid in fleet.pids.items()}
        encode_ms += yardstick(fleet.folder / CLIP, seconds)
        lasted_s = time.monotonic() - began_s
        shares = {name: (cpu_seconds(pid) - before[name]) / lasted_s for name, pid in fleet.pids.items()}
        runs.append({"shares": shares, "rates_hz": {topic: count / lasted_s for topic, count in seen.items()}})
    return runs, encode_ms


def count_into(seen: Counter[str], topic: str) -> Handler:
    """A handler that counts."""

    def handler(_message: Any, _levels: tuple[str, ...]) -> None:
        seen[topic] += 1

    return handler


def tell(report: Report, runs: list[dict[str, Any]]) -> None:
    """Table and target."""
    names = list(runs[0]["shares"])
    shares = {name: median([run["shares"][name] for run in runs]) for name in names}
    totals = [sum(share for name, share in run["shares"].items() if name != NOT_COUNTED) for run in runs]
    rates = {topic: median([run["rates_hz"].get(topic, 0.0) for run in runs]) for topic in TOPICS}
    frames = max(rates["frames"], 1e-9)
    rows = [
        (name, f"{share:.1%}", f"{share / frames * 1e3:.2f} ms", "no" if name == NOT_COUNTED else "yes")
        for name, share in shares.items()
    ]
    rows.append(("all that is counted", f"{median(totals):.1%}", f"{median(totals) / frames * 1e3:.2f} ms", ""))
    report.table(f"Idle: {CAMERAS} cameras, {FPS:g} frames/s", ("process", "of one core", "for each frame", "counted"), rows)
    report.note(f"Messages a second: {', '.join(f'{topic} {rate:.1f}' for topic, rate in rates.items())}.")
    report.data["rows"] = [{"process": name, "share_of_core": round(share, 4)} for name, share in shares.items()]
    report.data |= {"rates_hz": rates, "totals": [round(total, 4) for total in totals], "runs": runs}
    report.target("all but detection, of one core", median(totals), "<=", LIMIT)
    report.target("frames looked at, of those wanted", rates["tracks"] / (CAMERAS * FPS), ">=", 0.95)


if __name__ == "__main__":
    sys.exit(main())
