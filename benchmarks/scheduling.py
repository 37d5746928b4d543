"""Who works on which frame: claims with hold-back against a shared subscription, on the two loads of the design.

8 cameras, 50 KB frames, one worker of 10 ms and one of 100 ms as separate processes, a real broker and a real store. Then the
heavier load with a third worker that is killed on the way, and with one that joins on the way.

    python -m benchmarks.scheduling [--broker mosquitto --store redis] [--repeat 3] [--phases even|random|together]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from typing import Any

from benchmarks import _stack
from benchmarks._report import Report, options
from benchmarks._scheduling_case import Incident, run_case
from benchmarks._scheduling_workers import MAX_AGE_S, Load, Worker

FAST_MS, SLOW_MS, THIRD_MS = 10.0, 100.0, 20.0
LIGHT = Load(cameras=8, fps=5, frames=40)  # 320 frames in 8 s
HEAVY = Load(cameras=8, fps=15, frames=121)  # 968 frames in 8 s
QUICK = Load(cameras=4, fps=10, frames=6)
MODES = ("shared", "claims", "hold-back")
NAMES = {"shared": "shared subscription", "claims": "claims", "hold-back": "claims + hold-back"}
SILENCE_MAX_MS = 250.0
COLUMNS = ("load", "variant", "sent", "done", "of capacity", "p50 age", "p99 age", "max age", "longest silence", "by worker")
MEDIANS = ("sent", "done", "doubled", "age_p50_ms", "age_p99_ms", "age_max_ms", "fetch_p50_ms", "beside_engine_p50_ms",
           "longest_silence_ms")  # fmt: skip


def main() -> int:
    parser = options("Claims with hold-back against a shared subscription.")
    _stack.add_options(parser)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each case; medians are judged")
    parser.add_argument("--phases", choices=("even", "random", "together"), default="even", help="when cameras send")
    arguments = parser.parse_args()
    label = "-".join(filter(None, (_stack.label(arguments), "" if arguments.phases == "even" else arguments.phases)))
    report = Report("scheduling", arguments, label=label)
    report.data["settings"] = {"broker": arguments.broker, "store": arguments.store, "phases": arguments.phases,
                               "repeat": arguments.repeat, "service_ms": [FAST_MS, SLOW_MS]}  # fmt: skip
    with _stack.open_stack(arguments) as stack:
        rows = compare(stack, arguments, report)
        rows += disturb(stack, arguments, report)
    report.data["rows"] = rows
    report.table("Scheduling", COLUMNS, [_shown(row) for row in rows])
    report.note("Age: from capture until a subscriber has the result. A shared subscription drops nothing, so its ages show.")
    report.note(f"Capacity: {1000 / FAST_MS + 1000 / SLOW_MS:.0f} frames/s; done: until 1 s after the last was sent.")
    judge(report, rows, arguments.phases)
    return report.finish()


def loads(arguments: argparse.Namespace) -> dict[str, Load]:
    """The loads by name."""
    chosen = {"quick": QUICK} if arguments.quick else {"light": LIGHT, "heavy": HEAVY}
    return {name: dataclasses.replace(load, phases=arguments.phases) for name, load in chosen.items()}


def pair(mode: str) -> tuple[Worker, Worker]:
    """The two workers of the design."""
    return Worker("fast", FAST_MS, mode), Worker("slow", SLOW_MS, mode)


def compare(stack: _stack.Stack, arguments: argparse.Namespace, report: Report) -> list[dict[str, Any]]:
    """Each load with each variant, in turn, so that what disturbs the machine meanwhile disturbs all alike."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for turn in range(1 if arguments.quick else arguments.repeat):
        for name, load in loads(arguments).items():
            for mode in MODES[:: 2 if arguments.quick else 1]:
                report.say(f"run {turn + 1}: {name}, {NAMES[mode]}")
                runs.setdefault((name, mode), []).append(run_case(stack, load, pair(mode)).summary())
    return [_row(name, NAMES[mode], found, loads(arguments)[name]) for (name, mode), found in runs.items()]


def disturb(stack: _stack.Stack, arguments: argparse.Namespace, report: Report) -> list[dict[str, Any]]:
    """The heavier load with a third worker that is killed, or joins, half-way."""
    name, load = list(loads(arguments).items())[-1]
    rows = []
    for what in ("kill", "join"):
        found = []
        for turn in range(1 if arguments.quick else arguments.repeat):
            report.say(f"run {turn + 1}: {name}, third worker: {what}")
            third = Incident(Worker("third", THIRD_MS, "hold-back"), what, load.seconds / 2)
            found.append(run_case(stack, load, pair("hold-back"), third).summary())
        rows.append(_row(name, f"third worker: {what}", found, load))
    return rows


def _row(load_name: str, variant: str, runs: list[dict[str, Any]], load: Load) -> dict[str, Any]:
    """Medians over the runs; the worker counts are those of the run in the middle."""
    row: dict[str, Any] = {"load": load_name, "variant": variant, "runs": runs}
    row |= {name: statistics.median_low([run[name] for run in runs]) for name in MEDIANS}
    row["by_worker"] = next(run for run in runs if run["done"] == row["done"])["by_worker"]
    row["worst_silence_ms"] = max(run["longest_silence_ms"] for run in runs)
    row["worst_age_ms"] = max(run["age_max_ms"] for run in runs)
    row["most_doubled"] = max(run["doubled"] for run in runs)
    offered = row["sent"]
    row["capacity"] = round(min(offered, load.seconds * (1000 / FAST_MS + 1000 / SLOW_MS)))
    row["share_of_capacity"] = round(row["done"] / row["capacity"], 4)
    return row


def _shown(row: dict[str, Any]) -> tuple[str, ...]:
    workers = ", ".join(f"{name} {count}" for name, count in row["by_worker"].items())
    times = [f"{row[name]:,.0f} ms" for name in ("age_p50_ms", "age_p99_ms", "age_max_ms", "longest_silence_ms")]
    return (row["load"], row["variant"], str(row["sent"]), str(row["done"]), f"{row['share_of_capacity']:.0%}", *times, workers)


def judge(report: Report, rows: list[dict[str, Any]], phases: str) -> None:
    """Hold the rows against the targets; those of ages and throughput are for evenly spread cameras."""
    found = {(row["load"], row["variant"]): row for row in rows}
    hold_back = NAMES["hold-back"]
    if phases == "even" and ("light", hold_back) in found:
        light, heavy = found["light", hold_back], found["heavy", hold_back]
        report.target("light load: frames done", light["done"], ">=", light["sent"])
        report.target("light load: p99 age", light["age_p99_ms"], "<=", 60, "ms")
        report.target("heavy load: share of capacity", heavy["share_of_capacity"], ">=", 0.9)
        report.target("heavy load: p99 age", heavy["age_p99_ms"], "<=", 250, "ms")
    for row in rows:
        if row["variant"].startswith("third"):
            report.target(f"{row['variant']}: p99 age", row["age_p99_ms"], "<=", 250, "ms")
            report.target(f"{row['variant']}: oldest of all runs", row["worst_age_ms"], "<=", MAX_AGE_S * 1e3, "ms")
            report.target(f"{row['variant']}: longest silence of all runs", row["worst_silence_ms"], "<=", SILENCE_MAX_MS, "ms")
    report.target("frames done twice", max(row["most_doubled"] for row in rows), "<=", 0)


if __name__ == "__main__":
    sys.exit(main())
