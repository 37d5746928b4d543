"""One case of `posebus models bench`, in a process of its own, so that memory and threads are its alone.

    python -m posebus.models_bench_case '{"artifact": "movenet-lightning", ...}' PIPE

PIPE: number of a file descriptor, the reading end of a pipe; the case ends when the other end closes. Prints one line of JSON:
the answer, or {"error": ...}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.artifact import Artifact, find_artifact
from common.manifest import ModelError, Task
from common.runtimes import default_size, load
from common.runtimes.base import Engine

ROUNDS = 3  # the best one counts: whatever else runs on the machine only ever adds
MIN_RUNS = 5
WARM_UP = 2


@dataclass(frozen=True)
class Case:
    """What to measure.

    precision: of the file; asked: what the runtime is asked for, as services do: OpenVINO computes a float32 file in bf16 where
    the processor can, unless float32 is asked for. batch 0: accuracy on coco-mini instead of latency, with the kit in `kit`.
    """

    artifact: str
    task: Task
    runtime: str
    precision: str
    device: str
    threads: int
    batch: int
    seconds: float
    kit: str = ""
    asked: str = "auto"


def measure_latency(case: Case) -> dict[str, Any]:
    """Times of the engine alone for one batch, in milliseconds, and what the process grew by."""
    artifact = find_artifact(case.artifact)
    before = resident_mib()
    engine = _load(artifact, case)
    try:
        pixels = pictures(artifact, case.task, case.batch)
        runs = best_round(lambda: engine.run(pixels), case.seconds)
        grown = resident_mib() - before
    finally:
        engine.close()
    p50, p99 = np.percentile(runs, [50, 99], method="inverted_cdf")  # nearest rank: a time that was really taken
    return {
        "p50_ms": float(p50), "p99_ms": float(p99), "runs": len(runs), "memory_mib": round(max(grown, 0.0), 1),
        "engine_device": engine.device,
    }  # fmt: skip


def best_round(work: Callable[[], Any], seconds: float, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Milliseconds of each run of the round with the lowest median, of three that share the seconds."""
    for _ in range(WARM_UP):
        work()
    rounds: list[list[float]] = []
    for _ in range(ROUNDS):
        until = clock() + seconds / ROUNDS
        taken: list[float] = []
        while len(taken) < MIN_RUNS or clock() < until:
            started = clock()
            work()
            taken.append((clock() - started) * 1e3)
        rounds.append(taken)
    return min(rounds, key=lambda taken: float(np.median(taken)))


def pictures(artifact: Artifact, task: Task, batch: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(batch, H, W, 3) uint8: soft light with a few bright and dark patches, not noise, which no camera gives."""
    width, height = default_size(artifact, task)
    random = np.random.default_rng(0)
    rows = np.linspace(40, 200, height)[:, None, None] + np.linspace(-30, 30, width)[None, :, None]
    images = np.broadcast_to(rows, (batch, height, width, 3)).copy()
    for image in images:
        for _ in range(6):
            top, left = random.integers(0, height // 2), random.integers(0, width // 2)
            image[top : top + height // 3, left : left + width // 5] += random.uniform(-90, 90, 3)
    return np.ascontiguousarray(np.clip(images, 0, 255), np.uint8)


def measure_accuracy(case: Case) -> dict[str, Any]:
    """AP50 of boxes or mean OKS of skeletons on coco-mini of the kit."""
    from models.zoo.measure import coco_mini, measure

    artifact = find_artifact(case.artifact)
    engine = _load(artifact, case)
    try:
        scores = measure(artifact, case.task, list(coco_mini(Path(case.kit))), engine, repeats=1)
    finally:
        engine.close()
    return {"metrics": {metric: [round(value, 4), n] for metric, (value, n) in scores.metrics.items()}}


def resident_mib() -> float:
    """Memory of this process that lies in RAM now; where the system does not tell, the most it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _load(artifact: Artifact, case: Case) -> Engine:
    return load(
        artifact, task=case.task, runtime=case.runtime, device=case.device, threads=case.threads, precision=case.asked
    )


def end_with(pipe: int) -> None:
    """End this process when the other end of the pipe closes: whoever asked for the case is gone."""

    def wait() -> None:
        os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=wait, name="pipe", daemon=True).start()


def main() -> None:
    end_with(int(sys.argv[2]))
    case = Case(**json.loads(sys.argv[1]))
    try:
        answer = measure_latency(case) if case.batch else measure_accuracy(case)
    except (ModelError, SystemExit) as error:
        answer = {"error": str(error)}
    # Runtimes print to stdout too: the answer is the last line, and says that it is one.
    print("\n" + json.dumps({"case": asdict(case), **answer}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
