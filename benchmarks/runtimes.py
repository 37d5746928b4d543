"""One network on each runtime of the CPU: latency at batch 1 and 6, accuracy, and what int8 loses.

    python -m benchmarks.runtimes --prepare    # once, where PyTorch is (extra convert): converts PP-TinyPose 256x192
    python -m benchmarks.runtimes [--seconds 30]

PP-TinyPose comes from the kit as OpenVINO IR, is imported into PyTorch and converted to ONNX, TFLite float32 and TFLite int8;
the files stay in out/runtimes/. All runtimes then take turns, a batch each, in one process.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._measure import median, percentile
from benchmarks._report import REPO, Report, options
from common.artifact import Artifact, find_artifact, read_artifact
from common.manifest import FILENAME
from common.runtimes import load, probe
from common.runtimes.base import Engine
from models.zoo.measure import Truth, coco_mini, measure
from services.pose.crops import crop_batch

NETWORK = "pp-tinypose-256x192"
FOLDER = REPO / "out" / "runtimes" / NETWORK
BATCHES = (1, 6)
THREADS = (1, 2)
OKS_LOSS = 0.02
BATCH_GAIN = 0.8


@dataclass(frozen=True)
class Kind:
    """One way to run the network. batches: whether the file holds a network for several pictures."""

    name: str
    runtime: str
    precision: str
    converted: bool = True
    batches: bool = True


KINDS = (
    Kind("openvino, as delivered (float16)", "openvino", "auto", converted=False, batches=False),
    Kind("onnx float32", "onnx", "float32"),
    Kind("openvino, as it chooses", "openvino", "auto"),  # bf16 where the processor has it
    Kind("openvino float32", "openvino", "float32"),
    Kind("tflite float32", "tflite", "float32", batches=False),
    Kind("tflite int8", "tflite", "int8", batches=False),
)


def main() -> int:
    parser = options("One network on each runtime of the CPU.")
    parser.add_argument("--prepare", action="store_true", help="convert the network and stop; needs PyTorch and the kit")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="measured time, all runtimes together")
    parser.add_argument("--kit", type=Path, default=Path(os.environ.get("POSEBUS_KIT") or REPO.parent / "shared" / "kit"))
    arguments = parser.parse_args()
    if arguments.prepare:
        from benchmarks._runtimes_prepare import prepare

        prepare(arguments.kit, FOLDER)
        return 0
    report = Report("runtimes", arguments)
    kinds = available(report, arguments)
    if not kinds:
        report.note("Nothing was measured.")
        return report.finish()
    truths = list(coco_mini(arguments.kit))
    report.data["settings"] = {"network": NETWORK, "seconds": arguments.seconds, "batches": list(BATCHES),
                               "threads": list(THREADS)}  # fmt: skip
    times = take_turns(kinds, crops(truths), 2.0 if arguments.quick else arguments.seconds)
    chosen = truths[:4] if arguments.quick else truths
    oks = {kind.name: accuracy(kind, chosen) for kind in kinds}
    tell(report, kinds, times, oks)
    return report.finish()


def available(report: Report, arguments: argparse.Namespace) -> list[Kind]:
    """What can be run here; the rest is said."""
    if not (arguments.kit / "data" / "coco-mini").is_dir():
        report.note(f"The kit is not at {arguments.kit}: set POSEBUS_KIT.")
        return []
    converted = (FOLDER / FILENAME).is_file()
    if not converted:
        has = importlib.util.find_spec("torch") is not None
        fix = f"run `{Path(sys.executable).name} -m benchmarks.runtimes --prepare`"
        where = "here" if has else "once with an environment that has PyTorch (pip install posebus[convert])"
        report.note(f"SKIPPED: onnx, tflite and int8, as {NETWORK} was not converted yet; {fix} {where}.")
    kinds = []
    for kind in KINDS:
        reason = probe(kind.runtime)
        if reason is not None:
            report.note(f"SKIPPED: {kind.name}: {reason}")
        elif converted or not kind.converted:
            kinds.append(kind)
    return kinds


def artifact_of(kind: Kind) -> Artifact:
    return read_artifact(FOLDER) if kind.converted else find_artifact(NETWORK)


def open_engine(kind: Kind, threads: int) -> Engine:
    return load(artifact_of(kind), task="pose", runtime=kind.runtime, precision=kind.precision, threads=threads)


def crops(truths: Sequence[Truth]) -> NDArray[np.uint8]:
    """Six real people, as the pose stage cuts them."""
    truth = next(truth for truth in truths if len(truth.boxes) >= max(BATCHES))
    return crop_batch(truth.image(), truth.boxes[: max(BATCHES)], find_artifact(NETWORK).manifest).pixels


Times = dict[tuple[str, int, int], list[float]]  # (kind, threads, batch) -> milliseconds


def take_turns(kinds: Sequence[Kind], people: NDArray[np.uint8], seconds: float) -> Times:
    """All engines in turn, so that what disturbs the machine disturbs all alike."""
    engines = {(kind.name, threads): open_engine(kind, threads) for kind in kinds for threads in THREADS}
    batches = {size: np.ascontiguousarray(people[:size]) for size in BATCHES}
    times: Times = {(*key, size): [] for key in engines for size in BATCHES}
    try:
        for engine in engines.values():
            for size in BATCHES:  # plans for the batch are made now
                engine.run(batches[size])
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for (name, threads), engine in engines.items():
                for size in BATCHES:
                    started = time.perf_counter()
                    engine.run(batches[size])
                    times[name, threads, size].append((time.perf_counter() - started) * 1e3)
    finally:
        for engine in engines.values():
            engine.close()
    return times


def accuracy(kind: Kind, truths: list[Truth]) -> tuple[float, int]:
    """Mean OKS on coco-mini, true boxes, and of how many people."""
    engine = open_engine(kind, 1)
    try:
        return measure(artifact_of(kind), "pose", truths, engine, repeats=1).metrics["OKS"]
    finally:
        engine.close()


def tell(report: Report, kinds: Sequence[Kind], times: Times, oks: dict[str, tuple[float, int]]) -> None:
    """Table, numbers and targets."""
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        for threads in THREADS:
            one, six = (times[kind.name, threads, size] for size in BATCHES)
            rows.append({
                "kind": kind.name, "threads": threads, "runs": len(one),
                "batch1_p50_ms": median(one), "batch1_p99_ms": percentile(one, 0.99), "batch1_best_ms": min(one),
                "batch6_p50_ms": median(six), "batch6_p99_ms": percentile(six, 0.99), "batch6_best_ms": min(six),
                "batch_cost": median(six) / (6 * median(one)), "batch_cost_best": min(six) / (6 * min(one)),
                "oks": oks[kind.name][0], "n": oks[kind.name][1],
            })  # fmt: skip
    report.data["rows"] = [{key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    report.table(
        f"{NETWORK}: milliseconds of the engine alone, p50 / p99 (best)",
        ("runtime", "threads", "1 person", "6 people", "6 / 6 x 1", "OKS on coco-mini"),
        [
            (row["kind"], str(row["threads"]), spell(row, 1), spell(row, 6), f"{row['batch_cost']:.2f}",
             f"{row['oks']:.3f} (n={row['n']})")
            for row in rows
        ],
    )  # fmt: skip
    if {"tflite int8", "tflite float32"} <= oks.keys():
        loss = oks["tflite float32"][0] - oks["tflite int8"][0]
        report.target("OKS that int8 loses against float32", loss, "<=", OKS_LOSS)
    for kind in kinds:
        if kind.batches:
            cost = min(row["batch_cost"] for row in rows if row["kind"] == kind.name)
            report.target(f"{kind.name}: 6 people, of six times one", cost, "<=", BATCH_GAIN)
    report.note("TFLite files, and OpenVINO's as delivered, hold a network for one person: six people are six runs.")


def spell(row: dict[str, Any], size: int) -> str:
    p50, p99, best = (row[f"batch{size}_{what}_ms"] for what in ("p50", "p99", "best"))
    return f"{p50:.1f} / {p99:.1f} ({best:.1f})"


if __name__ == "__main__":
    sys.exit(main())
