"""Skeletons, bottom-up: all people of a picture in one step of the network, without a detector before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import geometry
from common.artifact import Artifact, find_artifact
from common.config import PoseSettings
from common.fitting import fit_picture
from common.geometry import Fitted, Floats, Image
from common.manifest import BottomUpSpec
from common.runtimes import default_size, load
from common.runtimes.base import Engine, ModelError, Outputs
from common.skeleton import NUM_KEYPOINTS
from services.pose.cifcaf import cifcaf

# Boxes (N, 4), scores (N,) and keypoints (N, 17, 3) of all people that may be there, in pixels of the network's input.
Skeletons = tuple[Floats, Floats, Floats]
Decoder = Callable[[Outputs, tuple[int, int]], Skeletons]
NMS_IOU = 0.65  # of MoveNet's rows, as where it only detects: two of them may be one person


def movenet_multipose(outputs: Outputs, size_px: tuple[int, int]) -> Skeletons:
    """MoveNet MultiPose: (1, K, 56) = 17 x (y, x, score), then ymin, xmin, ymax, xmax (all 0..1) and the person's score.

    Boxes are the network's own. Rows that cover a better one are left out; a box that is not finite covers nothing.
    """
    arrays = list(outputs.values())
    if len(arrays) != 1 or arrays[0].ndim != 3 or arrays[0].shape[0] != 1 or arrays[0].shape[2] != 56:
        got = ", ".join(f"{name} {array.shape}" for name, array in outputs.items()) or "none"
        raise ModelError(f"decoder 'movenet_multipose' expects one output (1, K, 56), the network gave {got}")
    rows = np.asarray(arrays[0][0], np.float32)
    size = np.array(size_px, np.float32)
    boxes = rows[:, [52, 51, 54, 53]] * np.tile(size, 2)
    keypoints = rows[:, :51].reshape(-1, 17, 3)[:, :, [1, 0, 2]]  # indexing copies: the output stays as it is
    keypoints[:, :, :2] *= size
    if len(rows) > 0:
        finite = np.isfinite(boxes).all(axis=1, keepdims=True)
        kept = geometry.nms(np.where(finite, boxes, np.float32(0)), rows[:, 55], NMS_IOU)
        boxes, keypoints, rows = boxes[kept], keypoints[kept], rows[kept]
    return boxes, rows[:, 55], keypoints


DECODERS: dict[str, Decoder] = {
    "movenet_multipose": movenet_multipose,
    "cifcaf": cifcaf,
}


class BottomUpEstimator:
    """Finds all skeletons of a picture with any artifact that has the task `bottom_up`. One thread at a time.

    score_min: people below are left out.
    """

    def __init__(self, engine: Engine, artifact: Artifact, *, score_min: float = 0.25) -> None:
        self._spec = bottom_up_spec(artifact)
        if self._spec.decoder not in DECODERS:
            known = ", ".join(DECODERS)
            raise ModelError(f"artifact {artifact.name!r}: bottom_up.decoder {self._spec.decoder!r} is not one of {known}")
        self.engine = engine
        self.artifact = artifact
        self.score_min = score_min
        self._input = artifact.manifest.input
        self._decode = DECODERS[self._spec.decoder]

    @property
    def input_size_px(self) -> tuple[int, int]:
        """(width, height) that a picture is fitted into: more pixels than that bring nothing."""
        return default_size(self.artifact, "bottom_up")

    def estimate_frame(self, image_bgr: Image) -> Skeletons:
        """Find everybody.

        image_bgr: (H, W, 3) uint8 of any size. Returns boxes (N, 4) float32 xyxy inside the picture, scores (N,) float32 0..1,
        best first, and keypoints (N, 17, 3) float32: x, y and a score 0..1, all in pixels of the given picture. A keypoint
        that was not found has score 0. Raises ValueError for another picture, ModelError when the network fails or gives
        what cannot be skeletons.
        """
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or not image_bgr.size:
            raise ValueError(f"a picture is (H, W, 3) uint8, not {image_bgr.shape} {image_bgr.dtype}")
        fitted = fit_picture(
            image_bgr, self._input, self._spec.fit, self._spec.long_side_px, self.input_size_px
        )
        outputs = self.engine.run(fitted.pixels[None])
        height, width = fitted.pixels.shape[:2]
        boxes, scores, keypoints = self._decode(outputs, (width, height))
        return self._select(fitted, boxes, scores, keypoints, image_bgr.shape)

    def self_check(self) -> None:
        """Estimate in a made-up picture; raises ModelError unless the answer has the right form."""
        rows = np.linspace(0, 255, 240, dtype=np.uint8)[:, None, None]
        image = np.ascontiguousarray(np.broadcast_to(rows, (240, 320, 3)))
        image[60:200, 130:190] = (40, 160, 220)
        try:
            boxes, scores, keypoints = self.estimate_frame(image)
        except ValueError as error:
            raise ModelError(f"artifact {self.artifact.name!r} failed its self-check: {error}") from error
        count = len(scores)
        if boxes.shape != (count, 4) or keypoints.shape != (count, NUM_KEYPOINTS, 3):
            shapes = f"boxes {boxes.shape}, keypoints {keypoints.shape} of {count} people"
            raise ModelError(f"artifact {self.artifact.name!r} failed its self-check: {shapes}")

    def close(self) -> None:
        self.engine.close()

    def _select(
        self, fitted: Fitted, boxes: Floats, scores: Floats, keypoints: Floats, shape: tuple[int, ...]
    ) -> Skeletons:
        bad = ModelError(f"artifact {self.artifact.name!r} gave skeletons that are not finite; pull and verify it again")
        if not np.isfinite(scores).all():
            raise bad
        scores = np.clip(scores * np.float32(self._spec.score_scale), 0, 1)
        likely = np.flatnonzero(scores >= self.score_min)
        boxes, scores, keypoints = boxes[likely], scores[likely], keypoints[likely]  # what it says of nobody may be anything
        if not (np.isfinite(boxes).all() and np.isfinite(keypoints).all()):
            raise bad
        boxes = geometry.clip_boxes(fitted.boxes_to_image(boxes), shape[1], shape[0])
        good = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 1)
        good = good[np.argsort(-scores[good], kind="stable")]
        points = keypoints[good].astype(np.float32)
        points[:, :, :2] = (points[:, :, :2] - np.array(fitted.offset, np.float32)) / np.array(fitted.scale, np.float32)
        np.clip(points[:, :, 2], 0, 1, out=points[:, :, 2])
        return boxes[good], scores[good], points


def bottom_up_spec(artifact: Artifact) -> BottomUpSpec:
    """The manifest's table [bottom_up]; raises ModelError, naming the fix, for an artifact that is not for it."""
    spec = artifact.manifest.bottom_up
    if spec is None or "bottom_up" not in artifact.tasks:
        raise ModelError(
            f"artifact {artifact.name!r} is for: {', '.join(artifact.tasks)}; pose.approach 'bottom_up' needs an artifact with "
            "the task bottom_up, such as movenet-multipose, or set approach: top_down"
        )
    return spec


def load_bottom_up(settings: PoseSettings, *, cache: Path | None = None) -> BottomUpEstimator:
    """The estimator that the settings ask for, warmed up; raises ModelError (ArtifactError, RuntimeUnavailable)."""
    artifact = find_artifact(settings.model)
    bottom_up_spec(artifact)
    engine = load(
        artifact, task="bottom_up", runtime=settings.runtime, device=settings.device, threads=settings.threads,
        precision=settings.precision, cache=cache,
    )
    try:
        return BottomUpEstimator(engine, artifact, score_min=settings.score_min)
    except ModelError:
        engine.close()
        raise
