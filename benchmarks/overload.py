"""Four times more frames than the detectors can do: ages stay bounded, memory stays flat, other cameras' alerts come in time.

4 cameras play a clip at 20 frames/s through real camera, detector, pose and analytics services; 2 detectors with an engine
that sleeps 100 ms can do 20 of these 80. Meanwhile 3 more cameras, of which the benchmark publishes only the poses, each see
a person enter and leave a restricted zone every 2.5 s; their alerts are timed from the capture of the frame that caused them
until a subscriber has them, through tracking, rules, the outbox on disk, and QoS 1.

    python -m benchmarks.overload [--seconds 60]
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import redis

from benchmarks import _stack
from benchmarks._fleet import Fleet, make_clip
from benchmarks._measure import MIB, MemorySampler, percentile, slope
from benchmarks._report import Report, options
from benchmarks._walker import RESTRICTED, Walker, until
from common.clock import StoreClock
from common.config import PosebusConfig
from common.frames import connect_store
from common.messages import Alert

CAMERAS, FPS, DETECTORS, ENGINE_MS = 4, 20.0, 2, 100
WALKERS, WALKER_FPS, PERIOD_S = 3, 10.0, 2.5
MAX_AGE_S = 1.0
SETTLE_S = 10.0
STAGES = ("frames", "people", "poses", "tracks")
ALERT_LIMIT_MS = 300.0
# 2 MiB a minute is 440 bytes for each frame of 80 a second: a message or a JPEG kept of each frame would be over it. Processes
# grow by 1 to 2 MiB in their first minute, until their allocators have seen the largest of everything; then they stop
# (0.1 MiB a minute after 70 s, in a run of 190 s).
SLOPE_LIMIT_MIB = 2.0


@dataclass
class Heard:
    """What came over the bus while it was being watched."""

    clock: StoreClock
    watching: bool = False
    published_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # age when published, by stage
    arrived_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # age on arrival here
    alert_ms: list[float] = field(default_factory=list)
    alerts: set[tuple[str, int]] = field(default_factory=set)
    raised: int = 0
    doubled: int = 0

    def on_stage(self, message: Any, _levels: tuple[str, ...]) -> None:
        """A message of a stage, of the overloaded cameras."""
        if self.watching and message.camera.startswith("camera"):
            stage = message.__class__.__struct_config__.tag.split("/")[0]
            self.published_ms[stage].append((message.published_at_ns - message.captured_at_ns) / 1e6)
            self.arrived_ms[stage].append((self.clock.now_ns() - message.captured_at_ns) / 1e6)

    def on_alert(self, alert: Alert, _levels: tuple[str, ...]) -> None:
        """A step in the life of an alert; `updated_at_ns` is the capture of the frame that caused it."""
        if not self.watching:
            return
        self.doubled += (alert.id, alert.revision) in self.alerts
        self.alerts.add((alert.id, alert.revision))
        self.alert_ms.append((self.clock.now_ns() - alert.updated_at_ns) / 1e6)
        self.raised += alert.event == "raised"


def main() -> int:
    parser = options("Overload: ages, memory, alerts.")
    _stack.add_options(parser)
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of overload, the first 10 for settling")
    arguments = parser.parse_args()
    seconds, settle_s = (4.0, 1.0) if arguments.quick else (arguments.seconds, SETTLE_S)
    report = Report("overload", arguments, label=_stack.label(arguments))
    report.data["settings"] = {"cameras": CAMERAS, "fps": FPS, "detectors": DETECTORS, "engine_ms": ENGINE_MS,
                               "seconds": seconds, "broker": arguments.broker, "store": arguments.store}  # fmt: skip
    with _stack.open_stack(arguments) as stack, Fleet(stack, site="overload") as fleet:
        store = connect_store(stack.frames_url)
        clock = StoreClock(store)
        clock.sync()
        start(fleet)
        heard = Heard(clock)
        for topic in STAGES:
            fleet.bus.subscribe(heard.on_stage, topic, "+")
        fleet.bus.subscribe(heard.on_alert, "alerts", "+", "+")
        memory, entries = watch(fleet, stack, heard, clock, seconds)
        counters = {name: status.counters for name, status in fleet.statuses.items()}
        gone = fleet.ended()
        store.close()
    report.data["counters"] = counters
    tell(report, heard, memory, settle_s, seconds, entries)
    report.target("services that ended", len(gone), "<=", 0)
    return report.finish()


def start(fleet: Fleet) -> None:
    """Configuration and services; the walkers' cameras are read by nobody."""
    clip = make_clip(fleet.folder / "people.mp4", fps=FPS, seconds=5, people=2)
    cameras: list[dict[str, Any]] = [
        {"name": f"camera-{i}", "source": str(clip), "fps": FPS, "loop": True} for i in range(CAMERAS)
    ]
    zone = {"name": "press", "polygon": RESTRICTED, "kind": "restricted", "dwell_s": 0.0}
    unread = {"source": "rtsp://127.0.0.1:9/none", "fall": False, "zones": [zone]}
    cameras += [{"name": f"walker-{i}", **unread} for i in range(WALKERS)]
    fake = {"model": "fake-person", "runtime": "fake"}
    fleet.configure(
        PosebusConfig.model_validate(
            {
                "site": fleet.site,
                "general": {"max_age_s": MAX_AGE_S},
                "cameras": cameras,
                "detector": {**fake, "device": f"sleep:{ENGINE_MS}ms"},
                "pose": {**fake, "device": "sleep:10ms"},
            }
        )
    )
    fleet.start("analytics", "analytics")
    fleet.start("pose", "pose")
    for i in range(DETECTORS):
        fleet.start("detector", f"detector-{i + 1}")
    fleet.start("camera", "camera", POSEBUS_CAMERAS=",".join(f"camera-{i}" for i in range(CAMERAS)))
    fleet.wait_ready()


def watch(
    fleet: Fleet, stack: _stack.Stack, heard: Heard, clock: StoreClock, seconds: float
) -> tuple[MemorySampler, int]:
    """Let it run; returns the memory samples and how often somebody entered a restricted zone."""
    walkers = [
        Walker(fleet.bus, clock, f"walker-{i}", fps=WALKER_FPS, period_s=PERIOD_S, phase=i / WALKERS) for i in range(WALKERS)
    ]
    stores = {"frames-store": stack.frames_url, "state-store": stack.state_url}
    clients = {name: connect_store(url) for name, url in stores.items()}
    gauges = {f"{name}, used": used(client) for name, client in clients.items()}
    heard.watching = True
    with MemorySampler(fleet.pids, gauges) as memory:
        for walker in walkers:
            walker.start()
        time.sleep(seconds)
    for walker in walkers:
        walker.stop()
    entries = sum(walker.entries for walker in walkers)
    until(lambda: heard.raised >= entries, 3)
    heard.watching = False
    for client in clients.values():
        client.close()
    return memory, entries


def used(client: redis.Redis) -> Any:
    """A gauge of the memory that a store's data take."""
    return lambda: float(client.info("memory")["used_memory"])


def tell(report: Report, heard: Heard, memory: MemorySampler, settle_s: float, seconds: float, entries: int) -> None:
    """Tables and targets."""
    tell_ages(report, heard, seconds)
    tell_memory(report, memory, settle_s)
    ages = heard.alert_ms
    texts = [f"{value:.0f} ms" for value in (percentile(ages, 0.5), percentile(ages, 0.99), max(ages, default=float("nan")))]
    report.table(
        "Alerts of the other cameras, from capture to subscriber",
        ("steps", "entered", "raised", "twice", "p50", "p99", "max"),
        [(str(len(ages)), str(entries), str(heard.raised), str(heard.doubled), *texts)],
    )
    report.data["alerts"] = {"ms": [round(age, 2) for age in ages], "entered": entries, "raised": heard.raised}
    report.target("alerts of other cameras: p99", percentile(ages, 0.99), "<=", ALERT_LIMIT_MS, "ms")
    report.target("alerts of other cameras: raised", heard.raised, ">=", entries)
    report.target("alerts that came twice", heard.doubled, "<=", 0)


def tell_ages(report: Report, heard: Heard, seconds: float) -> None:
    """How old frames were at each stage, and how many got there."""
    rows, oldest = [], 0.0
    for stage in ("frame", "people", "poses", "tracks"):
        published, arrived = heard.published_ms[stage], heard.arrived_ms[stage]
        values = [percentile(published, 0.5), percentile(published, 0.99), max(published, default=float("nan")),
                  max(arrived, default=float("nan"))]  # fmt: skip
        oldest = max(oldest, values[2])
        rows.append((stage, f"{len(published) / seconds:.1f}", *(f"{value:.0f} ms" for value in values)))
        report.data.setdefault("ages_ms", {})[stage] = [round(value, 2) for value in values]
    columns = ("stage", "messages/s", "p50 age", "p99 age", "max age", "max age on arrival")
    can_hz, done_hz = DETECTORS * 1000 / ENGINE_MS, len(heard.published_ms["tracks"]) / seconds
    report.table(f"Ages when published: {CAMERAS * FPS:g} frames/s for detectors that do {can_hz:g}", columns, rows)
    report.target("oldest frame at any stage", oldest, "<=", MAX_AGE_S * 1e3, "ms")
    report.target("frames done, of what the detectors can do", done_hz / can_hz, ">=", 0.8)


def tell_memory(report: Report, memory: MemorySampler, settle_s: float) -> None:
    """Memory of every process, and its slope after settling."""
    times_s, series = memory.after(settle_s)
    rows, worst = [], 0.0
    report.data["memory"] = {}
    for name, values in series.items():
        per_minute = slope(times_s, values) * 60 / MIB
        worst = max(worst, per_minute)
        first, last, most = values[0] / MIB, values[-1] / MIB, max(values) / MIB
        rows.append((name, f"{first:.1f}", f"{last:.1f}", f"{most:.1f}", f"{per_minute:+.2f}"))
        report.data["memory"][name] = {"first_mib": round(first, 2), "last_mib": round(last, 2), "max_mib": round(most, 2),
                                       "slope_mib_per_min": round(per_minute, 3)}  # fmt: skip
    title = f"Resident memory after {settle_s:g} s"
    report.table(title, ("process", "first MiB", "last MiB", "most MiB", "MiB per minute"), rows)
    report.target("steepest memory", worst, "<=", SLOPE_LIMIT_MIB, "MiB/min")


if __name__ == "__main__":
    sys.exit(main())
