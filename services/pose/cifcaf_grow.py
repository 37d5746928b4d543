"""People grown from single keypoints along the associations, best connection first (OpenPifPaf's greedy decoder)."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from services.pose.cifcaf_fields import KEYPOINT_FIELDS, SKELETON, FineMap, Ints, Pairs, Points

LINK_MIN = 0.1  # confidence of a connection x the map at its far end; below, either of them says no
KEYPOINT_MIN = 0.15  # score of a keypoint below which it is not connected
SEED_MIN = 0.2  # map value of a keypoint to begin with: a fifth of its cells are certain of it
MAX_PEOPLE = 64  # bounds the time that a broken network can take
MAX_TRIES = 256


@dataclass(frozen=True)
class Links:
    """Scored cells of one association in one direction: starts and ends, sizes at the end, scores, (M,) each, pixels."""

    from_x: Floats
    from_y: Floats
    to_x: Floats
    to_y: Floats
    to_size: Floats
    scores: Floats


@dataclass(frozen=True)
class Joint:
    """One keypoint of a person: pixels, and a score 0..1."""

    x: float
    y: float
    size: float
    score: float


Network = dict[int, dict[int, Links]]  # from keypoint -> to keypoint -> links


def score_links(pairs: Pairs, fine: FineMap) -> Network:
    """All associations in both directions; a cell's score is its confidence x the map of the far keypoint at the far end."""
    skeleton = np.array(SKELETON)
    network: Network = {kind: {} for kind in range(KEYPOINT_FIELDS)}
    for near, far in ((0, 1), (1, 0)):
        scores = pairs.confidences * fine.at(skeleton[pairs.fields, far], pairs.ends[:, far])
        good = np.flatnonzero(scores >= LINK_MIN)
        bounds = np.searchsorted(pairs.fields[good], np.arange(len(SKELETON) + 1))
        start, end = pairs.ends[good, near], pairs.ends[good, far]
        size, scores = pairs.sizes[good, far], scores[good]
        for field, pair in enumerate(SKELETON):
            own = slice(bounds[field], bounds[field + 1])
            network[pair[near]][pair[far]] = Links(
                from_x=start[own, 0].copy(), from_y=start[own, 1].copy(), to_x=end[own, 0], to_y=end[own, 1],
                to_size=size[own], scores=scores[own],
            )  # fmt: skip
    return network


def follow(links: Links, joint: Joint, least_px: float) -> Joint | None:
    """Where the links that start at `joint` lead to, None: nowhere.

    Each counts with its score x a Gaussian of its start's distance from the joint, as wide as the joint is large; those that
    agree with the best are averaged. least_px: half a cell, what a field resolves.
    """
    width = max(joint.size, least_px)
    square = (links.from_x - joint.x) ** 2 + (links.from_y - joint.y) ** 2
    near = np.flatnonzero(square < 4 * width * width)
    if len(near) == 0:
        return None
    fit = links.scores[near] * np.exp(square[near] / (-2 * width * width))
    best = int(fit.argmax())
    score = float(np.sqrt(fit[best] * joint.score))
    if score < KEYPOINT_MIN:
        return None
    x, y, size = links.to_x[near], links.to_y[near], links.to_size[near]
    agree = max(float(size[best]), least_px)
    weight = np.where((x - x[best]) ** 2 + (y - y[best]) ** 2 <= agree * agree, fit, 0)
    weight /= weight.sum()
    return Joint(float(weight @ x), float(weight @ y), float(weight @ size), score)


def connect(network: Network, start: int, end: int, joint: Joint, least_px: float) -> Joint | None:
    """The keypoint `end` of the person whose keypoint `start` is `joint`.

    None where there is none, or where the way back misses the joint by more than its size: then it is somebody else's.
    """
    found = follow(network[start][end], joint, least_px)
    if found is None:
        return None
    back = follow(network[end][start], found, least_px)
    limit = max(joint.size, least_px)
    if back is None or (back.x - joint.x) ** 2 + (back.y - joint.y) ** 2 > limit * limit:
        return None
    return found


def grow(network: Network, kind: int, seed: Joint, least_px: float) -> dict[int, Joint]:
    """One person: keypoint -> joint, begun at a seed; of all possible connections the most certain is always made first."""
    person = {kind: seed}
    frontier: list[tuple[float, int, int, Joint]] = []
    newest: tuple[int, Joint] | None = (kind, seed)
    while newest is not None:
        start, joint = newest
        for end in network[start]:
            if end not in person:
                found = connect(network, start, end, joint, least_px)
                if found is not None:
                    heapq.heappush(frontier, (-found.score, end, start, found))
        newest = None
        while frontier and newest is None:
            _, end, _, found = heapq.heappop(frontier)
            if end not in person:
                person[end] = found
                newest = end, found
    return person


def find_people(points: Points, pairs: Pairs, fine: FineMap, stride: float) -> Floats:
    """All people: (N, 17, 4) float32 x, y, size, score, in pixels; score 0 where a keypoint was not found.

    Seeds are the CIF cells, best map value first; those at a keypoint that a person already has are no longer seeds.
    """
    network = score_links(pairs, fine)
    values = fine.at(points.kinds, points.xy)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] >= SEED_MIN]
    kinds, xy, values = points.kinds[order], points.xy[order], values[order]
    free = np.ones(len(order), np.bool_)
    people: list[Floats] = []
    for _ in range(MAX_TRIES):
        if len(people) >= MAX_PEOPLE or not free.any():
            break
        first = int(free.argmax())
        seed = _refined(points, int(kinds[first]), xy[first], float(values[first]), stride / 2)
        person = _as_rows(grow(network, int(kinds[first]), seed, stride / 2))
        people.append(person)
        free &= ~_covered(person, kinds, xy, stride)
        free[first] = False
    return np.stack(people) if people else np.empty((0, KEYPOINT_FIELDS, 4), np.float32)


def _refined(points: Points, kind: int, xy: Floats, score: float, least_px: float) -> Joint:
    """The seed as the mean of the cells that point to it."""
    own = np.flatnonzero(points.kinds == kind)
    square = ((points.xy[own] - xy) ** 2).sum(axis=1)
    size = max(float(points.sizes[own[square.argmin()]]), least_px)
    own, square = own[square <= size * size], square[square <= size * size]
    weight = points.confidences[own] / points.confidences[own].sum()
    x, y = weight @ points.xy[own]
    return Joint(float(x), float(y), float(weight @ points.sizes[own]), score)


def _as_rows(person: dict[int, Joint]) -> Floats:
    rows = np.zeros((KEYPOINT_FIELDS, 4), np.float32)
    for kind, joint in person.items():
        rows[kind] = joint.x, joint.y, joint.size, joint.score
    return rows


def _covered(person: Floats, kinds: Ints, xy: Floats, stride: float) -> NDArray[np.bool_]:
    """Which of the seeds lie at a keypoint of the person."""
    own = person[kinds]  # (S, 4)
    radius = np.maximum(own[:, 2], stride)
    square = ((xy - own[:, :2]) ** 2).sum(axis=1)
    return np.asarray((own[:, 3] > 0) & (square < radius * radius))
