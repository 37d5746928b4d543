"""How far the raw outputs of two networks lie apart, over many batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.runtimes.base import Outputs


@dataclass(frozen=True)
class OutputError:
    """Differences of raw outputs, the worst output of several. range: largest minus smallest value of the reference."""

    max_of_range: float
    mean_of_range: float
    noise: float  # root mean square of the difference / standard deviation of the reference; 1 is what a dead network gives

    @property
    def db(self) -> float:
        """Signal to noise ratio in decibel."""
        return float(-20 * np.log10(max(self.noise, 1e-12)))


class ErrorMeter:
    """Gathers OutputError over many batches without keeping them."""

    def __init__(self) -> None:
        self._parts: dict[int, _Part] = {}
        self.comparable = True

    def add(self, reference: Outputs, candidate: Outputs) -> None:
        """Outputs are matched by their order; channels first and last are the same. What does not match is not comparable."""
        pairs = list(zip(_floats(reference), _floats(candidate), strict=False))
        if len(_floats(reference)) != len(_floats(candidate)):
            self.comparable = False
        for i, (a, b) in enumerate(pairs):
            b = _same_layout(a, b)
            if a.shape != b.shape:
                self.comparable = False
                continue
            self._parts.setdefault(i, _Part()).add(a.astype(np.float64), b.astype(np.float64))

    def result(self) -> OutputError | None:
        """None where the outputs are not comparable, as with two different networks."""
        if not self.comparable or not self._parts:
            return None
        errors = [part.result() for part in self._parts.values()]
        return OutputError(
            max(error.max_of_range for error in errors),
            max(error.mean_of_range for error in errors),
            max(error.noise for error in errors),
        )


class _Part:
    def __init__(self) -> None:
        self.low, self.high, self.worst = np.inf, -np.inf, 0.0
        self.count = 0
        self.total = self.squares = self.error = self.error_squares = 0.0

    def add(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
        difference = np.abs(a - b)
        self.low, self.high = min(self.low, float(a.min())), max(self.high, float(a.max()))
        self.worst = max(self.worst, float(difference.max()))
        self.count += a.size
        self.total += float(a.sum())
        self.squares += float((a * a).sum())
        self.error += float(difference.sum())
        self.error_squares += float((difference * difference).sum())

    def result(self) -> OutputError:
        if not np.isfinite([self.worst, self.error]).all():
            return OutputError(np.inf, np.inf, np.inf)
        span = max(self.high - self.low, 1e-12)
        spread = np.sqrt(max(self.squares / self.count - (self.total / self.count) ** 2, 1e-24))
        return OutputError(
            self.worst / span, self.error / self.count / span, float(np.sqrt(self.error_squares / self.count) / spread)
        )


def _floats(outputs: Outputs) -> list[NDArray[np.floating]]:
    return [value for value in outputs.values() if np.issubdtype(value.dtype, np.floating) and value.size]


def _same_layout(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    if a.ndim != 4 or b.ndim != 4 or a.shape == b.shape:
        return b
    for order in ((0, 3, 1, 2), (0, 2, 3, 1)):
        if tuple(b.shape[axis] for axis in order) == a.shape:
            return b.transpose(order)
    return b
