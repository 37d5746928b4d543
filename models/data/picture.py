"""Pictures that are read when they are needed: from a file, from a zip file, from memory."""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.imaging import ImageError, jpeg_size  # imported before OpenCV: it limits what OpenCV decodes
from models.data.errors import DataError

import cv2  # isort: skip

Image = NDArray[np.uint8]
_JPEG, _END = b"\xff\xd8", b"\xff\xd9"


class Picture(Protocol):
    """A picture that is not read yet. `size_px` is (width, height), as its source states it or its header does."""

    @property
    def size_px(self) -> tuple[int, int]: ...

    def read(self) -> Image:
        """(H, W, 3) uint8 RGB. Raises DataError, naming the file, for what is missing, cut off or no picture."""
        ...

    def fingerprint(self) -> str:
        """Changes when the pixels do, without reading them where a file's name, size and date tell enough."""
        ...


@dataclass(frozen=True)
class FilePicture:
    path: Path
    size_px: tuple[int, int]

    def read(self) -> Image:
        return decode(read_file(self.path), str(self.path))

    def fingerprint(self) -> str:
        return _stated(self.path)


@dataclass(frozen=True)
class ZipPicture:
    archive: Path
    member: str
    size_px: tuple[int, int]

    def read(self) -> Image:
        return decode(read_member(self.archive, self.member), f"{self.archive}:{self.member}")

    def fingerprint(self) -> str:
        return f"{_stated(self.archive)}:{self.member}"


@dataclass(frozen=True, eq=False)
class MemoryPicture:
    """Pixels (H, W, 3) uint8 RGB that are at hand: rendered people."""

    pixels: Image

    @property
    def size_px(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    def read(self) -> Image:
        return self.pixels

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.pixels.shape).encode() + self.pixels.tobytes()).hexdigest()


@dataclass(frozen=True)
class EncodedPicture:
    """A picture as its JPEG or PNG bytes, a tenth of its pixels: frames of a clip; `name` is for errors."""

    content: bytes = field(repr=False)
    name: str
    size_px: tuple[int, int]

    def read(self) -> Image:
        return decode(self.content, self.name)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def _stated(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); fetch it again, or take its labels out") from error
    return f"{path}:{stat.st_size}:{stat.st_mtime_ns}"


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); fetch it again, or take its labels out") from error


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one member of a zip file, which stays open for the next; raises DataError."""
    try:
        return _opened(archive, os.getpid()).read(member)
    except KeyError as error:
        raise DataError(f"{archive} has no member {member!r}; fetch it again, or take its labels out") from error
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise DataError(f"{archive}:{member} cannot be read ({error}); fetch the file again") from error


@functools.lru_cache(maxsize=32)
def _opened(archive: Path, process: int) -> zipfile.ZipFile:
    """Opened once a process: a fork that shared the file would share its position too. Thread-safe, as ZipFile is."""
    return zipfile.ZipFile(archive)


def header_size(content: bytes, what: str) -> tuple[int, int]:
    """(width, height) of a picture, without decoding it where it is a JPEG; raises DataError."""
    if content[:2] == _JPEG:
        try:
            return jpeg_size(content)
        except ImageError as error:
            raise DataError(f"{what}: {error}; fetch it again") from error
    image = decode(content, what)
    return image.shape[1], image.shape[0]


def decode(content: bytes, what: str) -> Image:
    """(H, W, 3) uint8 RGB of an encoded picture; raises DataError. OpenCV fills a JPEG that was cut off with grey, unasked."""
    if content[:2] == _JPEG and content.rfind(_END) < len(content) // 2:
        raise DataError(f"{what}: the JPEG was cut off after {len(content)} bytes; fetch it again")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise DataError(f"{what}: the picture does not decode: {error.err}; fetch it again") from error
    if image is None:
        raise DataError(f"{what}: {len(content)} bytes that are no picture; fetch it again, or take its labels out")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def shrunk_size(size_px: tuple[int, int], long_side_px: int) -> tuple[int, int]:
    """(width, height) of a picture shrunk to a longer side of at most `long_side_px`; a smaller one keeps its size."""
    scale = min(1.0, long_side_px / max(size_px))
    return max(1, round(size_px[0] * scale)), max(1, round(size_px[1] * scale))
