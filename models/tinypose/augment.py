"""From a picture with a person to a training crop: every change has its reason in what cameras and people do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.skeleton import FLIP
from models.data.sample import Person

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]
Random = np.random.Generator
CUT_KEEPS = 3  # known keypoints that a cut leaves at least
PARTS = (range(7), range(11), range(11, 17))  # head and shoulders, down to the wrists, from the hips


@dataclass(frozen=True)
class Augmentation:
    """How often and how much; `NONE` is what evaluation uses.

    turn: standard deviation of the usual angle, degrees: cameras hang crooked. full_turn: share of crops turned by any angle:
    people fall in any direction. scale, shift: the detector's box is off by so much. half: share cut to head, upper or lower
    body: desks, door frames, people near the camera. cut: the picture ends within the person, as at the edge of a view.
    aspect: pictures are stretched by careless streams. colour, grey (infrared), dark, blur, jpeg, small (far away), noise, hide
    (things in front), beside (somebody else stands in front or behind: which of the two is meant is told by the middle of the
    crop alone): shares of crops.
    """

    padding: float = 1.25
    turn: float = 10.0
    full_turn: float = 0.15
    scale: float = 0.16
    shift: float = 0.06
    half: float = 0.12
    cut: float = 0.35
    aspect: float = 0.12
    flip: float = 0.5
    colour: float = 0.4
    grey: float = 0.06
    dark: float = 0.06
    blur: float = 0.1
    jpeg: float = 0.06
    small: float = 0.1
    noise: float = 0.05
    hide: float = 0.15
    beside: float = 0.2


NONE = Augmentation(1.25, *[0.0] * 17)


def crop_sample(
    image: Image, person: Person, size_px: tuple[int, int], how: Augmentation, rng: Random,
    other: tuple[Image, Person] | None = None,
) -> tuple[Image, Floats]:  # fmt: skip
    """A training crop and its keypoints.

    image: (H, W, 3) uint8 RGB; size_px: (width, height) of the crop; other: somebody to put beside.
    Returns the crop and (17, 3) float32: x, y in crop pixels,
    continuous (a pixel's centre lies at .5), and the weight as it was; keypoints outside the crop keep their place.
    """
    keypoints = np.zeros((17, 3), np.float32) if person.keypoints is None else person.keypoints.copy()
    box = person.box_xyxy_px
    if rng.random() < how.cut:
        image, box, keypoints = _cut(image, box, keypoints, rng)
    to_crop = _affine(box, keypoints, size_px, how, rng)
    fill = int(rng.choice(np.array([0, 0, 114, rng.integers(256)]))) if how.flip else 0
    # An affine for pixel centres is one for continuous coordinates between two shifts by half a pixel.
    centres = to_crop.copy()
    centres[:, 2] += to_crop[:, :2] @ (0.5, 0.5) - 0.5
    shrinks = np.linalg.norm(to_crop[:, 0]) < 0.6
    crop = cv2.warpAffine(
        _smooth(image, to_crop) if shrinks else image, centres, size_px, flags=cv2.INTER_LINEAR, borderValue=(fill,) * 3
    )
    keypoints[:, :2] = keypoints[:, :2] @ to_crop[:, :2].T + to_crop[:, 2]
    if other is not None:
        crop = _beside(_pixels(crop), _ellipse(box, to_crop, size_px), *other, rng)
    if rng.random() < how.flip:
        crop = crop[:, ::-1]
        keypoints = keypoints[list(FLIP)]
        keypoints[:, 0] = size_px[0] - keypoints[:, 0]
    return np.ascontiguousarray(spoil(crop, how, rng)), keypoints


def _beside(crop: Image, mine: Image, image: Image, person: Person, rng: Random) -> Image:
    """Another person left or right of the middle, before or behind this one; cut out as ellipses, as silhouettes are not known.

    mine: (H, W) uint8, 255 where this person is.
    """
    size = crop.shape[1], crop.shape[0]
    to_crop = _affine(person.box_xyxy_px, np.zeros((17, 3), np.float32), size, NONE, rng)
    zoom = rng.uniform(0.7, 1.3)
    side = rng.choice(np.array([-1, 1])) * rng.uniform(0.3, 0.55) * size[0]
    middle = np.array(size) / 2
    place = middle + np.array([side, rng.uniform(-0.12, 0.12) * size[1]])
    to_crop = np.column_stack([to_crop[:, :2] * zoom, (to_crop[:, 2] - middle) * zoom + place])
    theirs = cv2.warpAffine(image, to_crop, size, flags=cv2.INTER_LINEAR)
    shown = _ellipse(person.box_xyxy_px, to_crop, size)
    if rng.random() < 0.5:
        shown = shown & ~mine
    share = shown[..., None].astype(np.float32) / 255
    return _pixels(crop + share * (theirs.astype(np.float32) - crop))


def _ellipse(box: Floats, to_crop: NDArray[np.float64], size_px: tuple[int, int]) -> Image:
    """(H, W) uint8: 255 within the ellipse that the box holds, with a soft edge."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    half, centre = (box[2:] - box[:2]) / 2, (box[2:] + box[:2]) / 2
    outline = (np.stack([np.cos(angle), np.sin(angle)], axis=1) * half + centre) @ to_crop[:, :2].T + to_crop[:, 2]
    mask = np.zeros((size_px[1], size_px[0]), np.uint8)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 255)
    return _pixels(cv2.GaussianBlur(mask, (0, 0), 1.0))


def _pixels(result: Any) -> Image:
    """OpenCV's result, with the type that it has."""
    return np.asarray(result, np.uint8)


def _smooth(image: Image, to_crop: NDArray[np.float64]) -> Image:
    sigma = 0.4 / float(np.linalg.norm(to_crop[:, 0]))
    return _pixels(cv2.GaussianBlur(image, (0, 0), sigma))


def _affine(
    box: Floats, keypoints: Floats, size_px: tuple[int, int], how: Augmentation, rng: Random
) -> NDArray[np.float64]:
    """(2, 3): picture pixels -> crop pixels, continuous.

    The box turned by an angle is taken as the box about its inscribed ellipse: a person fills its corners less than its middle.
    """
    box = _half(box, keypoints, rng) if rng.random() < how.half else box
    centre = np.array([box[0] + box[2], box[1] + box[3]], np.float64) / 2
    half = np.maximum(np.array([box[2] - box[0], box[3] - box[1]], np.float64) / 2, 1.0)
    angle = np.deg2rad(np.clip(rng.normal(0, how.turn), -2.5 * how.turn, 2.5 * how.turn)) if how.turn else 0.0
    if rng.random() < how.full_turn:
        angle = rng.uniform(-np.pi, np.pi)
    stretch = np.exp(rng.normal(0, how.aspect)) if how.aspect else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([stretch, 1 / stretch])
    extent = np.sqrt(((turn * half) ** 2).sum(axis=1))  # of the turned ellipse
    wide = max(extent[0], extent[1] * size_px[0] / size_px[1]) * 2 * how.padding
    zoom = size_px[0] / wide / np.exp(rng.normal(0, how.scale) if how.scale else 0.0)
    linear = turn * zoom
    shift = rng.normal(0, how.shift, 2) * size_px if how.shift else np.zeros(2)
    return np.column_stack([linear, np.array(size_px) / 2 + shift - linear @ centre])


def _cut(image: Image, box: Floats, keypoints: Floats, rng: Random) -> tuple[Image, Floats, Floats]:
    """The picture, box and keypoints, the picture ending within the box on one side or two; unchanged where too little is left.

    Keypoints are given in the pixels of the smaller picture; the weight of those outside is 0.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = 0, 0, width, height
    x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
    side = rng.random()
    if side < 0.65:
        bottom = int(y + rng.uniform(0.2, 0.85) * h)
    if 0.5 < side < 0.75:
        left = int(x + rng.uniform(0.15, 0.65) * w)
    elif 0.5 < side < 0.9:
        right = int(x + rng.uniform(0.35, 0.85) * w)
    elif side >= 0.9:
        top = int(y + rng.uniform(0.15, 0.6) * h)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    inside = ((keypoints[:, :2] >= (left, top)) & (keypoints[:, :2] < (right, bottom))).all(axis=1)
    if (inside & (keypoints[:, 2] > 0.05)).sum() < CUT_KEEPS or min(right - left, bottom - top) < 16:
        return image, box, keypoints
    low, high = np.maximum(box[:2], (left, top)), np.minimum(box[2:], (right, bottom))
    keypoints[~inside, 2] = 0
    keypoints[:, :2] -= (left, top)
    return image[top:bottom, left:right], np.concatenate([low, high]) - np.array([left, top] * 2, np.float32), keypoints


def _half(box: Floats, keypoints: Floats, rng: Random) -> Floats:
    """The box about head and shoulders, the upper or the lower body, where enough of it is known."""
    part = keypoints[list(PARTS[rng.choice(3, p=(0.3, 0.45, 0.25))])]
    known = part[part[:, 2] > 0.1, :2]
    if len(known) < 4 or not (np.ptp(known, axis=0) > 8).all():
        return box
    low, high = known.min(axis=0), known.max(axis=0)
    margin = 0.2 * (high - low).max()
    return np.concatenate([low - margin, high + margin]).astype(np.float32)


def spoil(crop: Image, how: Augmentation, rng: Random) -> Image:
    """What cameras, nights and networks do to a picture; the geometry stays. crop: (H, W, 3) uint8 RGB."""

    def chance(share: float) -> bool:
        return share > 0 and rng.random() < share

    if chance(how.hide):
        crop = _hide(crop, rng)
    if chance(how.small):
        crop = _small(crop, rng)
    if chance(how.blur):
        crop = _blur(crop, rng)
    if chance(how.colour):
        gain = rng.uniform(0.6, 1.4) * np.exp(rng.normal(0, 0.08, 3))
        crop = _clip((crop.astype(np.float32) - 128) * rng.uniform(0.7, 1.3) + 128 * gain)
    if chance(how.grey):
        crop = np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if chance(how.dark):
        crop = _table(crop, rng.uniform(1.2, 2.8), rng.uniform(0.35, 1.0))
    if chance(how.noise):
        crop = _clip(crop + rng.normal(0, rng.uniform(3, 18), crop.shape).astype(np.float32))
    if chance(how.jpeg):
        kept = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 70))])[1]
        crop = _pixels(cv2.imdecode(kept, cv2.IMREAD_COLOR))
    return crop


def _clip(pixels: Any) -> Image:
    return _pixels(np.clip(pixels, 0, 255).astype(np.uint8))


def _table(crop: Image, gamma: float, gain: float) -> Image:
    return _pixels(cv2.LUT(crop, _clip(255 * gain * (np.arange(256) / 255) ** gamma)))


def _small(crop: Image, rng: Random) -> Image:
    height, width = crop.shape[:2]
    share = rng.uniform(0.25, 0.7)
    less = cv2.resize(crop, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA)
    return _pixels(cv2.resize(less, (width, height), interpolation=cv2.INTER_LINEAR))


def _blur(crop: Image, rng: Random) -> Image:
    """Out of focus, or moving along a line while the shutter is open."""
    if rng.random() < 0.5:
        return _pixels(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.6, 2.2)))
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    start, end = ((length - 1) / 2 - reach).round().astype(int), ((length - 1) / 2 + reach).round().astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
    return _pixels(cv2.filter2D(crop, -1, kernel / kernel.sum()))


def _hide(crop: Image, rng: Random) -> Image:
    """One to three rectangles of one colour, of noise, or of another part of the crop."""
    crop = crop.copy()
    height, width = crop.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        w, h = int(rng.uniform(0.06, 0.4) * width), int(rng.uniform(0.06, 0.3) * height)
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        kind = rng.random()
        if kind < 0.4:
            crop[y : y + h, x : x + w] = rng.integers(0, 256, 3)
        elif kind < 0.6:
            crop[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3))
        else:
            fx, fy = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            crop[y : y + h, x : x + w] = crop[fy : fy + h, fx : fx + w].copy()
    return crop
