"""Exact assignment for small cost matrices.

Written out because there are at most some twenty people in a picture: 6 x 6 takes about 60 us here, while scipy adds
100 MB to the slim image and `lap` a compiled dependency for every architecture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def assign(cost: NDArray[np.float64], limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of the cheapest assignment, where leaving a pair apart costs `limit`.

    cost: (R, C). Pairs that cost `limit` or more are not returned. Hungarian algorithm with potentials, O(R^2 C).
    """
    rows, columns = cost.shape
    if rows == 0 or columns == 0 or float(cost.min()) >= limit:
        return []
    if rows > columns:
        return sorted((row, column) for column, row in assign(cost.T, limit))
    clipped = np.minimum(cost, limit).tolist()
    owner = _hungarian(clipped, rows, columns)
    return sorted(
        (row - 1, column - 1)
        for column, row in enumerate(owner)
        if column > 0 and row > 0 and clipped[row - 1][column - 1] < limit
    )


def _hungarian(cost: list[list[float]], rows: int, columns: int) -> list[int]:
    """For each column (from 1) the row (from 1) that has it, 0 for none; rows <= columns."""
    row_potential = [0.0] * (rows + 1)
    column_potential = [0.0] * (columns + 1)
    owner = [0] * (columns + 1)
    for row in range(1, rows + 1):
        owner[0] = row
        column = 0
        least = [math.inf] * (columns + 1)
        back = [0] * (columns + 1)
        used = [False] * (columns + 1)
        while owner[column] != 0:
            used[column] = True
            current, delta, following = owner[column], math.inf, 0
            for j in range(1, columns + 1):
                if used[j]:
                    continue
                reduced = cost[current - 1][j - 1] - row_potential[current] - column_potential[j]
                if reduced < least[j]:
                    least[j], back[j] = reduced, column
                if least[j] < delta:
                    delta, following = least[j], j
            for j in range(columns + 1):
                if used[j]:
                    row_potential[owner[j]] += delta
                    column_potential[j] -= delta
                else:
                    least[j] -= delta
            column = following
        while column:
            owner[column] = owner[back[column]]
            column = back[column]
    return owner
