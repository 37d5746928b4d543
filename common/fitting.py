"""A picture fitted to the input that a network's manifest asks for."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from common import geometry
from common.geometry import Fitted, Image
from common.manifest import InputSpec


def fit_picture(
    image_bgr: Image, spec: InputSpec, fit: Literal["letterbox", "stretch"], long_side_px: int, size_px: tuple[int, int]
) -> Fitted:
    """The picture in the network's size and colour order.

    size_px: (width, height) of the input; of a network that takes any size, long_side_px is the longer side instead.
    """
    if spec.multiple_px is not None:
        height, width = image_bgr.shape[:2]
        size_px = geometry.input_size(width, height, long_side_px, spec.multiple_px)
    fitted = geometry.letterbox(image_bgr, size_px) if fit == "letterbox" else geometry.stretch(image_bgr, size_px)
    if spec.colour == "bgr":
        return fitted
    return Fitted(np.asarray(cv2.cvtColor(fitted.pixels, cv2.COLOR_BGR2RGB)), fitted.scale, fitted.offset)
