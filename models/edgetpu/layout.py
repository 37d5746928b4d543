"""Places the operators of a network on a sheet, top down, branches side by side.

A small layered drawing after Sugiyama: an operator's layer is its longest way from an input; in each layer operators are
ordered by the mean place of their neighbours; then each is drawn to it, as far as its own neighbours leave room.
Long networks would make a ribbon; they are cut into columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BOX_WIDTH, BOX_HEIGHT = 204, 34
GAP_X, GAP_Y = 18, 22
MARGIN = 28
COLUMN_GAP = 60
MAX_ROWS = 44
SWEEPS = 6


@dataclass(frozen=True)
class Box:
    """A node's place. x, y: its upper left corner, px of the sheet; column: the part of a cut network."""

    node: int
    x: float
    y: float
    column: int


@dataclass(frozen=True)
class Sheet:
    """boxes: by node; edges: (from, to); width, height: px."""

    boxes: dict[int, Box]
    edges: tuple[tuple[int, int], ...]
    width: float
    height: float


def lay_out(count: int, edges: Sequence[tuple[int, int]]) -> Sheet:
    """Places `count` nodes; edges go from a lower number to a higher one, as operators lie in a file."""
    layers = _layers(count, edges)
    rows = [[node for node in range(count) if layers[node] == layer] for layer in range(max(layers, default=-1) + 1)]
    above: dict[int, list[int]] = {node: [] for node in range(count)}
    below: dict[int, list[int]] = {node: [] for node in range(count)}
    for start, end in edges:
        above[end].append(start)
        below[start].append(end)
    places = _order(rows, above, below)
    return _sheet(rows, places, tuple(edges))


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    layers = [0] * count
    for start, end in sorted(edges, key=lambda edge: edge[1]):
        layers[end] = max(layers[end], layers[start] + 1)
    # A node that hangs from a deep one only, such as a side input, goes down to just above its first reader.
    users: dict[int, list[int]] = {}
    for start, end in edges:
        users.setdefault(start, []).append(end)
    sources = {end for _, end in edges}
    for node in range(count):
        if node not in sources and node in users:
            layers[node] = max(layers[node], min(layers[end] for end in users[node]) - 1)
    return layers


def _order(rows: list[list[int]], above: dict[int, list[int]], below: dict[int, list[int]]) -> dict[int, float]:
    """The x of each node's middle, in box widths; a chain is straight, a fork is spread around its stem."""
    places = {node: float(position - (len(row) - 1) / 2) for row in rows for position, node in enumerate(row)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            near = above if down else below
            wanted = {node: _mean([places[other] for other in near[node]], places[node]) for node in row}
            _spread(sorted(row, key=lambda node: (wanted[node], places[node])), wanted, places)
    return places


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _spread(row: list[int], wanted: dict[int, float], places: dict[int, float]) -> None:
    """Puts a row's nodes at what they want, at least 1 apart: groups that collide share their mean place."""
    groups: list[tuple[float, list[int]]] = []
    for node in row:
        middle, members = wanted[node], [node]
        while groups and groups[-1][0] + len(groups[-1][1]) / 2 > middle - len(members) / 2:
            other, others = groups.pop()
            total = len(others) + len(members)
            middle, members = (other * len(others) + middle * len(members)) / total, others + members
        groups.append((middle, members))
    for middle, members in groups:
        for position, node in enumerate(members):
            places[node] = middle + position - (len(members) - 1) / 2


def _sheet(rows: list[list[int]], places: dict[int, float], edges: tuple[tuple[int, int], ...]) -> Sheet:
    boxes: dict[int, Box] = {}
    left, height = float(MARGIN), 0.0
    parts = [rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS)]
    for column, part in enumerate(parts):
        first = min(places[node] for row in part for node in row)
        last = max(places[node] for row in part for node in row)
        for number, row in enumerate(part):
            y = MARGIN + number * (BOX_HEIGHT + GAP_Y)
            for node in row:
                boxes[node] = Box(node, left + (places[node] - first) * (BOX_WIDTH + GAP_X), y, column)
        left += (last - first + 1) * (BOX_WIDTH + GAP_X) - GAP_X + COLUMN_GAP
        height = max(height, MARGIN + len(part) * (BOX_HEIGHT + GAP_Y))
    return Sheet(boxes, edges, max(left - COLUMN_GAP + MARGIN, 2 * MARGIN), height + MARGIN)
