"""What decoders share: which outputs are meant, and where the best cell of each map is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from common.runtimes.base import ModelError, Outputs
from common.skeleton import NUM_KEYPOINTS

Indices = NDArray[np.intp]


def floats(outputs: Outputs, decoder: str, count: int) -> dict[str, Floats]:
    """The outputs with floats, by name, as float32; raises ModelError unless they are `count`.

    Integers are passed over: PP-TinyPose also gives the positions of its maxima. Quantised outputs are floats here already,
    engines dequantise.
    """
    found = {name: array for name, array in outputs.items() if np.issubdtype(array.dtype, np.floating)}
    if len(found) != count:
        wanted = "one output" if count == 1 else f"{count} outputs"
        raise ModelError(f"decoder {decoder!r} expects {wanted} of floats, the network gave {shown(outputs)}")
    return {name: np.asarray(array, np.float32) for name, array in found.items()}


def only(outputs: Outputs, decoder: str) -> Floats:
    """The one output with floats."""
    (array,) = floats(outputs, decoder, 1).values()
    return array


def shown(outputs: Outputs) -> str:
    """Names and shapes, for messages."""
    return ", ".join(f"{name} {array.shape}" for name, array in outputs.items()) or "none"


@dataclass(frozen=True)
class Maps:
    """17 maps of each person as rows of cells, P = N * 17 of them, row by row of the map."""

    cells: Floats  # (P, rows * columns), contiguous
    rows: int
    columns: int
    joint_major: bool  # map i belongs to joint i // N of person i % N; else to joint i % 17 of person i // 17

    def best(self) -> tuple[Indices, Floats]:
        """(P,) the first cell with the largest value, and that value.

        A map without a value above 0 has its keypoint in cell 0 with score 0 (as in AlphaPose); one with NaN has the score NaN,
        which the estimator refuses.
        """
        cell = self.cells.argmax(axis=1)
        score = self.at(cell[None])[0]
        cell *= score > 0
        return cell, np.maximum(score, 0, out=score)

    def at(self, cell: Indices) -> Floats:
        """(M, P) cells -> (M, P) values, each of its own map."""
        values: Floats = self.cells.ravel().take(cell + np.arange(len(self.cells)) * self.cells.shape[1])
        return values

    def positions(self, cell: Indices) -> Indices:
        """(P,) cells -> (2, P): their columns and rows."""
        rows, columns = np.divmod(cell, self.columns)
        return np.stack([columns, rows])

    def inside(self, position: Indices) -> NDArray[np.bool_]:
        """(P,) which positions (2, P) have neighbours on all sides."""
        return np.asarray(((position > 0) & (position < [[self.columns - 1], [self.rows - 1]])).all(axis=0))

    def keypoints(self, position: Floats | Indices, scale: tuple[float, float], score: Floats) -> Floats:
        """Positions (2, P) in cells and scores (P,) -> (N, 17, 3) float32. Cell c lies at scale * c + 0.5 crop pixels."""
        found = np.empty((len(self.cells), 3), np.float32)
        found[:, :2] = (position * np.array(scale)[:, None] + 0.5).T
        found[:, 2] = score
        return self.by_person(found)

    def by_person(self, values: Floats) -> Floats:
        """(P, K) -> (N, 17, K)."""
        if self.joint_major:
            return np.ascontiguousarray(values.reshape(NUM_KEYPOINTS, -1, values.shape[1]).swapaxes(0, 1))
        return values.reshape(-1, NUM_KEYPOINTS, values.shape[1])


def maps_of(array: Floats, decoder: str, count: int, *, channels_last: bool | None = None) -> Maps:
    """Heatmaps (N, 17, h, w), or (N, h, w, 17) as TFLite gives them, of `count` people.

    channels_last: the layout where it is known; None: 17 on axis 1 decides. Raises ModelError for another shape and for maps of
    fewer than 3 x 3 cells.
    """
    if array.ndim == 4 and array.shape[0] == count:
        first, last = array.shape[1] == NUM_KEYPOINTS, array.shape[3] == NUM_KEYPOINTS
        if first and channels_last is not True and min(array.shape[2:]) >= 3:
            rows, columns = array.shape[2:]
            return Maps(np.ascontiguousarray(array.reshape(-1, rows * columns)), rows, columns, joint_major=False)
        if last and channels_last is not False and min(array.shape[1:3]) >= 3:
            rows, columns = array.shape[1:3]
            tall = np.ascontiguousarray(array.reshape(-1, NUM_KEYPOINTS))  # (N * h * w, 17)
            turned = cv2.transpose(tall) if count else tall.T  # 4x faster than a strided copy
            return Maps(np.asarray(turned).reshape(-1, rows * columns), rows, columns, joint_major=True)
    wanted = f"({count}, 17, h, w) or ({count}, h, w, 17), h and w at least 3"
    raise ModelError(f"decoder {decoder!r} expects heatmaps {wanted}, got {array.shape}")
