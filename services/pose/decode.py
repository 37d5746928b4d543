"""Raw outputs of a pose network -> keypoints, all people at once, one function a network family.

Each takes the outputs for a batch of N crops, the crops' size (width, height), and the boxes (N, 4) of the target people
in their crops' pixels; it returns (N, 17, 3) float32: x, y in crop pixels and a score 0..1, COCO order. Scores below 0 become
0; what is not finite stays so, and the estimator refuses it. They raise ModelError for outputs of another shape.
"""

from __future__ import annotations

from collections.abc import Callable

from common.geometry import Floats
from common.runtimes.base import Outputs
from services.pose.decoders.direct import keypoints, movenet_multipose, movenet_singlepose
from services.pose.decoders.flip import merge_flipped
from services.pose.decoders.heatmaps import (
    heatmaps,
    heatmaps_plain,
    heatmaps_quarter,
    heatmaps_udp,
    heatmaps_udp_blurred,
)
from services.pose.decoders.offsets import heatmap_offsets, heatmap_offsets_logits
from services.pose.decoders.simcc import simcc

__all__ = ["DECODERS", "Decoder", "heatmaps", "merge_flipped", "movenet_multipose"]

Decoder = Callable[[Outputs, tuple[int, int], Floats], Floats]

DECODERS: dict[str, Decoder] = {
    "movenet_multipose": movenet_multipose,
    "movenet_singlepose": movenet_singlepose,
    "keypoints": keypoints,
    "heatmaps": heatmaps,
    "heatmaps_plain": heatmaps_plain,
    "heatmaps_quarter": heatmaps_quarter,
    "heatmaps_udp": heatmaps_udp,
    "heatmaps_udp_blurred": heatmaps_udp_blurred,
    "heatmap_offsets": heatmap_offsets,
    "heatmap_offsets_logits": heatmap_offsets_logits,
    "simcc": simcc,
}
