"""Pictures decoded and shrunk once, kept as plain pixels in one file: training then costs no JPEG decoding.

The file holds pixels only. Labels stay with the samples and are scaled with their pictures, so a corrected label needs no new
pack; changed pictures or another size do, and give it another name.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.geometry import resize
from common.locks import PART, locked
from models.data.errors import DataError
from models.data.picture import Image, shrunk_size
from models.data.sample import Person, Sample, read_picture

CACHE = Path(".cache") / "data"  # git ignores it
_SPARE = 64 << 20  # bytes that stay free on the disk, so that a run's log and checkpoints can still be written
_FORMAT = b"1"  # changes with what a pack of the same name holds


@dataclass(frozen=True)
class PackedPicture:
    """(H, W, 3) uint8 RGB from byte `start` of a pack, read only. Small to pickle: a worker process opens the file itself."""

    path: Path
    start: int
    size_px: tuple[int, int]

    def read(self) -> Image:
        width, height = self.size_px
        pixels = _mapped(self.path, os.getpid())[self.start : self.start + height * width * 3]
        return np.asarray(pixels.reshape(height, width, 3))

    def fingerprint(self) -> str:
        return f"{self.path.name}:{self.start}"


@dataclass(frozen=True)
class Packed:
    """The samples as they were, in their order, each with its picture and labels shrunk."""

    samples: tuple[Sample, ...]
    path: Path

    def __str__(self) -> str:
        return f"{len(self.samples)} pictures, {self.path.stat().st_size / 1e6:.0f} MB in {self.path}"


def pack(samples: Sequence[Sample], long_side_px: int, *, cache: Path = CACHE) -> Packed:
    """Samples with pictures whose longer side is at most `long_side_px`; smaller ones stay as they are.

    Made at the first call, taken from the folder `cache` at the next ones with the same pictures and size. Several processes
    may ask at once: one packs, the others wait. What a killed process left is removed and made again.
    Raises DataError, naming the file, for a picture that cannot be read or is not of the size that its labels are for, where
    the disk is full, and for a pack that was cut off afterwards.
    """
    if long_side_px < 1:
        raise DataError(f"pictures cannot be packed to a longer side of {long_side_px} px; give at least 1")
    sizes = [shrunk_size(sample.picture.size_px, long_side_px) for sample in samples]
    starts = np.concatenate([[0], np.cumsum([width * height * 3 for width, height in sizes], dtype=np.int64)])
    path = cache / f"{key(samples, long_side_px)}.pack"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache):
            if not path.exists():
                _write(samples, sizes, int(starts[-1]), path)
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"{path} cannot be written: {why}; make room there, or give another folder") from error
    if path.stat().st_size != starts[-1]:
        raise DataError(f"{path} has {path.stat().st_size} of {starts[-1]} bytes: it was cut off; delete it, it is made again")
    pictures = (PackedPicture(path, int(start), size) for start, size in zip(starts[:-1], sizes, strict=True))
    shrunk = tuple(
        replace(sample, picture=picture, people=_scaled(sample.people, sample.picture.size_px, picture.size_px))
        for sample, picture in zip(samples, pictures, strict=True)
    )
    return Packed(shrunk, path)


def key(samples: Sequence[Sample], long_side_px: int) -> str:
    """Tells packs apart: a hash of the size and of each picture's fingerprint, in order."""
    digest = hashlib.sha256(_FORMAT + long_side_px.to_bytes(4, "little"))
    for sample in samples:
        digest.update(f"{sample.picture.fingerprint()}\n".encode())
    return digest.hexdigest()[:24]


def _write(samples: Sequence[Sample], sizes: Sequence[tuple[int, int]], total: int, path: Path) -> None:
    """With plain writes: through a memory map, a full disk would kill the process instead of raising an error."""
    free = shutil.disk_usage(path.parent).free
    if free < total + _SPARE:
        raise DataError(
            f"{path} needs {total / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; make room there, or give a smaller long side"
        )
    part = path.with_name(PART + path.name)
    try:
        with part.open("wb") as file:
            for pixels in _pixels(samples, sizes):
                file.write(pixels.tobytes())
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)  # after an error the disk may be full of it


def _pixels(samples: Sequence[Sample], sizes: Sequence[tuple[int, int]]) -> Iterator[Image]:
    for sample, size in zip(samples, sizes, strict=True):
        yield resize(read_picture(sample), size)


def _scaled(people: tuple[Person, ...], old: tuple[int, int], new: tuple[int, int]) -> tuple[Person, ...]:
    if old == new:
        return people
    scale = np.array(new, np.float32) / np.array(old, np.float32)
    return tuple(
        replace(
            person,
            box_xyxy_px=(person.box_xyxy_px * np.tile(scale, 2)).astype(np.float32),
            keypoints=None if person.keypoints is None else (person.keypoints * np.append(scale, 1)).astype(np.float32),
            area_px=float(person.area_px * scale.prod()),
        )
        for person in people
    )


@functools.lru_cache(maxsize=16)
def _mapped(path: Path, process: int) -> NDArray[np.uint8]:
    """Mapped once a process: the system then shares the pages among all."""
    try:
        return np.asarray(np.memmap(path, np.uint8, mode="r"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; pack the samples again") from error
