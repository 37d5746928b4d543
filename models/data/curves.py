"""Smooth curves through given values which never overshoot them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def monotone_cubic(x: Floats, y: Floats, at: Floats) -> Floats:
    """Piecewise cubic Hermite interpolation (PCHIP; Fritsch and Butland, 1984).

    x: (N,) increasing, y: (N,), at: (M,) inside the range of x, or held at its ends. Returns (M,).
    """
    x, y, at = (np.asarray(values, dtype=np.float64) for values in (x, y, at))
    step = np.diff(x)
    slope = np.diff(y) / step
    tangent = np.zeros_like(y)
    tangent[0], tangent[-1] = slope[0], slope[-1]
    if len(x) > 2:
        before, after = slope[:-1], slope[1:]
        near, far = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
        bends = before * after > 0  # elsewhere the curve turns or rests, and its tangent is level
        safe_before, safe_after = np.where(bends, before, 1.0), np.where(bends, after, 1.0)
        tangent[1:-1] = np.where(bends, (near + far) / (near / safe_before + far / safe_after), 0.0)
    at = np.clip(at, x[0], x[-1])
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(step) - 1)
    h, u = step[i], (at - x[i]) / step[i]
    curve: Floats = (
        (1 + 2 * u) * (1 - u) ** 2 * y[i]
        + u * (1 - u) ** 2 * h * tangent[i]
        + u * u * (3 - 2 * u) * y[i + 1]
        + u * u * (u - 1) * h * tangent[i + 1]
    )
    return curve
