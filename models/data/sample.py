"""What every reader gives and every trainer takes: pictures with labelled people, and the check that they can be right.

Coordinates are those of `common/geometry.py`: continuous, pixel i covers [i, i + 1). A source that counts from pixel centres
or from 1 is converted by its reader, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from common.geometry import Floats
from common.skeleton import KEYPOINTS, NUM_KEYPOINTS
from models.data.errors import DataError as DataError
from models.data.picture import EncodedPicture as EncodedPicture
from models.data.picture import FilePicture as FilePicture
from models.data.picture import Image as Image
from models.data.picture import MemoryPicture as MemoryPicture
from models.data.picture import Picture as Picture
from models.data.picture import ZipPicture as ZipPicture

POSTURES = ("", "upright", "sitting", "lying", "bending", "upper-body")  # "": not known

# How far outside the picture a box edge or a keypoint that counts may lie, as a share of the person's longer side. Annotators
# and teachers place joints of limbs that the edge cuts: from a forearm that is seen, a wrist can be told to about a hand's
# length, a tenth of a person. What is further out nobody saw: it is a mistake of units, of frames, or of a conversion.
OUTSIDE_MAX = 0.1


@dataclass(frozen=True, eq=False)
class Person:
    """One labelled person, in pixels of the picture.

    box_xyxy_px: (4,) float32.
    keypoints: (17, 3) float32 x, y, weight 0..1, COCO order; weight 0: not known, to be left out of the loss. None: no
        keypoints were labelled.
    posture: one of POSTURES.
    uncertain: perhaps a person, or a crowd: neither to be learned nor to be taken for background.
    score: how sure the label is of the person, 0..1; 1 for human labels.
    area_px: of the silhouette, in square pixels; 0: not known.
    """

    box_xyxy_px: Floats
    keypoints: Floats | None = None
    posture: str = ""
    uncertain: bool = False
    score: float = 1.0
    area_px: float = 0.0


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and its people, none of them left out unless `complete` is false.

    name: of the picture, for errors; unique within its source.
    source, licence: whom the picture comes from, and the terms that are stated there.
    group: pictures of one group (a camera, a clip, a photo and its crops) may be near copies: a split keeps them together.
    complete: false for a crop of one person, where others may be seen without a label: no detector may learn from it.
    """

    name: str
    picture: Picture
    people: tuple[Person, ...]
    source: str
    licence: str
    group: str = ""
    complete: bool = True


@dataclass
class Report:
    """What a reader refused (with `strict` it raises instead), and what it changed or left out, counted.

    A trainer prints it: nothing is dropped in silence.
    """

    strict: bool = True
    refused: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def refuse(self, error: DataError) -> None:
        """Remember why a sample was left out; raises it when strict."""
        if self.strict:
            raise error
        self.refused.append(str(error))

    def note(self, what: str, count: int = 1) -> None:
        if count:
            self.notes[what] += count

    def __str__(self) -> str:
        lines = [f"{count} x {what}" for what, count in sorted(self.notes.items())]
        if self.refused:
            more = "; ..." if len(self.refused) > 5 else ""
            lines.append(f"{len(self.refused)} refused: {'; '.join(self.refused[:5])}{more}")
        return "\n".join(lines)


def add(samples: list[Sample], sample: Sample, report: Report) -> None:
    """Append a sample whose labels can be right; refuse another."""
    try:
        check(sample, decode=False)
    except DataError as error:
        report.refuse(error)
    else:
        samples.append(sample)


def check(sample: Sample, *, decode: bool = True) -> None:
    """Raise DataError, naming picture, person, value and fix, unless the labels can be right.

    decode: read the picture too, rather than trust the size that its source or its header states.
    """
    if decode:
        read_picture(sample)
    for index, person in enumerate(sample.people):
        check_person(person, sample.picture.size_px, f"{sample.name}: person {index}")


def read_picture(sample: Sample) -> Image:
    """The picture, (H, W, 3) uint8 RGB; raises DataError unless it is one, of the size that its labels were made for."""
    image = sample.picture.read()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(f"{sample.name}: the picture is {image.dtype} of shape {image.shape}; it must be uint8 (H, W, 3)")
    size, stated = (image.shape[1], image.shape[0]), sample.picture.size_px
    if size != stated:
        raise DataError(
            f"{sample.name}: the picture has {size[0]}x{size[1]} pixels, its labels were made for {stated[0]}x{stated[1]}; "
            "give the original, or labels of this one (a turn in the EXIF data is applied)"
        )
    return image


def check_person(person: Person, size_px: tuple[int, int], what: str) -> None:
    """Raise DataError, its message starting with `what`, unless the labels can be right in a picture of (width, height)."""
    margin = _check_box(person.box_xyxy_px, size_px, what)
    if person.keypoints is not None:
        _check_keypoints(person.keypoints, size_px, margin, what)
    if person.posture not in POSTURES:
        raise DataError(f"{what}: posture {person.posture!r} is not known; use one of {', '.join(POSTURES[1:])}, or ''")
    if not 0 <= person.score <= 1:
        raise DataError(f"{what}: score {person.score} must be in 0..1; use 1 for human labels")
    if not 0 <= person.area_px < np.inf:
        raise DataError(f"{what}: area {person.area_px} must be in square pixels, 0 where it is not known")


def _check_box(box: Floats, size_px: tuple[int, int], what: str) -> float:
    """Returns how far outside the picture this person's labels may lie."""
    if box.shape != (4,):
        raise DataError(f"{what}: box of shape {box.shape}; it must be (4,): x0, y0, x1, y1")
    if not np.isfinite(box).all():
        raise DataError(f"{what}: box {_shown(box)} is not finite; label the person again")
    sides = box[2:] - box[:2]
    if sides.min() <= 0:
        raise DataError(f"{what}: box {_shown(box)} is empty or inside out; it must be x0, y0, x1, y1 with x0 < x1, y0 < y1")
    margin = OUTSIDE_MAX * float(sides.max())
    if (box[:2] < -margin).any() or (box[2:] > np.array(size_px) + margin).any() or _seen(box, size_px) <= 0:
        raise DataError(
            f"{what}: box {_shown(box)} lies outside the picture of {size_px[0]}x{size_px[1]} pixels; cut it at the edge, and "
            "see whether the label is of this picture, in its pixels"
        )
    return margin


def _seen(box: Floats, size_px: tuple[int, int]) -> float:
    """The smaller side of what of the box is picture."""
    return float((np.minimum(box[2:], size_px) - np.maximum(box[:2], 0)).min())


def _check_keypoints(keypoints: Floats, size_px: tuple[int, int], margin: float, what: str) -> None:
    if keypoints.shape != (NUM_KEYPOINTS, 3):
        raise DataError(f"{what}: keypoints of shape {keypoints.shape}; they must be (17, 3): x, y, weight in COCO order")
    weights = keypoints[:, 2]
    for wrong, why, fix in (
        (~((weights >= 0) & (weights <= 1)), "has a weight outside 0..1", "scale it, 0 where the keypoint is not known"),
        (~np.isfinite(keypoints).all(axis=1), "is not finite", "give it weight 0 and a finite place"),
        (
            (weights > 0) & outside(keypoints, size_px, margin),
            f"lies more than {margin:.1f} px outside the picture of {size_px[0]}x{size_px[1]} pixels",
            "give it weight 0, and see whether the label is of this picture, in its pixels",
        ),
    ):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise DataError(f"{what}: {KEYPOINTS[first]} {_shown(keypoints[first])} {why}; {fix}")


def outside(keypoints: Floats, size_px: tuple[int, int], margin: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(17,) which keypoints (17, 2 or 3) lie further than `margin` pixels outside a picture of (width, height)."""
    return np.asarray(((keypoints[:, :2] < -margin) | (keypoints[:, :2] > np.array(size_px) + margin)).any(axis=1))


def forget_outside(keypoints: Floats, box: Floats, size_px: tuple[int, int]) -> tuple[Floats, int]:
    """Keypoints (17, 3) with weight 0 where they are too far outside the picture to have been seen, and how many those are.

    For sources whose labels are guesses (crowds, teachers) beyond the edge; of careful human labels, such a place is an error.
    """
    gone = (keypoints[:, 2] > 0) & outside(keypoints, size_px, OUTSIDE_MAX * float((box[2:] - box[:2]).max()))
    kept = keypoints.copy()
    kept[gone, 2] = 0
    return kept, int(gone.sum())


def _shown(values: Floats) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in values) + ")"


def summary(samples: Sequence[Sample]) -> str:
    """One line a source: pictures, people, those with keypoints, licence; for the log of a training run and the model card."""
    lines = []
    for source in sorted({sample.source for sample in samples}):
        own = [sample for sample in samples if sample.source == source]
        people = [person for sample in own for person in sample.people if not person.uncertain]
        posed = sum(person.keypoints is not None for person in people)
        licences = Counter(sample.licence for sample in own).most_common(3)
        lines.append(
            f"{source}: {len(own)} pictures, {len(people)} people, {posed} with keypoints, "
            f"licence {' / '.join(name for name, _ in licences)}"
        )
    return "\n".join(lines)
