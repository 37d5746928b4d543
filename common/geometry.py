"""Boxes, crops and turned views of pictures. People are a batch dimension everywhere.

Coordinates are continuous: pixel i of a row covers [i, i + 1), so a picture of width W spans 0..W and a resize by s maps x to
s * x exactly. Boxes are (N, 4) float32, xyxy. What counts from pixel centres, as most networks' answers do, is 0.5 less; the
decoders of `services/pose` add it and nobody else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.polygons import points_in_polygon as points_in_polygon
from common.polygons import polygon_area as polygon_area
from common.polygons import polygon_to_norm as polygon_to_norm
from common.polygons import polygon_to_px as polygon_to_px

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]
Cut = tuple[list[int], list[int], list[int], list[int], Image]  # low and high corner in the picture, both in the crop, the crop
_FAR_PX = 1e6  # boxes further out are no pixels of anything
PAD_VALUE = 114  # the grey that letterboxed detectors are trained with


@dataclass(frozen=True)
class Fitted:
    """A picture resized into a network's input. input = picture * scale + offset, each (x, y)."""

    pixels: Image
    scale: tuple[float, float]
    offset: tuple[float, float]

    def boxes_to_image(self, boxes: Floats) -> Floats:
        """(N, 4) boxes in input pixels -> picture pixels."""
        scale = np.array(self.scale * 2, np.float32)
        return (boxes - np.array(self.offset * 2, np.float32)) / scale


def letterbox(image: Image, size_px: tuple[int, int], *, pad_value: int = PAD_VALUE) -> Fitted:
    """Resize into (width, height) keeping the aspect; the rest, right and below, is grey."""
    height, width = image.shape[:2]
    scale = min(size_px[0] / width, size_px[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    exact = inner[0] / width, inner[1] / height
    if inner == size_px:
        return Fitted(resize(image, size_px), exact, (0.0, 0.0))
    canvas = np.full((size_px[1], size_px[0], 3), pad_value, np.uint8)
    canvas[: inner[1], : inner[0]] = resize(image, inner)
    return Fitted(canvas, exact, (0.0, 0.0))


def stretch(image: Image, size_px: tuple[int, int]) -> Fitted:
    """Resize to (width, height) without keeping the aspect."""
    height, width = image.shape[:2]
    return Fitted(resize(image, size_px), (size_px[0] / width, size_px[1] / height), (0.0, 0.0))


def resize(image: Image, size_px: tuple[int, int]) -> Image:
    """Resize to (width, height). Shrinks by halves first: bilinear sampling of every 2nd pixel or less would alias."""
    while image.shape[1] >= 2 * size_px[0] and image.shape[0] >= 2 * size_px[1]:
        image = halve(image)
    if (image.shape[1], image.shape[0]) == size_px:
        return image
    shrinks = image.shape[1] >= 2 * size_px[0] or image.shape[0] >= 2 * size_px[1]
    return np.asarray(cv2.resize(image, size_px, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def halve(image: Image) -> Image:
    """Half the size, each pixel the mean of about four: 10x faster than averaging areas of any other ratio."""
    size_px = max(1, image.shape[1] // 2), max(1, image.shape[0] // 2)
    return np.asarray(cv2.resize(image, size_px, interpolation=cv2.INTER_LINEAR))


def input_size(width: int, height: int, long_side_px: int, multiple_px: int) -> tuple[int, int]:
    """(width, height) of the smallest network input, sides multiples of `multiple_px`, that holds the picture scaled to
    a longer side of `long_side_px`. The shorter side is at least a quarter of the longer."""
    scale = long_side_px / max(width, height)

    def fit(side: float) -> int:
        return int(np.ceil(max(side, long_side_px / 4) / multiple_px - 1e-6)) * multiple_px

    return fit(width * scale), fit(height * scale)


def centre_size(boxes: Floats) -> tuple[Floats, Floats]:
    """(N, 4) boxes -> centres (N, 2) and sizes (N, 2), as (x, y) and (width, height)."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32), boxes[:, 2:] - boxes[:, :2]


def boxes_of(centres: Floats, sizes: Floats) -> Floats:
    """Centres (N, 2) and sizes (N, 2) -> (N, 4) boxes."""
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float32, copy=False)


def expand_to_aspect(boxes: Floats, aspect: float, padding: float = 1.25) -> Floats:
    """Grow boxes about their centres to width / height = `aspect`, then by `padding`: what a top-down crop shows.

    A box without area becomes a crop of one pixel, so nothing downstream divides by zero.
    """
    centres, sizes = centre_size(boxes)
    width = np.maximum(np.maximum(sizes[:, 0], sizes[:, 1] * aspect), 1.0) * padding
    half = width[:, None] * np.array([0.5, 0.5 / aspect], np.float32)
    return np.concatenate([centres - half, centres + half], axis=1)


def clip_boxes(boxes: Floats, width: float, height: float) -> Floats:
    """Cut boxes at the picture's edges."""
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limits).astype(np.float32, copy=False)


def area(boxes: Floats) -> Floats:
    """(N, 4) -> (N,) square pixels; 0 for boxes that are inside out."""
    sizes = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(sizes[..., 0] * sizes[..., 1])


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box of a (N, 4) with every box of b (M, 4): (N, M), 0 where both are empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = area(a)[:, None] + area(b)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def best_of(scores: Floats, count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest of scores (N,), ascending; of equal ones the first. All where there are no more."""
    if len(scores) <= count:
        return np.arange(len(scores))
    limit = np.partition(scores, -count)[-count]
    above, equal = np.flatnonzero(scores > limit), np.flatnonzero(scores == limit)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def nms(boxes: Floats, scores: Floats, iou_max: float) -> NDArray[np.intp]:
    """Indices of the boxes that greedy non-maximum suppression keeps, best first.

    Vectorised: starts with all boxes and lets those kept so far suppress, until nothing changes. The fixed point is the
    greedy answer, reached after as many rounds as the longest chain of suppressions, usually 2 or 3. Memory and time grow
    with the square of N: give it the best thousand (`best_of`).
    """
    return _suppress(iou_matrix(boxes, boxes) > iou_max, scores)


def batched_nms(boxes: Floats, scores: Floats, groups: NDArray[Any], iou_max: float) -> NDArray[np.intp]:
    """The same, where only boxes of the same group (picture, class; (N,) integers) suppress each other.

    One pass for all groups. Groups are compared, not moved apart by an offset as is common: offsets cost float32 precision.
    """
    return _suppress((iou_matrix(boxes, boxes) > iou_max) & (groups[:, None] == groups[None]), scores)


def _suppress(overlaps: NDArray[np.bool_], scores: Floats) -> NDArray[np.intp]:
    order = np.argsort(-scores, kind="stable")
    covers = np.triu(overlaps[np.ix_(order, order)], k=1)
    keep = np.ones(len(order), np.bool_)
    while True:
        kept = np.asarray(~covers[keep].any(axis=0))
        if np.array_equal(kept, keep):
            return order[keep]
        keep = kept


def rotate_quarter(image: Image, k: int) -> Image:
    """The picture turned by k x 90 degrees, counter-clockwise (`np.rot90`); k may be negative. No turn, no copy."""
    turns = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
    turn = turns[k % 4]
    return image if turn is None else np.asarray(cv2.rotate(image, turn))


def points_from_rotated(points: Floats, k: int, size_px: tuple[float, float]) -> Floats:
    """(..., 2) points found in `rotate_quarter(image, k)` -> pixels of the image, whose (width, height) is size_px. Exact."""
    x, y = points[..., 0], points[..., 1]
    width, height = np.float32(size_px[0]), np.float32(size_px[1])
    back = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[k % 4]
    return np.asarray(np.stack(back, axis=-1), np.float32)


def boxes_from_rotated(boxes: Floats, k: int, size_px: tuple[float, float]) -> Floats:
    """(N, 4) boxes found in `rotate_quarter(image, k)` -> pixels of the image, whose (width, height) is size_px. Exact."""
    corners = points_from_rotated(boxes.reshape(-1, 2, 2), k, size_px)  # (N, 2, 2): two opposite corners, in any order
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def merge_views(views: Sequence[tuple[Floats, Floats]], iou_max: float) -> tuple[Floats, Floats]:
    """Boxes (N, 4) and scores (N,) from several looks at one picture, all in its pixels -> one list without doubles.

    Best first; of several views of one person the most certain box stays.
    """
    boxes = np.concatenate([np.empty((0, 4), np.float32), *(boxes for boxes, _ in views)]).astype(np.float32, copy=False)
    scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in views)]).astype(np.float32, copy=False)
    kept = nms(boxes, scores, iou_max)
    return boxes[kept], scores[kept]


@dataclass(frozen=True)
class Crops:
    """One upright crop per person. picture = crop * scale + offset, per person."""

    pixels: Image  # (N, height, width, 3)
    scale: Floats  # (N, 2) picture pixels per crop pixel, x and y
    offset: Floats  # (N, 2) picture position of the crop's top left corner

    @property
    def to_image(self) -> Floats:
        """(N, 2, 3) affine matrices from crop to picture."""
        return crop_matrices(self.scale, self.offset)

    def points_to_image(self, points: Floats) -> Floats:
        """(N, K, 2) crop pixels -> picture pixels."""
        return np.asarray(points * self.scale[:, None] + self.offset[:, None], np.float32)

    def boxes_to_crop(self, boxes: Floats) -> Floats:
        """(N, 4) picture pixels -> each in its own crop's pixels."""
        corners = (boxes.reshape(-1, 2, 2) - self.offset[:, None]) / self.scale[:, None]
        return np.asarray(corners, np.float32).reshape(-1, 4)


def crop_matrices(scale: Floats, offset: Floats) -> Floats:
    """(N, 2, 3) affine matrices [[sx, 0, ox], [0, sy, oy]] of (N, 2) scales and offsets."""
    matrices = np.zeros((len(scale), 2, 3), np.float32)
    matrices[:, 0, 0], matrices[:, 1, 1] = scale[:, 0], scale[:, 1]
    matrices[:, :, 2] = offset
    return matrices


def crop_people(image: Image, boxes: Floats, out_wh: tuple[int, int], *, padding: float = 1.25) -> Crops:
    """Cut one crop of out_wh (width, height) per box (N, 4), box centred, aspect fitted, padded; black beyond the picture.

    A crop starts and ends between whole pixels, which makes it up to one pixel larger on each side and lets it be cut by a
    plain resize, 4x faster than a warp. Where the picture ends within a crop, it ends between whole pixels of the crop too,
    which changes the scale by half a pixel in what is seen at most. People much larger than the crop are cut from a halved
    (quartered, ...) copy of the part of the picture that they are in, made once for all of them.
    """
    near = np.minimum(np.maximum(boxes, -_FAR_PX), _FAR_PX)
    shown = expand_to_aspect(near, out_wh[0] / out_wh[1], padding)
    zoom = (shown[:, 2] - shown[:, 0]) / np.float32(out_wh[0])
    levels = np.minimum(np.frexp(np.maximum(zoom, 1))[1] - 1, _max_level(image))  # how often 2 goes into the zoom
    shrink = np.ldexp(np.float32(1), levels)[:, None]
    window = shown.reshape(-1, 2, 2) / shrink[:, None]  # (N, low and high, x and y) in pixels of the halved copies
    low, high = np.floor(window[:, 0], out=window[:, 0]), np.ceil(window[:, 1], out=window[:, 1])
    step = (high - low) / np.array(out_wh, np.float32)
    limit = np.floor(np.array(image.shape[1::-1], np.float32) / shrink)
    source = np.minimum(np.maximum(window, 0), limit[:, None])  # what of it is picture
    target = np.rint((source - low[:, None]) / step[:, None])  # and where in the crop that is, between whole pixels too
    span = target[:, 1] - target[:, 0]
    seen = span.min(axis=1) > 0
    if not seen.all():
        source[~seen], target[~seen], span[~seen] = window[~seen], 0, out_wh  # nothing to cut: the window as it is
        target[~seen, 1] = out_wh
    step = (source[:, 1] - source[:, 0]) / span
    offset = source[:, 0] - target[:, 0] * step
    pixels = np.empty((len(boxes), out_wh[1], out_wh[0], 3), np.uint8)
    cuts: dict[int, list[Cut]] = {}
    for i, (from_px, to_px) in enumerate(zip(source.astype(np.intp).tolist(), target.astype(np.intp).tolist(), strict=True)):
        if seen[i]:
            cuts.setdefault(int(levels[i]), []).append((*from_px, *to_px, pixels[i]))
        else:
            pixels[i] = 0
    for level, own in cuts.items():
        _cut_level(image, level, own)
    return Crops(pixels, step * shrink, offset * shrink)


def _cut_level(image: Image, level: int, cuts: list[Cut]) -> None:
    """Resize windows of the picture halved `level` times into windows of the crops; the rest becomes black."""
    left, top = min(cut[0][0] for cut in cuts), min(cut[0][1] for cut in cuts)
    right, bottom = max(cut[1][0] for cut in cuts), max(cut[1][1] for cut in cuts)
    image = image[top << level : bottom << level, left << level : right << level]
    for _ in range(level):
        image = halve(image)
    for (x0, y0), (x1, y1), (u0, v0), (u1, v1), out in cuts:  # OpenCV has no batched resize; this is most of the time
        if (u0, v0, u1, v1) != (0, 0, out.shape[1], out.shape[0]):
            out[:v0], out[v1:], out[v0:v1, :u0], out[v0:v1, u1:] = 0, 0, 0, 0
        inner = image[y0 - top : y1 - top, x0 - left : x1 - left]
        cv2.resize(inner, (u1 - u0, v1 - v0), dst=out[v0:v1, u0:u1], interpolation=cv2.INTER_LINEAR)


def _max_level(image: Image) -> int:
    return max(0, int(np.log2(min(image.shape[:2]))) - 1)
