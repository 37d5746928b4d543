"""People in a picture: fit the picture to the network, infer, decode, suppress doubles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import geometry
from common.artifact import Artifact, find_artifact
from common.config import DetectorSettings
from common.fitting import fit_picture
from common.geometry import Fitted, Floats, Image
from common.runtimes import default_size, load
from common.runtimes.base import Engine, ModelError
from services.detector.decode import DECODERS

# Boxes compared with each other at most, the best: comparing takes time and memory by the square of their number, and a broken
# network finds people in all of its 8,400 cells. As `nms_pre` in MMDetection's configurations of RetinaNet and FCOS.
CANDIDATES_MAX = 1000


@dataclass(frozen=True)
class Detections:
    """boxes: (N, 4) float32 xyxy, pixels of the given picture, inside it; scores: (N,) float32 0..1, best first."""

    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)


class PersonDetector:
    """Finds people with any artifact that has the task `detect`. One thread at a time."""

    def __init__(self, engine: Engine, artifact: Artifact, *, score_min: float, max_people: int) -> None:
        spec = artifact.manifest.detect
        if spec is None:
            raise ModelError(f"artifact {artifact.name!r} does not detect; it is for: {', '.join(artifact.tasks)}")
        if spec.decoder not in DECODERS:
            known = ", ".join(DECODERS)
            raise ModelError(f"artifact {artifact.name!r}: detect.decoder {spec.decoder!r} is not one of {known}")
        self.engine = engine
        self.artifact = artifact
        self.score_min = score_min
        self.max_people = max_people
        self._spec = spec
        self._input = artifact.manifest.input
        self._decode = DECODERS[spec.decoder]

    @property
    def input_size_px(self) -> tuple[int, int]:
        """(width, height) that a picture is fitted into: more pixels than that bring nothing."""
        return default_size(self.artifact, "detect")

    def detect(self, image_bgr: Image) -> Detections:
        """Find people.

        image_bgr: (H, W, 3) uint8 of any size. Raises ValueError for another picture, ModelError when the network fails or
        gives what cannot be boxes.
        """
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or not image_bgr.size:
            raise ValueError(f"a picture is (H, W, 3) uint8, not {image_bgr.shape} {image_bgr.dtype}")
        fitted = fit_picture(
            image_bgr, self._input, self._spec.fit, self._spec.long_side_px, self.input_size_px
        )
        outputs = self.engine.run(fitted.pixels[None])
        height, width = fitted.pixels.shape[:2]
        boxes, scores = self._decode(outputs, (width, height))
        return self._select(fitted, boxes, scores, image_bgr.shape)

    def self_check(self) -> None:
        """Detect in a made-up picture; raises ModelError unless the answer has the right form."""
        rows = np.linspace(0, 255, 240, dtype=np.uint8)[:, None, None]
        image = np.ascontiguousarray(np.broadcast_to(rows, (240, 320, 3)))
        image[60:200, 130:190] = (40, 160, 220)
        try:
            found = self.detect(image)
        except ValueError as error:
            raise ModelError(f"artifact {self.artifact.name!r} failed its self-check: {error}") from error
        if found.boxes.shape != (len(found), 4) or (found.scores < 0).any() or (found.scores > 1).any():
            raise ModelError(f"artifact {self.artifact.name!r} failed its self-check: scores are not within 0..1")

    def close(self) -> None:
        self.engine.close()

    def _select(self, fitted: Fitted, boxes: Floats, scores: Floats, shape: tuple[int, ...]) -> Detections:
        if not np.isfinite(scores).all():
            raise self._not_finite("scores")
        scores = np.minimum(scores * np.float32(self._spec.score_scale), 1.0)
        likely = np.flatnonzero(scores >= self.score_min)
        boxes, scores = boxes[likely], scores[likely]  # what a network says of nobody may be anything
        if not np.isfinite(boxes).all():
            raise self._not_finite("boxes")
        boxes = geometry.clip_boxes(fitted.boxes_to_image(boxes), shape[1], shape[0])
        good = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 1)
        good = good[geometry.best_of(scores[good], CANDIDATES_MAX)]
        if len(good) > 0:
            good = good[geometry.nms(boxes[good], scores[good], self._spec.nms_iou)][: self.max_people]
        return Detections(boxes[good], scores[good])

    def _not_finite(self, what: str) -> ModelError:
        return ModelError(f"artifact {self.artifact.name!r} gave {what} that are not finite; pull and verify it again")


def load_detector(settings: DetectorSettings, *, cache: Path | None = None) -> PersonDetector:
    """The detector that the settings ask for, warmed up; raises ModelError (ArtifactError, RuntimeUnavailable)."""
    artifact = find_artifact(settings.model)
    engine = load(
        artifact, task="detect", runtime=settings.runtime, device=settings.device, threads=settings.threads,
        precision=settings.precision, cache=cache,
    )
    try:
        return PersonDetector(engine, artifact, score_min=settings.score_min, max_people=settings.max_people)
    except ModelError:
        engine.close()
        raise
