"""Skeletons, top-down: one crop per person, all people of a frame as one batch, decoded at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.artifact import Artifact, find_artifact
from common.config import PoseSettings
from common.geometry import Floats, Image
from common.runtimes import load
from common.runtimes.base import Engine, ModelError
from common.skeleton import NUM_KEYPOINTS
from services.pose.crops import pose_spec
from services.pose.decode import DECODERS
from services.pose.views import make_views


class PoseEstimator:
    """Finds keypoints with any artifact that has the task `pose`. One thread at a time."""

    def __init__(self, engine: Engine, artifact: Artifact) -> None:
        self._spec = pose_spec(artifact.manifest)
        if self._spec.decoder not in DECODERS:
            known = ", ".join(DECODERS)
            raise ModelError(f"artifact {artifact.name!r}: pose.decoder {self._spec.decoder!r} is not one of {known}")
        self.engine = engine
        self.artifact = artifact
        self._decode = DECODERS[self._spec.decoder]

    @property
    def input_size_px(self) -> tuple[int, int]:
        """(width, height) of one person's crop."""
        return self._spec.width_px, self._spec.height_px

    def estimate(self, image_bgr: Image, boxes: Floats, turns_deg: NDArray[np.integer] | None = None) -> Floats:
        """Keypoints of each person.

        image_bgr: (H, W, 3) uint8; boxes: (N, 4) xyxy, pixels of it; turns_deg: (N,) multiples of 90, counter-clockwise, by
        which to turn the picture for each person, None for no turns. Returns (N, 17, 3) float32: x, y in the same pixels
        and a score 0..1. A person that the network does not find again has score 0 at the centre of the box, 17 times.
        Raises ValueError for other shapes, ModelError when the network fails or gives what cannot be keypoints.
        """
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4) if len(boxes) == 0 else np.asarray(boxes, np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise ValueError(f"boxes are (N, 4) finite numbers, not {boxes.shape}")
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or not image_bgr.size:
            raise ValueError(f"a picture is (H, W, 3) uint8, not {image_bgr.shape} {image_bgr.dtype}")
        if len(boxes) == 0:
            return np.empty((0, NUM_KEYPOINTS, 3), np.float32)
        views = make_views(image_bgr, boxes, turns_deg, self.artifact.manifest)
        pixels = [view.crops.pixels for view in views]
        outputs = self.engine.run(np.concatenate(pixels) if len(pixels) > 1 else pixels[0])
        found = self._decode(outputs, self.input_size_px, np.concatenate([view.targets for view in views]))
        order = np.concatenate([view.rows for view in views])
        keypoints = np.empty_like(found)
        keypoints[order] = found
        if not np.isfinite(keypoints).all():
            raise ModelError(f"artifact {self.artifact.name!r} gave keypoints that are not finite; pull and verify it")
        for view in views:
            keypoints[view.rows, :, :2] = view.points_to_image(keypoints[view.rows, :, :2])
        np.clip(keypoints[:, :, 2], 0, 1, out=keypoints[:, :, 2])
        return keypoints

    def self_check(self) -> None:
        """Estimate two people in a made-up picture; raises ModelError unless the answer has the right form."""
        rows = np.linspace(0, 255, 240, dtype=np.uint8)[:, None, None]
        image = np.ascontiguousarray(np.broadcast_to(rows, (240, 320, 3)))
        image[40:200, 130:190] = (40, 160, 220)
        boxes = np.array([[120, 30, 200, 210], [0, 0, 60, 240]], np.float32)
        try:
            found = self.estimate(image, boxes)
        except ValueError as error:
            raise ModelError(f"artifact {self.artifact.name!r} failed its self-check: {error}") from error
        if found.shape != (2, NUM_KEYPOINTS, 3):
            raise ModelError(f"artifact {self.artifact.name!r} failed its self-check: keypoints {found.shape}")

    def close(self) -> None:
        self.engine.close()


def load_estimator(settings: PoseSettings, *, cache: Path | None = None) -> PoseEstimator:
    """The estimator that the settings ask for, warmed up; raises ModelError (ArtifactError, RuntimeUnavailable)."""
    artifact = find_artifact(settings.model)
    engine = load(
        artifact, task="pose", runtime=settings.runtime, device=settings.device, threads=settings.threads,
        precision=settings.precision, cache=cache,
    )
    try:
        return PoseEstimator(engine, artifact)
    except ModelError:
        engine.close()
        raise
