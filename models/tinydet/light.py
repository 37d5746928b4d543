"""What cameras do to colours: light, darkness, infrared, blur, noise, JPEG. People do not change by it, so boxes stay."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from common.imaging import Image  # imported before OpenCV: it limits what OpenCV decodes

import cv2  # isort: skip

Rng = np.random.Generator


def photograph(rng: Rng, image: Image) -> Image:
    """(H, W, 3) uint8 RGB as another camera could have taken it, another hour."""
    image = exposed(rng, image)
    if rng.random() < 0.15:
        image = grey(rng, image)
    if rng.random() < 0.25:
        image = blurred(rng, image)
    if rng.random() < 0.2:
        image = noisy(rng, image)
    if rng.random() < 0.3:
        image = compressed(rng, image)
    return image


def exposed(rng: Rng, image: Image) -> Image:
    """Gamma, gain and offset, and a gain of each colour (lamps, white balance); one in eight is a room at night."""
    levels = np.arange(256, dtype=np.float32) / 255
    dark = rng.random() < 0.125
    gamma = rng.uniform(1.2, 2.2) if dark else np.exp(rng.uniform(-0.4, 0.4))
    gain = rng.uniform(0.25, 0.7) if dark else rng.uniform(0.75, 1.3)
    tint = 1 + rng.uniform(-0.12, 0.12, 3)
    table = (levels[:, None] ** gamma * gain * tint + rng.uniform(-0.06, 0.06)) * 255
    return np.asarray(cv2.LUT(image, table.clip(0, 255).astype(np.uint8)[None]))


def grey(rng: Rng, image: Image) -> Image:
    """One channel, as at night under infrared lamps: half of them brighter in the middle, where the lamp points."""
    one = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if rng.random() < 0.5:
        height, width = one.shape
        x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
        far = ((np.arange(width) - x) ** 2)[None] + ((np.arange(height) - y) ** 2)[:, None]
        one = (one * np.exp(-far / (rng.uniform(0.4, 1.0) * width) ** 2)).astype(np.uint8)
    return np.asarray(cv2.cvtColor(one, cv2.COLOR_GRAY2RGB))


def blurred(rng: Rng, image: Image) -> Image:
    """Out of focus, moved while the shutter was open, or enlarged from fewer pixels."""
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)))
    if kind == 1:
        length = int(rng.integers(3, 12))
        kernel = np.zeros((length, length), np.float32)
        angle, middle = rng.uniform(0, np.pi), (length - 1) / 2
        reach = np.array([np.cos(angle), np.sin(angle)]) * middle
        start, end = (tuple(int(v) for v in np.round(middle + side * reach)) for side in (-1, 1))
        cv2.line(kernel, start, end, 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))
    height, width = image.shape[:2]
    share = rng.uniform(0.3, 0.8)
    small = cv2.resize(image, (max(1, int(width * share)), max(1, int(height * share))), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


@lru_cache(maxsize=1)
def _noise() -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """(1024, 1024, 3): drawing a million normal numbers for each picture would take longer than all else."""
    return np.asarray(np.random.default_rng(0).normal(0, 64, (1024, 1024, 3)), np.int16)


def noisy(rng: Rng, image: Image) -> Image:
    """A sensor's noise, of a standard deviation of 2 to 14 levels."""
    height, width = image.shape[:2]
    tile = _noise()
    y, x = (int(rng.integers(0, max(1, 1024 - side))) for side in (height, width))
    grain = np.resize(tile[y : y + height, x : x + width], image.shape)
    return (image + (grain * np.float32(rng.uniform(2, 14) / 64)).astype(np.int16)).clip(0, 255).astype(np.uint8)


def compressed(rng: Rng, image: Image) -> Image:
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
