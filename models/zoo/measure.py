"""Measure an artifact on coco-mini (kit): AP50 of its boxes, mean OKS of its keypoints given the true boxes, and the time.

    python -m models.zoo.measure movenet-multipose --threads 1 2 [--long-side 320] [--crop 256 256] [--padding 1.25]

Prints one table row per task; the numbers go into the manifest's [[measured]] tables. 75 pictures are few: differences of
a few points between artifacts are noise.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common import geometry
from common.artifact import Artifact, find_artifact
from common.geometry import Floats, Image
from common.manifest import ModelError, Task
from common.runtimes import load
from common.runtimes.base import Engine
from common.skeleton import oks
from services.detector.detect import PersonDetector
from services.pose.estimate import PoseEstimator

LARGE_PX = 96.0**2  # COCO's bound of large people


@dataclass(frozen=True)
class Truth:
    """The people of one picture. Crowds count neither for nor against a box."""

    path: Path
    boxes: Floats  # (N, 4)
    areas: Floats  # (N,) of the silhouettes
    crowd: NDArray[np.bool_]
    keypoints: Floats  # (N, 17, 3), the last is COCO's visibility flag

    def image(self) -> Image:
        image = cv2.imread(str(self.path))
        if image is None:
            raise SystemExit(f"{self.path} cannot be read; fetch the kit again")
        return np.asarray(image, np.uint8)


def coco_mini(kit: Path) -> Iterator[Truth]:
    """Every picture with people of both splits."""
    root = kit / "data" / "coco-mini"
    for split in ("val2017", "train2017"):
        data: dict[str, Any] = json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())
        for image in data["images"]:
            people = [a for a in data["annotations"] if a["image_id"] == image["id"] and a["category_id"] == 1]
            if not people:
                continue
            boxes = np.array([a["bbox"] for a in people], np.float32)
            boxes[:, 2:] += boxes[:, :2]
            yield Truth(
                path=root / split / image["file_name"],
                boxes=boxes,
                areas=np.array([a["area"] for a in people], np.float32),
                crowd=np.array([bool(a["iscrowd"]) for a in people]),
                keypoints=np.array([a["keypoints"] for a in people], np.float32).reshape(-1, 17, 3),
            )


def average_precision(found: list[tuple[Floats, Floats]], truths: list[Truth], min_area: float = 0.0) -> tuple[float, int]:
    """AP at IoU 0.5 as COCO computes it (101 recall points), and the number of people that count."""
    hits: list[tuple[float, bool]] = []
    total = 0
    for (boxes, scores), truth in zip(found, truths, strict=True):
        ignored = truth.crowd | (truth.areas < min_area)
        total += int((~ignored).sum())
        iou = geometry.iou_matrix(boxes, truth.boxes)
        taken = np.zeros(len(truth.boxes), np.bool_)
        for i in np.argsort(-scores, kind="stable"):
            candidates = np.where(taken | ignored, 0, iou[i])
            best = int(candidates.argmax())
            if candidates[best] >= 0.5:
                taken[best] = True
                hits.append((float(scores[i]), True))
            elif not (np.where(ignored, iou[i], 0) >= 0.5).any() and geometry.area(boxes[i]) >= min_area:
                hits.append((float(scores[i]), False))
    hits.sort(key=lambda hit: -hit[0])
    right = np.cumsum([hit[1] for hit in hits]) if hits else np.zeros(0)
    precision = right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    index = np.searchsorted(right / max(total, 1), np.linspace(0, 1, 101))
    return float(np.where(index < len(hits), np.append(precision, 0)[np.minimum(index, len(hits))], 0).mean()), total


def mean_oks(keypoints: list[Floats], truths: list[Truth], min_area: float = 0.0) -> tuple[float, int]:
    """Mean OKS over all people with labelled keypoints. COCO labels a pixel; its centre is half a pixel further."""
    values = [
        oks(person[:, :2], truth.keypoints[i, :, :2] + 0.5, truth.keypoints[i, :, 2] > 0, float(truth.areas[i]))
        for people, truth in zip(keypoints, truths, strict=True)
        for i, person in enumerate(people)
        if truth.keypoints[i, :, 2].any() and not truth.crowd[i] and truth.areas[i] >= min_area
    ]
    return float(np.mean(values)), len(values)


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[Any, tuple[float, float]]:
    """The result, and the best wall and CPU time in milliseconds: other load on the machine only ever adds."""
    result, times = None, []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        times.append(((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3))
    best = np.min(times, axis=0)
    return result, (float(best[0]), float(best[1]))


@dataclass(frozen=True)
class Scores:
    """What an artifact reaches on coco-mini. metrics: name -> (value, number of people that count); times: medians."""

    task: Task
    runtime: str
    metrics: dict[str, tuple[float, int]]
    wall_ms: float
    cpu_ms: float

    def __str__(self) -> str:
        values = "  ".join(f"{metric} {value:.3f} (n={n})" for metric, (value, n) in self.metrics.items())
        each = "a frame" if self.task == "detect" else "a person"
        return f"{self.task:6} {values}  {self.wall_ms:.1f} ms ({self.cpu_ms:.1f} ms CPU) {each}  runtime={self.runtime}"


def measure(artifact: Artifact, task: Task, truths: list[Truth], engine: Engine, *, repeats: int = 3) -> Scores:
    """Accuracy of an artifact on a loaded engine, and the time of all that a stage does for a frame or a person.

    Each picture is timed `repeats` times and the best counts. Raises ModelError for a task that is not measured.
    """
    if task == "detect":
        return _measure_detect(PersonDetector(engine, artifact, score_min=0.01, max_people=100), truths, repeats)
    if task == "pose":
        return _measure_pose(PoseEstimator(engine, artifact), truths, repeats)
    raise ModelError(f"artifact {artifact.name!r}: the accuracy of the task {task!r} is not measured; detect and pose are")


def _measure_detect(detector: PersonDetector, truths: list[Truth], repeats: int) -> Scores:
    found, times = [], []
    for truth in truths:
        image = truth.image()
        result, took = timed(lambda image=image: detector.detect(image), repeats)  # type: ignore[misc]
        found.append((result.boxes, result.scores))
        times.append(took)
    metrics = {"AP50": average_precision(found, truths), "AP50-large": average_precision(found, truths, LARGE_PX)}
    return Scores("detect", detector.engine.name, metrics, *_medians(times))


def _measure_pose(estimator: PoseEstimator, truths: list[Truth], repeats: int) -> Scores:
    found, times = [], []
    for truth in truths:
        image = truth.image()
        keypoints, took = timed(lambda image=image, truth=truth: estimator.estimate(image, truth.boxes), repeats)  # type: ignore[misc]
        found.append(keypoints)
        times.append(np.array(took) / len(keypoints))
    metrics = {"OKS": mean_oks(found, truths), "OKS-large": mean_oks(found, truths, LARGE_PX)}
    return Scores("pose", estimator.engine.name, metrics, *_medians(times))


def _medians(times: list[Any]) -> tuple[float, float]:
    wall, cpu = np.median(times, axis=0)
    return float(wall), float(cpu)


def changed(artifact: Artifact, args: argparse.Namespace) -> Artifact:
    """The artifact with other input sizes, to choose those of the manifest."""
    manifest = artifact.manifest
    detect, pose = manifest.detect, manifest.pose
    if detect is not None and args.long_side:
        detect = detect.model_copy(update={"long_side_px": args.long_side})
    if pose is not None and args.crop:
        pose = pose.model_copy(update={"width_px": args.crop[0], "height_px": args.crop[1]})
    if pose is not None and args.padding:
        pose = pose.model_copy(update={"padding": args.padding})
    return replace(artifact, manifest=manifest.model_copy(update={"detect": detect, "pose": pose}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact")
    parser.add_argument("--kit", type=Path, default=Path(os.environ.get("POSEBUS_KIT", "../shared/kit")))
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--tasks", nargs="+", choices=("detect", "pose"))
    parser.add_argument("--long-side", type=int)
    parser.add_argument("--crop", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--padding", type=float)
    args = parser.parse_args()
    if not (args.kit / "data" / "coco-mini").is_dir():
        raise SystemExit(f"{args.kit} has no data/coco-mini; give the kit's folder with --kit")
    artifact = changed(find_artifact(args.artifact), args)
    truths = list(coco_mini(args.kit))
    for threads in args.threads:
        for task in args.tasks or artifact.tasks:
            if task == "bottom_up":
                continue
            engine = load(artifact, task=task, runtime=args.runtime, precision=args.precision, threads=threads)
            print(f"{measure(artifact, task, truths, engine)} threads={threads}")
            engine.close()


if __name__ == "__main__":
    main()
