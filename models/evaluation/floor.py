"""Are people found who lie on the floor after a fall? Clips of the kit, boxes and times read by eye.

Truth: `benchmarks/_lying_clips.py`, one box a clip for all its frames after the impact, to within 10 px; nobody drew a box for
each frame. Found: a box at the detector service's own threshold with an IoU of at least .5, without its turned second look.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.geometry import Floats, iou_matrix
from models.evaluation.bootstrap import bootstrap
from models.evaluation.coco import DataError
from models.evaluation.oks import Values
from models.evaluation.scores import known
from services.detector.detect import PersonDetector

FPS = 5.0
OVERLAP = 0.5
LOOSE = 0.3  # as benchmarks.lying asks, for comparison with what it says
TRUTH = "one hand-read box a clip, benchmarks/_lying_clips.py"


@dataclass(frozen=True)
class Floor:
    """Frames found and frames in all, (clips, 2): of who lies, at both overlaps, and of the same people before they fell."""

    lying: Values
    lying_loose: Values
    upright: Values

    def as_json(self, seed: int = 0) -> dict[str, Any]:
        """Recall with its 95 % interval by drawing clips: frames of one clip are not independent."""
        return {
            "lying_recall": known(share(self.lying)), "lying_recall_95": [known(x) for x in bootstrap(self.lying, share, seed)],
            "lying_recall_iou30": known(share(self.lying_loose)), "upright_recall": known(share(self.upright)),
            "n_lying": int(self.lying[:, 1].sum()), "n_clips": len(self.lying), "lying_truth": TRUTH,
        }  # fmt: skip


def share(counts: Values) -> float:
    """Found of all, of counts (N, 2); NaN of nothing."""
    found, total = counts.sum(axis=0)
    return float(found / total) if total else float("nan")


def recall_on_floor(detector: PersonDetector, data: Path) -> Floor:
    """Show all falls to a detector. data: the kit's folder `data`. Raises DataError where clips or their truth are missing."""
    try:
        from benchmarks._lying_clips import FALLS, frames
    except ImportError as error:
        raise DataError("benchmarks/, with the boxes of the fall clips, is missing: run this in a checkout") from error
    counts = np.zeros((3, len(FALLS), 2))
    for number, (name, fall) in enumerate(FALLS.items()):
        if not (data / name).is_file():
            raise DataError(f"{data / name} is missing; fetch the kit again")
        lying, upright = np.array([fall.lying], np.float32), np.array([fall.upright], np.float32)
        for at_s, image in frames(data / name, FPS, 1.0):
            if at_s >= fall.impact_s:
                best = _best(lying, detector.detect(image).boxes)
                counts[0, number] += best >= OVERLAP, 1
                counts[1, number] += best >= LOOSE, 1
            elif at_s < fall.onset_s:
                counts[2, number] += _best(upright, detector.detect(image).boxes) >= OVERLAP, 1
    return Floor(counts[0], counts[1], counts[2])


def _best(place: Floats, boxes: Floats) -> float:
    return float(iou_matrix(place, boxes).max(initial=0.0))
