"""A look at a picture file before it is decoded: decoding a 50-megapixel picture would take 150 MB."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

MAX_PIXELS = 40_000_000
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF markers; the three others mean something else
_TAIL = 65_536


class PictureError(ValueError):
    """A picture file that is not to be decoded. The message says why."""


def check(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Read (width, height) in pixels from the header of a JPEG, PNG or BMP file.

    Raises PictureError for a file that is missing, empty, none of these, cut short, or larger than max_pixels.
    """
    try:
        with path.open("rb") as file:
            size = _size_of(file)
    except OSError as error:
        raise PictureError(f"it cannot be read: {error.strerror}") from error
    width_px, height_px = size
    if width_px < 1 or height_px < 1:
        raise PictureError(f"it says its size is {width_px}x{height_px} pixels")
    if width_px * height_px > max_pixels:
        raise PictureError(
            f"it has {width_px}x{height_px} = {width_px * height_px / 1e6:.0f} megapixels, "
            f"more than the limit of {max_pixels / 1e6:.0f}; make it smaller"
        )
    return size


def _size_of(file: BinaryIO) -> tuple[int, int]:
    head = file.read(26)
    if not head:
        raise PictureError("it is empty (0 bytes)")
    if head.startswith(b"\xff\xd8"):
        return _jpeg_size(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return width, height
    if head.startswith(b"BM") and len(head) == 26:
        width, height = struct.unpack("<ii", head[18:26])
        return width, abs(height)  # a negative height means top row first
    raise PictureError("it is not a JPEG, PNG or BMP picture")


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    """Walk the segments up to the frame header (ITU T.81, B.1.1.3 and B.2.2), and look for the end marker."""
    file.seek(2)
    while True:
        byte = file.read(1)
        while byte and byte != b"\xff":
            byte = file.read(1)
        while byte == b"\xff":  # fill bytes
            byte = file.read(1)
        if not byte:
            raise PictureError("it is cut short within its header")
        marker = byte[0]
        if marker in (0x01, *range(0xD0, 0xD9)):  # without a length
            continue
        header = file.read(7)
        if len(header) < 7:
            raise PictureError("it is cut short within its header")
        if marker in _JPEG_SIZES:
            height, width = struct.unpack(">HH", header[3:7])
            break
        if marker in (0xD9, 0xDA):
            raise PictureError("it has no frame header")
        file.seek(struct.unpack(">H", header[:2])[0] - 7, 1)
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL))
    if b"\xff\xd9" not in file.read():
        raise PictureError("it is cut short: its end is missing")
    return width, height
