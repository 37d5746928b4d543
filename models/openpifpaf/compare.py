"""Bottom-up against detector and pose, on coco-mini (kit): who is found, how well, and the time of a frame by its people.

    python -m models.openpifpaf.compare [--bottom-up movenet-multipose] [--long-side 256 384] [--detector NAME] [--pose NAME]

Both ways start from the JPEG, as the services do, at their thresholds. A person is found where a box covers the true one by
half or more; OKS counts those that both of two compared ways found, and everybody, where not to be found counts 0. Times are
CPU milliseconds of one thread, the best of several runs: other load on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import geometry
from common.artifact import find_artifact
from common.config import DetectorSettings, PoseSettings
from common.geometry import Floats
from common.imaging import decode_jpeg
from common.runtimes import load
from common.skeleton import oks
from models.zoo.measure import LARGE_PX, Truth, coco_mini, timed
from services.detector.detect import PersonDetector, load_detector
from services.pose.bottom_up import BottomUpEstimator
from services.pose.estimate import PoseEstimator, load_estimator

PEOPLE = (1, 3, 6)
Found = tuple[Floats, Floats]  # boxes (N, 4), keypoints (N, 17, 3), pixels of the picture as stored
Way = Callable[[bytes, Floats | None], Found]


def two_stages(detector: PersonDetector, poses: PoseEstimator) -> Way:
    """As the two services do: decode small, detect, decode, crop; `boxes` replaces what the detector found, for timing."""

    def find(jpeg: bytes, boxes: Floats | None) -> Found:
        small = decode_jpeg(jpeg, at_least=detector.input_size_px)
        found = detector.detect(small).boxes
        image = decode_jpeg(jpeg)
        if boxes is None:
            boxes = np.asarray(found * (image.shape[1] / small.shape[1]), np.float32)
        return boxes, poses.estimate(image, boxes)

    return find


def one_stage(estimator: BottomUpEstimator) -> Way:
    """As the pose service does, bottom-up."""

    def find(jpeg: bytes, _boxes: Floats | None) -> Found:
        image = decode_jpeg(jpeg, at_least=estimator.input_size_px)
        boxes, _, keypoints = estimator.estimate_frame(image)
        full = np.float32(2 ** round(np.log2(max(1.0, _longer(jpeg) / max(image.shape[:2])))))
        keypoints[:, :, :2] *= full
        return boxes * full, keypoints

    return find


def _longer(jpeg: bytes) -> int:
    from common.imaging import jpeg_size

    return max(jpeg_size(jpeg))


@dataclass(frozen=True)
class Score:
    """Of the labelled people, in the order of the truths: found or not, OKS (0 where not found), large or not; doubles: boxes
    that are nobody's."""

    found: NDArray[np.bool_]
    oks: Floats
    large: NDArray[np.bool_]
    nobody: int


def score(way: Way, truths: list[Truth]) -> Score:
    found, values, large, nobody = [], [], [], 0
    for truth in truths:
        boxes, keypoints = way(truth.path.read_bytes(), None)
        iou = geometry.iou_matrix(boxes, truth.boxes)  # (N, M)
        nobody += int((iou.max(axis=1, initial=0) < 0.5).sum())
        match = _matches(iou)
        for i in range(len(truth.boxes)):
            if truth.crowd[i] or not truth.keypoints[i, :, 2].any():
                continue
            points, seen = truth.keypoints[i, :, :2] + 0.5, truth.keypoints[i, :, 2] > 0
            found.append(i in match)
            values.append(oks(keypoints[match[i], :, :2], points, seen, float(truth.areas[i])) if i in match else 0.0)
            large.append(truth.areas[i] >= LARGE_PX)
    return Score(np.array(found), np.array(values, np.float32), np.array(large), nobody)


def _matches(iou: Floats) -> dict[int, int]:
    """True person -> row, pairs of IoU 0.5 or more, the best first."""
    match: dict[int, int] = {}
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        row, person = divmod(int(flat), iou.shape[1])
        if iou[row, person] < 0.5:
            break
        if person not in match and row not in match.values():
            match[person] = row
    return match


def report(name: str, one: Score, base: Score) -> None:
    both = one.found & base.found
    parts = []
    for what, chosen in (("all", np.ones_like(both)), ("large", one.large)):
        line = f"{what} n={chosen.sum()}: found {one.found[chosen].mean():.0%}, OKS of everybody {one.oks[chosen].mean():.3f}"
        if one is not base:
            ours, theirs = one.oks[both & chosen].mean(), base.oks[both & chosen].mean()
            line += f", of the {int((both & chosen).sum())} that both found {ours:.3f} (two stages: {theirs:.3f})"
        parts.append(line)
    print(f"{name}\n  " + "\n  ".join(parts) + f"\n  boxes that are nobody's: {one.nobody}")


def times(ways: dict[str, Way], truths: list[Truth], repeats: int) -> None:
    """CPU milliseconds of one frame with 1, 3 and 6 people: true boxes take the detector's place after it ran."""
    crowded = [truth for truth in truths if (~truth.crowd).sum() >= max(PEOPLE)][:6]
    print(f"CPU ms a frame, JPEG to skeletons, median of {len(crowded)} pictures, best of {repeats} runs each")
    for name, way in ways.items():
        cells = []
        for people in PEOPLE:
            taken = []
            for truth in crowded:
                jpeg, boxes = truth.path.read_bytes(), truth.boxes[~truth.crowd][:people]
                _, (_, cpu) = timed(lambda jpeg=jpeg, boxes=boxes, way=way: way(jpeg, boxes), repeats)  # type: ignore[misc]
                taken.append(cpu)
            cells.append(f"{people}: {np.median(taken):.1f}")
        print(f"  {name:32} " + "   ".join(cells))


def load_one_stage(name: str, long_side_px: int) -> BottomUpEstimator:
    artifact = find_artifact(name)
    if artifact.manifest.bottom_up is None:
        raise SystemExit(f"{name} has no task bottom_up; it is for {', '.join(artifact.tasks)}")
    spec = artifact.manifest.bottom_up.model_copy(update={"long_side_px": long_side_px})
    artifact = replace(artifact, manifest=artifact.manifest.model_copy(update={"bottom_up": spec}))
    return BottomUpEstimator(load(artifact, task="bottom_up"), artifact)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bottom-up", default="movenet-multipose")
    parser.add_argument("--detector", default="movenet-multipose")
    parser.add_argument("--pose", default="movenet-multipose")
    parser.add_argument("--long-side", type=int, nargs="+", default=[256, 320, 384, 512])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kit", type=Path, default=Path(os.environ.get("POSEBUS_KIT", "../shared/kit")))
    args = parser.parse_args()
    if not (args.kit / "data" / "coco-mini").is_dir():
        raise SystemExit(f"{args.kit} has no data/coco-mini; give the kit's folder with --kit")
    truths = list(coco_mini(args.kit))
    detector, poses = load_detector(DetectorSettings(model=args.detector)), load_estimator(PoseSettings(model=args.pose))
    pair = f"{args.detector} + {args.pose}"
    ways = {pair: two_stages(detector, poses)}
    ways |= {f"{args.bottom_up} {side} px": one_stage(load_one_stage(args.bottom_up, side)) for side in args.long_side}
    base = score(ways[pair], truths)
    for name, way in ways.items():
        report(name, score(way, truths) if name != pair else base, base)
    times(ways, truths, args.repeats)


if __name__ == "__main__":
    main()
