"""Draws people, zones and alerts on pictures. All functions paint on the given (H, W, 3) uint8 BGR image, in its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from common.messages import Keypoint, Track
from common.skeleton import KEYPOINTS, LIMBS

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]  # BGR

INK: Colour = (31, 24, 20)
PAPER: Colour = (241, 236, 232)
GREY: Colour = (160, 148, 138)
LEFT: Colour = (66, 165, 255)  # orange: the person's left
RIGHT: Colour = (247, 195, 79)  # light blue: the person's right
MIDDLE: Colour = (235, 235, 235)
AMBER: Colour = (38, 167, 255)
RED: Colour = (80, 83, 239)
GREEN: Colour = (106, 187, 102)
BLUE: Colour = (245, 165, 66)
STATE_COLOURS: dict[str, Colour] = {"normal": GREEN, "falling": AMBER, "fallen": RED, "recovered": BLUE}
SEVERITY_COLOURS: dict[str, Colour] = {"critical": RED, "warning": AMBER, "info": BLUE}
MIN_SCORE = 0.2  # keypoints below are guesses

_FONT = cv2.FONT_HERSHEY_DUPLEX
_SHIFT = 4  # sub-pixel bits: limbs do not jitter by whole pixels from frame to frame


def unit(image: Image) -> float:
    """Size of strokes and letters for this image: 1.0 at 600 pixels of height, never below 0.9."""
    return max(float(image.shape[0]) / 600, 0.9)


def text(image: Image, words: str, at: tuple[int, int], *, scale: float = 0.55, colour: Colour = PAPER) -> int:
    """Write words with the base line's left end at `at`; returns their width in pixels."""
    thickness = 1 if scale < 0.9 else 2
    cv2.putText(image, words, at, _FONT, scale, colour, thickness, cv2.LINE_AA)
    return int(cv2.getTextSize(words, _FONT, scale, thickness)[0][0])


def text_size(words: str, scale: float) -> tuple[int, int]:
    """Width and height in pixels of words without descenders."""
    (width, height), _ = cv2.getTextSize(words, _FONT, scale, 1 if scale < 0.9 else 2)
    return int(width), int(height)


def plate(image: Image, corner: tuple[int, int], size: tuple[int, int], colour: Colour, *, alpha: float = 0.85) -> None:
    """A translucent rectangle; what lies outside of the image is cut off."""
    x0, y0 = max(corner[0], 0), max(corner[1], 0)
    x1, y1 = min(corner[0] + size[0], image.shape[1]), min(corner[1] + size[1], image.shape[0])
    if x1 > x0 and y1 > y0:
        area = image[y0:y1, x0:x1]
        area[:] = (area * (1 - alpha) + np.array(colour) * alpha).astype(np.uint8)


def label(image: Image, words: str, at: tuple[int, int], colour: Colour, *, scale: float = 0.5) -> tuple[int, int]:
    """Words on a plate, its upper left corner at `at`, moved so that all of it is visible; returns the plate's size."""
    scale *= unit(image)
    width, height = text_size(words, scale)
    pad = round(5 * unit(image))
    size = (width + 2 * pad, height + 2 * pad)
    x = min(max(at[0], 0), max(image.shape[1] - size[0], 0))
    y = min(max(at[1], 0), max(image.shape[0] - size[1], 0))
    plate(image, (x, y), size, colour)
    text(image, words, (x + pad, y + pad + height), scale=scale, colour=ink_on(colour))
    return size


def ink_on(colour: Colour) -> Colour:
    """Dark or light letters, whichever reads better on the colour."""
    blue, green, red = colour
    return INK if 0.114 * blue + 0.587 * green + 0.299 * red > 130 else PAPER


def zone(image: Image, name: str, polygon_norm: Sequence[tuple[float, float]], *, occupied: bool, alarmed: bool) -> None:
    """A translucent polygon with its name at its lower left: amber, brighter when somebody is in it, red when alarmed."""
    height, width = image.shape[:2]
    points = np.array([(x * width, y * height) for x, y in polygon_norm], np.float32)
    colour = RED if alarmed else AMBER
    strength = 0.38 if alarmed else 0.28 if occupied else 0.16
    cover = image.copy()
    cv2.fillPoly(cover, [_fixed(points)], colour, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(cover, strength, image, 1 - strength, 0, image)
    cv2.polylines(image, [_fixed(points)], True, colour, max(1, round(2 * unit(image))), cv2.LINE_AA, _SHIFT)
    lower_left = points[np.argmax(points[:, 1] - points[:, 0])]
    label(image, name, (round(float(lower_left[0])), round(float(lower_left[1]) + 3)), colour, scale=0.42)


def skeleton(image: Image, keypoints: Sequence[Keypoint], *, faded: bool = False) -> None:
    """Limbs coloured by the person's side, with a dark outline so that they read on any ground.

    keypoints: 17 x (x, y, score), pixels of the image. Those with a score below MIN_SCORE are left out.
    """
    canvas = image.copy() if faded else image
    width = max(2, round(3 * unit(image)))
    good = [point[2] >= MIN_SCORE for point in keypoints]
    points = _fixed(np.array([point[:2] for point in keypoints], np.float32))
    limbs = [(a, b) for a, b in LIMBS if good[a] and good[b]]
    for a, b in limbs:
        cv2.line(canvas, _at(points, a), _at(points, b), INK, width + 2, cv2.LINE_AA, _SHIFT)
    for a, b in limbs:
        cv2.line(canvas, _at(points, a), _at(points, b), limb_colour(a, b), width, cv2.LINE_AA, _SHIFT)
    radius = round(1.3 * width) << _SHIFT
    for i, seen in enumerate(good):
        if seen:
            cv2.circle(canvas, _at(points, i), radius + (1 << _SHIFT), INK, -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(canvas, _at(points, i), radius, limb_colour(i, i), -1, cv2.LINE_AA, _SHIFT)
    if faded:
        cv2.addWeighted(canvas, 0.45, image, 0.55, 0, image)


def limb_colour(a: int, b: int) -> Colour:
    """LEFT or RIGHT of the person, MIDDLE for what joins both sides."""
    sides = {KEYPOINTS[i].split("_")[0] for i in (a, b)} - {"nose"}
    if sides == {"left"}:
        return LEFT
    return RIGHT if sides == {"right"} else MIDDLE


def person(image: Image, track: Track, scale: tuple[float, float]) -> None:
    """Box, skeleton and label of one track. scale: pixels of the image per pixel of the captured frame, (x, y)."""
    sx, sy = scale
    colour = STATE_COLOURS.get(track.state, GREY)
    faded = track.missed_s > 0
    x0, y0, x1, y1 = (round(v * s) for v, s in zip(track.box_xyxy_px, (sx, sy, sx, sy), strict=True))
    corners(image, (x0, y0, x1, y1), GREY if faded else colour)
    if track.keypoints_px:
        skeleton(image, [(x * sx, y * sy, score) for x, y, score in track.keypoints_px], faded=faded)
    words = f"id {track.track_id}"
    if track.state != "normal":
        words += f" {track.state}"
    if faded:
        words += f" unseen {track.missed_s:.1f} s"
    label(image, words, (x0, y0 - round(27 * unit(image))), GREY if faded else colour)


def corners(image: Image, box: tuple[int, int, int, int], colour: Colour) -> None:
    """A box as four corners with a thin frame, which hides less of the picture than a full one."""
    x0, y0, x1, y1 = box
    cover = image.copy()
    cv2.rectangle(cover, (x0, y0), (x1, y1), colour, 1, cv2.LINE_AA)
    cv2.addWeighted(cover, 0.5, image, 0.5, 0, image)
    length = max(6, min(x1 - x0, y1 - y0) // 5)
    width = max(2, round(2.5 * unit(image)))
    for x, dx in ((x0, length), (x1, -length)):
        for y, dy in ((y0, length), (y1, -length)):
            cv2.line(image, (x, y), (x + dx, y), colour, width, cv2.LINE_AA)
            cv2.line(image, (x, y), (x, y + dy), colour, width, cv2.LINE_AA)


def banner(image: Image, words: str, colour: Colour, *, row: int = 0) -> None:
    """A bar across the picture, below the head line; rows stack downwards."""
    u = unit(image)
    height = round(34 * u)
    top = round(34 * u) + row * (height + round(4 * u))
    plate(image, (0, top), (image.shape[1], height), colour, alpha=0.88)
    scale = 0.7 * u
    text_height = text_size(words, scale)[1]
    text(image, words, (round(14 * u), top + (height + text_height) // 2), scale=scale, colour=ink_on(colour))


def head_line(image: Image, left: str, right: str) -> None:
    """A dark bar on top: what is seen, and when."""
    u = unit(image)
    height = round(30 * u)
    plate(image, (0, 0), (image.shape[1], height), INK, alpha=0.75)
    scale = 0.52 * u
    width, text_height = text_size(right, scale)
    base = (height + text_height) // 2
    text(image, left, (round(14 * u), base), scale=scale)
    text(image, right, (image.shape[1] - width - round(14 * u), base), scale=scale, colour=PAPER)


def _fixed(points: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _at(points: NDArray[np.int32], i: int) -> tuple[int, int]:
    return int(points[i, 0]), int(points[i, 1])
