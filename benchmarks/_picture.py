"""Bars drawn with OpenCV, for results that are to be seen at a glance."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
FONT = cv2.FONT_HERSHEY_SIMPLEX
WIDTH_PX, LEFT_PX, BAR_PX, GAP_PX, TOP_PX = 1280, 120, 46, 26, 56


def stacked_bars(
    path: Path, title: str, bars: dict[str, dict[str, float]], colours: dict[str, Colour], *, unit: str = "ms"
) -> None:
    """Write a PNG with one horizontal bar for each entry of `bars`: parts by name, in order, in BGR `colours`."""
    longest = max(sum(parts.values()) for parts in bars.values())
    scale = (WIDTH_PX - LEFT_PX - 110) / longest
    names = list(colours)
    height = TOP_PX + len(bars) * (BAR_PX + GAP_PX) + 34 * ((len(names) + 3) // 4) + 24
    image: NDArray[np.uint8] = np.full((height, WIDTH_PX, 3), 255, np.uint8)
    _text(image, title, (20, 34), size=0.7)
    for i, (label, parts) in enumerate(bars.items()):
        top = TOP_PX + i * (BAR_PX + GAP_PX)
        _text(image, label, (20, top + 30))
        at = float(LEFT_PX)
        for name, value in parts.items():
            end = at + value * scale
            cv2.rectangle(image, (round(at), top), (round(end), top + BAR_PX), colours[name], cv2.FILLED)
            at = end
        _text(image, f"{sum(parts.values()):.1f} {unit}", (round(at) + 8, top + 30))
    top = TOP_PX + len(bars) * (BAR_PX + GAP_PX)
    for i, name in enumerate(names):
        x, y = LEFT_PX + (i % 4) * 280, top + 34 * (i // 4)
        cv2.rectangle(image, (x, y), (x + 22, y + 22), colours[name], cv2.FILLED)
        _text(image, name, (x + 30, y + 17))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def _text(image: NDArray[np.uint8], text: str, at: tuple[int, int], *, size: float = 0.55) -> None:
    cv2.putText(image, text, at, FONT, size, (40, 40, 40), 1, cv2.LINE_AA)
