"""A picture with its people as boxes, and how boxes follow when the picture is moved. Boxes: xyxy in pixels of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.geometry import Floats
from common.imaging import Image  # imported before OpenCV: it limits what OpenCV decodes
from models.data.sample import Person, Sample

import cv2  # isort: skip

NO_BOXES: Floats = np.zeros((0, 4), np.float32)
# Of a person of whom less than this share is left in the picture, it is neither wrong to say that there is one nor that there
# is none: a hand, a foot. COCO's annotators box such parts, fixed cameras rarely see them for long.
VISIBLE_MIN = 0.25
SIDE_MIN_PX = 4.0  # smaller than half a cell of the finest stride: nobody can be told
# An uncertain box around a sure person, twice as large and more, is a bad box of that person and not a second one: kept, it
# would exempt the whole background around the person from the loss.
SURROUNDS_SHARE, SURROUNDS_RATIO = 0.8, 2.0


@dataclass(frozen=True, eq=False)
class Scene:
    """image: (H, W, 3) uint8 RGB. people: (N, 4) to be found. ignored: (K, 4) where somebody may be. name: for errors."""

    name: str
    image: Image
    people: Floats
    ignored: Floats


def scene_of(sample: Sample) -> Scene:
    """Read a sample. Of one that is not `complete`, all around its people is ignored: others there have no label."""
    image = sample.picture.read()
    people = stack([person for person in sample.people if not person.uncertain])
    ignored = stack([person for person in sample.people if person.uncertain])
    ignored = ignored[~surrounds(ignored, people)]
    if not sample.complete:
        ignored = np.concatenate([ignored, *(around(box, image.shape[1], image.shape[0]) for box in people)])
    return Scene(sample.name, image, people, ignored)


def stack(people: list[Person]) -> Floats:
    return np.stack([person.box_xyxy_px for person in people]).astype(np.float32) if people else NO_BOXES


def around(box: Floats, width: int, height: int) -> Floats:
    """(4, 4): all of a picture but the box, as strips left, right, above and below of it."""
    x0, y0, x1, y1 = box
    return np.array([[0, 0, x0, height], [x1, 0, width, height], [x0, 0, x1, y0], [x0, y1, x1, height]], np.float32)


def surrounds(ignored: Floats, people: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(K,) which uncertain boxes are nothing but a loose box of a sure person."""
    low = np.maximum(ignored[:, None, :2], people[None, :, :2])
    high = np.minimum(ignored[:, None, 2:], people[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=2)
    inner, outer = area(people)[None], area(ignored)[:, None]
    return np.asarray(((shared > SURROUNDS_SHARE * inner) & (outer > SURROUNDS_RATIO * inner)).any(axis=1))


def area(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1), np.float32)


def warp(scene: Scene, matrix: Floats, size_px: tuple[int, int], fill: tuple[int, int, int]) -> Scene:
    """The scene in a picture of (width, height), moved by a (2, 3) matrix in continuous pixels; `fill` around it."""
    image = scene.image
    shrink = min(np.hypot(*matrix[:, 0]), np.hypot(*matrix[:, 1]))
    while shrink < 0.6 and min(image.shape[:2]) >= 16:  # bilinear sampling of every second pixel would alias
        image, shrink = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), shrink * 2
    to_centres = matrix.astype(np.float64)
    to_centres[:, :2] *= (scene.image.shape[1] / image.shape[1], scene.image.shape[0] / image.shape[0])
    to_centres[:, 2] += to_centres[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from pixel centres
    moved = cv2.warpAffine(image, to_centres, size_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    people, lost = clipped(moved_boxes(scene.people, matrix), size_px)
    ignored, _ = clipped(moved_boxes(scene.ignored, matrix), size_px, visible_min=0.0, side_min=0.0)
    return Scene(scene.name, np.asarray(moved, np.uint8), people, np.concatenate([ignored, lost]))


def moved_boxes(boxes: Floats, matrix: Floats) -> Floats:
    """Boxes after an affine map: those of the ellipses inscribed in the old ones.

    Exact for quarter turns, flips and stretching. At other angles the box of the turned box would be far too large, for bodies
    do not fill corners: at 45 degrees, by 40 % of a square's side.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2 @ (matrix[:, :2] ** 2).T)
    return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)


def clipped(
    boxes: Floats, size_px: tuple[int, int], *, visible_min: float = VISIBLE_MIN, side_min: float = SIDE_MIN_PX
) -> tuple[Floats, Floats]:
    """Boxes cut at the edges of a picture of (width, height): those of people still to be found, and those to be ignored."""
    limit = np.array([*size_px, *size_px], np.float32)
    inside = np.clip(boxes, 0, limit)
    there = area(inside) > 0
    good = there & (area(inside) >= visible_min * area(boxes)) & ((inside[:, 2:] - inside[:, :2]).min(axis=1) >= side_min)
    return inside[good], inside[there & ~good]
