"""Constant-velocity Kalman filters of boxes, all tracks at once, in seconds.

A box is four independent axes (centre x, centre y, width, height): the usual aspect ratio runs away when somebody falls,
width and height do not. Velocities fade (an Ornstein-Uhlenbeck process), so a person who is missed for a second is looked
for about where a walker would be, and one who fell is not looked for below the floor. An axis is five numbers:
(value, rate, variance, covariance, variance of the rate), in pixels and seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# How long a velocity lasts: people walk on for a second, a drop ends after half of one, shapes settle at once.
FADE_S: Array = np.array([1.0, 0.4, 0.2, 0.2])
# White acceleration noise, body heights^2 / s^3: from standing to walking (0.8 heights/s) within about 0.3 s.
NOISE: Array = np.array([2.0, 2.0, 1.0, 1.0])
MEASURED: Array = np.array([0.04, 0.04, 0.08, 0.08])  # standard deviation of a detection, in body heights
RATE_AT_BIRTH = 0.8  # body heights/s: walking


def start(boxes: Array, sizes: Array) -> Array:
    """Filters for new boxes. boxes: (N, 4) xyxy pixels, sizes: (N,) pixels. Returns (N, 4, 5)."""
    axes = np.zeros((len(boxes), 4, 5))
    axes[:, :, 0] = to_axes(boxes)
    axes[:, :, 2] = (MEASURED * sizes[:, None]) ** 2
    axes[:, :, 4] = (RATE_AT_BIRTH * sizes[:, None]) ** 2
    return axes


def predict(axes: Array, sizes: Array, elapsed_s: float) -> Array:
    """Filters `elapsed_s` later. axes: (N, 4, 5), sizes: (N,) pixels. Returns (N, 4, 5)."""
    keep = np.exp(-elapsed_s / FADE_S)
    reach = FADE_S * (1.0 - keep)
    value, rate, variance, covariance, rate_variance = np.moveaxis(axes, 2, 0)
    noise = NOISE * sizes[:, None] ** 2
    step = min(elapsed_s, 1.0)  # an hour without frames must not make numbers that overflow
    return np.stack(
        [
            value + reach * rate,
            keep * rate,
            variance + 2 * reach * covariance + reach**2 * rate_variance + noise * step**3 / 3,
            keep * (covariance + reach * rate_variance) + noise * step**2 / 2,
            keep**2 * rate_variance + noise * step,
        ],
        axis=2,
    )


def correct(axes: Array, boxes: Array, sizes: Array) -> Array:
    """Filters after seeing `boxes`. axes: (N, 4, 5), boxes: (N, 4) xyxy pixels. Returns (N, 4, 5)."""
    value, rate, variance, covariance, rate_variance = np.moveaxis(axes, 2, 0)
    total = variance + (MEASURED * sizes[:, None]) ** 2
    gain, rate_gain = variance / total, covariance / total
    surprise = to_axes(boxes) - value
    return np.stack(
        [
            value + gain * surprise,
            rate + rate_gain * surprise,
            (1 - gain) * variance,
            (1 - gain) * covariance,
            rate_variance - rate_gain * covariance,
        ],
        axis=2,
    )


def to_axes(boxes: Array) -> Array:
    """(N, 4) xyxy to (N, 4) centre x, centre y, width, height."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def to_boxes(axes: Array) -> Array:
    """(N, 4, 5) filters to (N, 4) xyxy."""
    centre, half = axes[:, :2, 0], np.maximum(axes[:, 2:, 0], 1.0) / 2
    return np.concatenate([centre - half, centre + half], axis=1)
