"""From a picture and boxes to the batch of crops that a pose network takes."""

from __future__ import annotations

import cv2

from common.geometry import Crops, Floats, Image, crop_people
from common.manifest import Manifest, ModelError, PoseSpec


def pose_spec(manifest: Manifest) -> PoseSpec:
    """The manifest's table [pose]; raises ModelError where it has none."""
    if manifest.pose is None:
        raise ModelError(f"artifact {manifest.name!r} finds no poses; it is for: {', '.join(manifest.tasks)}")
    return manifest.pose


def crop_batch(image_bgr: Image, boxes: Floats, manifest: Manifest) -> Crops:
    """One crop per box (N, 4), sized and coloured as the manifest says, all in one batch."""
    spec = pose_spec(manifest)
    crops = crop_people(image_bgr, boxes, (spec.width_px, spec.height_px), padding=spec.padding)
    if manifest.input.colour == "rgb":
        _swap_red_blue(crops.pixels)
    return crops


def _swap_red_blue(batch: Image) -> None:
    """In place, the whole batch as one tall picture: cheaper than swapping the large frame that crops are cut from."""
    count, height, width, _ = batch.shape
    tall = batch.reshape(count * height, width, 3)
    cv2.cvtColor(tall, cv2.COLOR_BGR2RGB, dst=tall)
