"""Pictures that are in the training data and in the validation data too, found by perceptual hash.

    python -m models.data.leakage [--kit DIR] [--against val|dev] [--max-bits N] [--sheet FILE.png]

The hash is that of Zauner (Implementation and Benchmarking of Perceptual Image Hash Functions, 2010): of a small grey copy the
lowest frequencies of its cosine transform, one bit each: above the median or not. It survives resizing, JPEG, a change of
brightness; mirrored copies are looked for too. Each picture is hashed as a whole and at each of its people, so a crop is found
in the photo that it was cut from.

Found in the kit: no picture of the training and development data is one of coco-mini val2017 or lspet `val`. Of all 8,585 x
1,079 pairs the nearest differs in 74 bits: two gymnasts in the same leap; the next, at 80, have nothing in common (seen by
eye, as all up to 84). Development data has 2 copies in lspet, which `split.py` leaves out, and scenes of the cameras of its
crops, since a scene does not name its camera: crops judge poses, and no pose network learns from scenes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats, expand_to_aspect, letterbox
from models.data.picture import Image
from models.data.sample import Sample
from models.data.split import all_of, dev_sets, kit_folder, train_sets, val_sets

import cv2  # isort: skip

# 16 x 16 frequencies rather than the usual 8 x 8, by which the nearest of ten million unrelated pairs are as near as copies
# are.
LOW = 16
BITS = LOW * LOW - 1  # the mean brightness is left out
_SIDE = 4 * LOW
_ROWS = 2048  # compared at once: 40 MB of distances to 2,500 views
_PADDING = 1.4  # of the kit's crops
MIN_CROP_PX = 48  # a smaller person is too blurred to be told from another
# Of 200 photos of the kit, copies (half the size, JPEG quality 20, stretched, darker, cut up to 2 % differently) differ in at
# most 60 bits. Of its training data, every pair up to 70 shows one scene, most of them one camera a moment later; of
# unrelated photos none is below 74.
MAX_BITS = 72

Bits = NDArray[np.bool_]


def perceptual_hash(picture: Image) -> Bits:
    """(BITS,) of a picture (H, W, 3) uint8 RGB."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:LOW, :LOW].reshape(-1)[1:]
    return np.asarray(low > np.median(low))


def distances(a: Bits, b: Bits) -> NDArray[np.int64]:
    """(N, BITS), (M, BITS) -> (N, M) number of bits that differ."""
    signs = np.where(a, 1, -1).astype(np.float32) @ np.where(b, 1, -1).astype(np.float32).T
    return np.asarray((a.shape[1] - signs) / 2, np.int64)


@dataclass(frozen=True)
class Views:
    """What is hashed of some samples: the whole picture and each person. samples: (N,) index; windows: (N, 4) picture px."""

    samples: NDArray[np.int64]
    windows: Floats
    hashes: Bits


def views(samples: Sequence[Sample], *, mirrored: bool = False) -> Views:
    """The views of all samples; of their mirror images if asked for."""
    index, windows, hashes = [], [], []
    for i, sample in enumerate(samples):
        picture = sample.picture.read()
        for window in _windows(sample):
            x0, y0, x1, y1 = window
            shown = picture[y0:y1, x0:x1]
            index.append(i)
            windows.append(window)
            hashes.append(perceptual_hash(np.ascontiguousarray(shown[:, ::-1]) if mirrored else shown))
    return Views(
        np.array(index, np.int64), np.array(windows, np.float32).reshape(-1, 4), np.array(hashes, np.bool_).reshape(-1, BITS)
    )


def _windows(sample: Sample) -> list[tuple[int, int, int, int]]:
    width, height = sample.picture.size_px
    found = [(0, 0, width, height)]
    for person in sample.people:
        sides = person.box_xyxy_px[2:] - person.box_xyxy_px[:2]
        if not person.uncertain and sides.min() >= MIN_CROP_PX:
            shown = expand_to_aspect(person.box_xyxy_px[None], float(sides[0] / sides[1]), _PADDING)[0]
            x0, y0 = np.maximum(np.floor(shown[:2]), 0).astype(int)
            x1, y1 = np.minimum(np.ceil(shown[2:]), (width, height)).astype(int)
            found.append((int(x0), int(y0), int(x1), int(y1)))
    return found


@dataclass(frozen=True)
class Leak:
    """Two samples that show the same. bits: by how many their nearest views differ."""

    train: Sample
    test: Sample
    bits: int
    mirrored: bool


def leaks(train: Sequence[Sample], test: Sequence[Sample], *, max_bits: int = MAX_BITS) -> list[Leak]:
    """Every pair of samples of which two views differ in at most `max_bits` of BITS bits, the nearest first."""
    of_test = views(test)
    nearest: dict[tuple[int, int], tuple[int, bool]] = {}
    for mirrored in (False, True):
        of_train = views(train, mirrored=mirrored)
        for start in range(0, len(of_train.hashes), _ROWS):
            bits = distances(of_train.hashes[start : start + _ROWS], of_test.hashes)
            for row, column in zip(*np.nonzero(bits <= max_bits), strict=True):
                pair = int(of_train.samples[start + row]), int(of_test.samples[column])
                nearest[pair] = min(nearest.get(pair, (BITS, True)), (int(bits[row, column]), mirrored))
    found = [Leak(train[i], test[k], bits, mirrored) for (i, k), (bits, mirrored) in nearest.items()]
    return sorted(found, key=lambda leak: leak.bits)


def sheet(found: Sequence[Leak], columns: int = 4, side_px: int = 180) -> Image:
    """The pairs side by side as one picture, RGB, each with its bits: the eye decides."""
    tiles = []
    for leak in found:
        pair = np.hstack([_tile(leak.train, side_px, leak.mirrored), _tile(leak.test, side_px, False)])
        cv2.putText(pair, f"{leak.bits}", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)
        tiles.append(pair)
    tiles += [np.zeros((side_px, 2 * side_px, 3), np.uint8)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def _tile(sample: Sample, side_px: int, mirrored: bool) -> Image:
    picture = sample.picture.read()
    fitted = letterbox(np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture, (side_px, side_px), pad_value=0)
    return fitted.pixels.copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, help="folder of the kit; $POSEBUS_KIT or ../shared/kit without it")
    parser.add_argument("--against", choices=("val", "dev"), default="val", help="validation, or development data")
    parser.add_argument("--max-bits", type=int, default=MAX_BITS, help=f"of {BITS} bits, by which a copy may differ")
    parser.add_argument("--sheet", type=Path, help="write the nearest pairs as one picture")
    args = parser.parse_args()
    kit = args.kit or kit_folder()
    train = all_of(train_sets(kit, with_dev=args.against == "val"))
    test = all_of(val_sets(kit) if args.against == "val" else dev_sets(kit))
    found = leaks(train, test, max_bits=args.max_bits)
    for leak in found:
        how = ", mirrored" if leak.mirrored else ""
        print(f"{leak.bits:3} bits{how}: {leak.train.source} {leak.train.name} is {leak.test.source} {leak.test.name}")
    pictures = f"{len(train)} training and {len(test)} {args.against} pictures"
    print(f"{len(found)} pairs of {pictures} are within {args.max_bits} bits")
    if args.sheet and found:
        cv2.imwrite(str(args.sheet), cv2.cvtColor(sheet(found[:60]), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
