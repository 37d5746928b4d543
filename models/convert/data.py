"""What a conversion learns its ranges from, and what it is judged on: two sets of pictures that share none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common import geometry
from common.artifact import Artifact
from common.runtimes import default_size
from models.convert.samples import RENDERED, Find, Sample, load_samples
from models.convert.source import ConversionError
from services.pose.crops import crop_batch

# TensorFlow's guide to post-training quantisation asks for 100 to 500 samples; ranges of 128 people change little with more.
CALIBRATION_FRAMES = 128
MIN_CALIBRATION_FRAMES = 16  # fewer, and the ranges are those of a few pictures' light and clothes
CHECK_FRAMES = 48  # of the gate: with 17 keypoints each, the 95th percentile rests on 40 of them


@dataclass(frozen=True)
class Data:
    """calibration: empty where only float files are made; check: what the gate compares on; name: for reports."""

    name: str
    calibration: tuple[Sample, ...]
    check: tuple[Sample, ...]
    weak: str = ""  # why a verdict on these pictures carries less; empty: it does not


def load_data(
    where: str | Path, frames: int = CALIBRATION_FRAMES, *, check: int = CHECK_FRAMES, boxes: Path | None = None,
    find: Find | None = None,
) -> Data:  # fmt: skip
    """Pictures for calibration and for the gate, drawn at random but the same each time; see `load_samples`.

    frames 0: for the gate only. Raises ConversionError where there are too few pictures for both.
    """
    if frames and frames < MIN_CALIBRATION_FRAMES:
        raise ConversionError(f"--frames {frames} is too few to calibrate with; give at least {MIN_CALIBRATION_FRAMES}")
    samples = load_samples(where, frames + check, boxes=boxes, find=find)
    order = np.random.default_rng(1).permutation(len(samples))
    chosen = [samples[i] for i in sorted(order[:frames])], [samples[i] for i in sorted(order[frames:])]
    rendered = str(where) == RENDERED
    weak = "the rendered clip shows one made-up person in one room; judge with pictures of your site before you trust it"
    name = "posebus rendered room clip" if rendered else Path(where).expanduser().name
    return Data(name, tuple(chosen[0]), tuple(chosen[1]), weak if rendered else "")


def network_pictures(artifact: Artifact, samples: Sequence[Sample]) -> list[NDArray[np.uint8]]:
    """What the network gets to see of the samples at run time, (H, W, 3) uint8 in its colour order, one a sample.

    Pose networks see one person's crop; of several people in a picture, each sample takes the next one's turn.
    """
    manifest = artifact.manifest
    if "pose" in artifact.tasks:
        return [
            crop_batch(sample.image, sample.boxes[i % len(sample.boxes)][None], manifest).pixels[0]
            for i, sample in enumerate(samples)
        ]
    size = default_size(artifact, artifact.tasks[0])
    spec = manifest.detect or manifest.bottom_up
    fit = geometry.stretch if spec is not None and spec.fit == "stretch" else geometry.letterbox
    pictures = [fit(sample.image, size).pixels for sample in samples]
    if manifest.input.colour == "rgb":
        pictures = [np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8) for picture in pictures]
    return pictures
