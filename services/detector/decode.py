"""Raw outputs of a detection network -> boxes and scores, one function a network family.

Each takes the outputs for one picture and the network's input size (width, height), and returns boxes (M, 4) float32 xyxy in
input pixels and scores (M,) float32, unsorted, unfiltered. They raise ModelError for outputs of another shape.
"""

from __future__ import annotations

from collections.abc import Callable

from common.runtimes.base import Outputs
from services.detector.decoders.direct import boxes_scores, dets_labels, movenet_multipose, ssd_postprocessed
from services.detector.decoders.grids import nanodet, picodet, rtmdet, yolox, yolox_decoded
from services.detector.decoders.outputs import Decoded
from services.detector.decoders.ssd import ssd

__all__ = ["DECODERS", "Decoded", "Decoder", "boxes_scores", "dets_labels", "movenet_multipose"]

Decoder = Callable[[Outputs, tuple[int, int]], Decoded]

DECODERS: dict[str, Decoder] = {
    "movenet_multipose": movenet_multipose,
    "dets_labels": dets_labels,
    "boxes_scores": boxes_scores,
    "yolox": yolox,
    "yolox_decoded": yolox_decoded,
    "nanodet": nanodet,
    "picodet": picodet,
    "rtmdet": rtmdet,
    "ssd": ssd,
    "ssd_postprocessed": ssd_postprocessed,
}
