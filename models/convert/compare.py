"""Run two artifacts, or two files of one, on the same pictures and judge whether they are the same network.

Everything is compared as the services run it: engine, manifest, crops, decoder. Needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.artifact import Artifact
from common.geometry import Floats, expand_to_aspect
from common.manifest import Precision, Task
from common.runtimes.base import Batch, Engine, Outputs
from common.skeleton import NUM_KEYPOINTS
from models.convert.agreement import (
    DECIDED_SCORE,
    DetectAgreement,
    Found,
    PoseAgreement,
    decided,
    detect_agreement,
    pose_agreement,
)
from models.convert.gate import SCORE_FIRM, SCORE_WEAK, Verdict, judge_detect, judge_pose
from models.convert.output_error import ErrorMeter
from models.convert.samples import Sample
from models.convert.source import ConversionError
from services.detector.detect import PersonDetector
from services.pose.crops import pose_spec
from services.pose.estimate import PoseEstimator

MAX_BOXES = 100  # of a picture, for the average precision
_SCORE_LOW = 0.05  # boxes below do not count for the average precision

Agreement = PoseAgreement | DetectAgreement


@dataclass(frozen=True)
class Comparison:
    """What was measured and what follows from it."""

    agreement: Agreement
    verdict: Verdict


class Recorder:
    """An engine that keeps the last outputs of another: estimators give keypoints only."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.device = engine.name, engine.device
        self.last: Outputs = {}
        self._engine = engine

    def run(self, batch: Batch) -> Outputs:
        self.last = self._engine.run(batch)
        return self.last

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: an engine and the artifact whose manifest says how to use it."""

    engine: Engine
    artifact: Artifact


Watch = Callable[[int, int], None]  # pictures done, pictures in all


def compare(
    reference: Side, candidate: Side, samples: Sequence[Sample], precision: Precision, *, task: Task | None = None,
    watch: Watch | None = None,
) -> Comparison:  # fmt: skip
    """Judge the candidate, a file of that precision, by the reference.

    task: default: the first that both have. Raises ConversionError where there is none, ModelError where a network fails.
    """
    both = [each for each in reference.artifact.tasks if each in candidate.artifact.tasks]
    task = task or next((each for each in both if each != "bottom_up"), None)
    if task is None or task not in both:
        raise ConversionError(
            f"artifact {reference.artifact.name!r} is for {', '.join(reference.artifact.tasks)}, "
            f"{candidate.artifact.name!r} for {', '.join(candidate.artifact.tasks)}; comparing needs detect or pose in both"
        )
    if task == "pose":
        pose = compare_pose(reference, candidate, samples, watch)
        return Comparison(pose, judge_pose(pose, precision))
    detect = compare_detect(reference, candidate, samples, watch)
    return Comparison(detect, judge_detect(detect, precision))


def compare_pose(
    reference: Side, candidate: Side, samples: Sequence[Sample], watch: Watch | None = None
) -> PoseAgreement:
    """Keypoints of every person of the samples by both, and the raw outputs that they come from."""
    recorders = Recorder(reference.engine), Recorder(candidate.engine)
    first = PoseEstimator(recorders[0], reference.artifact)
    second = PoseEstimator(recorders[1], candidate.artifact)
    meter = ErrorMeter()
    rows: list[tuple[Floats, Floats, NDArray[np.bool_], Floats, Floats]] = []
    for done, sample in enumerate(samples):
        found, other = first.estimate(sample.image, sample.boxes), second.estimate(sample.image, sample.boxes)
        meter.add(recorders[0].last, recorders[1].last)
        width, height = first.input_size_px
        shown = expand_to_aspect(sample.boxes, width / height, pose_spec(reference.artifact.manifest).padding)
        scale = np.asarray((shown[:, 2] - shown[:, 0]) / width, np.float32)
        rows.append((found, other, _counting(recorders[0].last, found), sample.boxes, scale))
        if watch is not None:
            watch(done + 1, len(samples))
    joined = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    return pose_agreement(joined[0], joined[1], joined[2], joined[3], joined[4], meter.result())


def _counting(outputs: Outputs, keypoints: Floats) -> NDArray[np.bool_]:
    """(N, 17) which keypoints count: by their heatmaps where the network has such, else by their scores alone."""
    for value in outputs.values():
        if value.ndim == 4 and np.issubdtype(value.dtype, np.floating) and min(value.shape[1:]) >= 3:
            if value.shape[1] == NUM_KEYPOINTS:
                return decided(np.asarray(value, np.float32))
            if value.shape[3] == NUM_KEYPOINTS:
                return decided(np.asarray(value.transpose(0, 3, 1, 2), np.float32))
    return np.asarray(keypoints[:, :, 2] >= DECIDED_SCORE)


def compare_detect(
    reference: Side, candidate: Side, samples: Sequence[Sample], watch: Watch | None = None
) -> DetectAgreement:
    """Boxes in every picture of the samples by both; the samples' own boxes do not matter."""
    recorders = Recorder(reference.engine), Recorder(candidate.engine)
    first = PersonDetector(recorders[0], reference.artifact, score_min=_SCORE_LOW, max_people=MAX_BOXES)
    second = PersonDetector(recorders[1], candidate.artifact, score_min=_SCORE_LOW, max_people=MAX_BOXES)
    meter = ErrorMeter()
    found: list[Found] = []
    other: list[Found] = []
    for done, sample in enumerate(samples):
        a, b = first.detect(sample.image), second.detect(sample.image)
        meter.add(recorders[0].last, recorders[1].last)
        found.append((a.boxes, a.scores))
        other.append((b.boxes, b.scores))
        if watch is not None:
            watch(done + 1, len(samples))
    return detect_agreement(found, other, firm=SCORE_FIRM, weak=SCORE_WEAK, error=meter.result())
