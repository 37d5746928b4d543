"""A drawing as a picture, by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.edgetpu.drawing import COLOURS, Drawing, Look
from models.edgetpu.layout import BOX_HEIGHT, BOX_WIDTH, MARGIN

SCALE = 2  # OpenCV's stroke font is only legible at twice the size of the SVG's text
MAX_PIXELS = 60_000_000
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = (39, 31, 26)
_GREY = (147, 132, 122)


def to_picture(drawing: Drawing) -> NDArray[np.uint8]:
    """(height, width, 3) uint8, BGR; twice the drawing's size, less where that would be above 60 megapixels."""
    scale = min(SCALE, (MAX_PIXELS / (drawing.width * drawing.height)) ** 0.5)
    image = np.full((int(drawing.height * scale) + 1, int(drawing.width * scale) + 1, 3), 255, np.uint8)
    _text(image, drawing.title, MARGIN, 28, 0.5, scale, bold=True)
    for number, (look, meaning) in enumerate(drawing.legend):
        top = 40 + 20 * number
        _box(image, MARGIN, top, 24, 13, look, scale)
        _text(image, meaning, MARGIN + 32, top + 11, 0.4, scale)
    for line in drawing.lines:
        points = np.asarray([[x * scale, y * scale] for x, y in line.points], np.int32).reshape(-1, 1, 2)
        cv2.polylines(image, [points], False, _GREY, max(1, round(1.1 * scale)), cv2.LINE_AA)
        if line.label:
            x, y = line.points[-1] if line.label.startswith("to") else line.points[0]
            _text(image, line.label, x + 5, y + (4 if line.label.startswith("to") else 2), 0.34, scale, halo=True)
    for node in drawing.nodes:
        _box(image, node.x, node.y, BOX_WIDTH, BOX_HEIGHT, node.look, scale)
        _text(image, node.title, node.x + BOX_WIDTH / 2, node.y + 15, 0.4, scale, bold=True, centre=True)
        _text(image, node.detail, node.x + BOX_WIDTH / 2, node.y + 28, 0.36, scale, centre=True)
    return image


def _box(image: NDArray[np.uint8], x: float, y: float, width: float, height: float, look: Look, scale: float) -> None:
    fill, border = (_bgr(colour) for colour in COLOURS[look])
    one, two = (round(x * scale), round(y * scale)), (round((x + width) * scale), round((y + height) * scale))
    cv2.rectangle(image, one, two, fill, -1)
    if look == "stranded":
        _dashes(image, one, two, border, scale)
    else:
        cv2.rectangle(image, one, two, border, max(1, round((2.4 if look == "off" else 1.4) * scale)), cv2.LINE_AA)


def _dashes(
    image: NDArray[np.uint8], one: tuple[int, int], two: tuple[int, int], colour: tuple[int, int, int], scale: float
) -> None:
    step, thick = round(8 * scale), max(1, round(1.4 * scale))
    for x in range(one[0], two[0], step):
        for y in (one[1], two[1]):
            cv2.line(image, (x, y), (min(x + step // 2, two[0]), y), colour, thick)
    for y in range(one[1], two[1], step):
        for x in (one[0], two[0]):
            cv2.line(image, (x, y), (x, min(y + step // 2, two[1])), colour, thick)


def _text(
    image: NDArray[np.uint8],
    text: str,
    x: float,
    y: float,
    size: float,
    scale: float,
    *,
    bold: bool = False,
    centre: bool = False,
    halo: bool = False,
) -> None:
    plain = text.encode("ascii", "replace").decode()
    thick = max(1, round((1.0 if bold else 0.7) * scale))
    (width, _), _ = cv2.getTextSize(plain, _FONT, size * scale, thick)
    if centre and width > (room := (BOX_WIDTH - 10) * scale):
        size, width = size * room / width, round(room)
    place = (round(x * scale - (width / 2 if centre else 0)), round(y * scale))
    if halo:
        cv2.putText(image, plain, place, _FONT, size * scale, (255, 255, 255), thick + round(2.5 * scale), cv2.LINE_AA)
    cv2.putText(image, plain, place, _FONT, size * scale, _INK, thick, cv2.LINE_AA)


def _bgr(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return blue, green, red
