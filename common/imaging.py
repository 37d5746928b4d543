"""JPEG in and out of arrays, no larger than needed and never larger than is safe."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))  # read by OpenCV when it is imported
import cv2

MAX_PIXELS = 40_000_000  # 8K video is 33 megapixels
_REDUCED = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_NO_SIZE = frozenset({0xC4, 0xC8, 0xCC})  # markers between SOF0 and SOF15 that are no start of frame

Image = NDArray[np.uint8]


class ImageError(ValueError):
    """Bytes that are no usable JPEG. The message says why."""


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels from the header, without decoding; raises ImageError."""
    if data[:2] != b"\xff\xd8":
        raise ImageError(f"not a JPEG ({len(data)} bytes)")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ImageError(f"JPEG without a frame header ({len(data)} bytes)")


def decode_jpeg(data: bytes, *, at_least: tuple[int, int] | None = None) -> Image:
    """Decode a JPEG to BGR, (H, W, 3) uint8.

    at_least: (width, height) in pixels that suffice; the decoder then skips work by a factor of 2, 4 or 8 in each direction,
    and never goes below it. Raises ImageError for what is broken or larger than MAX_PIXELS.
    """
    width, height = jpeg_size(data)
    if width * height > MAX_PIXELS:
        raise ImageError(f"JPEG of {width} x {height} pixels is larger than {MAX_PIXELS / 1e6:.0f} megapixels")
    factor = reduction((width, height), at_least) if at_least else 1
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[factor])
    if image is None:
        raise ImageError(f"JPEG of {width} x {height} pixels does not decode ({len(data)} bytes)")
    return image  # type: ignore[no-any-return]  # OpenCV has no types


def reduction(size: tuple[int, int], at_least: tuple[int, int]) -> int:
    """The largest of 8, 4, 2, 1 that keeps an image, fitted into `at_least` with its aspect, from being enlarged."""
    scale = min(at_least[0] / max(size[0], 1), at_least[1] / max(size[1], 1))
    return next((factor for factor in (8, 4, 2) if scale * factor <= 1.0), 1)
