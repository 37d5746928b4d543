"""SimCC: a keypoint as two classifications, one over columns and one over rows (Li et al., ECCV 2022; RTMPose)."""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs
from common.skeleton import NUM_KEYPOINTS
from services.pose.decoders.outputs import floats, shown


def simcc(outputs: Outputs, size_px: tuple[int, int], boxes: Floats) -> Floats:
    """Two outputs, (N, 17, r * W) for x and (N, 17, r * H) for y, r bins a pixel (2 for RTMPose); r follows from the shapes.

    x comes first unless the outputs' names end with `x` and `y` in the other order. Bin b is pixel b / r in pixel centres, its
    training target the rounded r * x (MMPose, `SimCCLabel`); the score is the smaller of the two maxima, as there. A keypoint
    whose smaller maximum is not above 0 lies at bin 0 with score 0.
    """
    arrays = floats(outputs, "simcc", 2)
    (first, x_bins), (second, y_bins) = arrays.items()
    if first.lower().endswith("y") and second.lower().endswith("x"):
        x_bins, y_bins = y_bins, x_bins
    fits = all(bins.ndim == 3 and bins.shape[:2] == (len(boxes), NUM_KEYPOINTS) for bins in (x_bins, y_bins))
    if not fits or x_bins.shape[2] * size_px[1] != y_bins.shape[2] * size_px[0] or x_bins.shape[2] < size_px[0]:
        raise ModelError(
            f"decoder 'simcc' expects x ({len(boxes)}, 17, r * {size_px[0]}) and y ({len(boxes)}, 17, r * {size_px[1]}), "
            f"got {shown(outputs)}"
        )
    per_pixel = np.float32(x_bins.shape[2] / size_px[0])
    keypoints = np.empty((len(boxes), NUM_KEYPOINTS, 3), np.float32)
    score = np.minimum(x_bins.max(axis=2), y_bins.max(axis=2))
    keypoints[..., 0] = x_bins.argmax(axis=2) / per_pixel
    keypoints[..., 1] = y_bins.argmax(axis=2) / per_pixel
    keypoints[..., :2] *= (score > 0)[..., None]
    keypoints[..., :2] += 0.5
    keypoints[..., 2] = np.maximum(score, 0)
    return keypoints
