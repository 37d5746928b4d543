"""People grown from single keypoints along the associations, best connection first (OpenPifPaf's greedy decoder)."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from services.pose.cifcaf_fields import KEYPOINT_FIELDS, SKELETON, FineMap, Ints, Pairs, Points

LINK_MIN = 0.1  # confidence of a connection x the map at its far end; below, either of them says no
KEYPOINT_MIN = 0.15  # score of a keypoint below which it is not connected
SEED_MIN = 0.2  # map value of a keypoint to begin with: a fifth of its cells are certain of it
MAX_PEOPLE, MAX_TRIES = 64, 256  # bound the time that fields without sense can take


@dataclass(frozen=True)
class Links:
    """Scored cells of one association in one direction: starts (M,) each in x and y, and ends (M, 4): x, y, size, score."""

    from_x: Floats
    from_y: Floats
    ends: Floats


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
        starts = pairs.ends[good, near]
        ends = np.column_stack([pairs.ends[good, far], pairs.sizes[good, far], scores[good]])
        for field, pair in enumerate(SKELETON):
            own = slice(bounds[field], bounds[field + 1])
            network[pair[near]][pair[far]] = Links(starts[own, 0].copy(), starts[own, 1].copy(), ends[own])
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
    rows = links.ends[near]
    fit = rows[:, 3] * np.exp(square[near] / (-2 * width * width))
    first = int(fit.argmax())
    score = math.sqrt(float(fit[first]) * joint.score)
    if score < KEYPOINT_MIN:
        return None
    best = rows[first]
    agree = max(float(best[2]), least_px)
    weight = fit * ((rows[:, 0] - best[0]) ** 2 + (rows[:, 1] - best[1]) ** 2 <= agree * agree)
    x, y, size, _ = (weight @ rows / weight.sum()).tolist()
    return Joint(x, y, size, score)


def leads_back(network: Network, start: int, end: int, joint: Joint, found: Joint, least_px: float) -> bool:
    """Does the way back from keypoint `end` at `found` end at the joint, within its size? Else it is somebody else's."""
    back = follow(network[end][start], found, least_px)
    return back is not None and math.hypot(back.x - joint.x, back.y - joint.y) <= max(joint.size, least_px)


def grow(network: Network, kind: int, seed: Joint, least_px: float) -> dict[int, Joint]:
    """One person: keypoint -> joint, begun at a seed; of all possible connections the most certain is always made first."""
    person = {kind: seed}
    frontier: list[tuple[float, int, int, Joint]] = []
    newest: int | None = kind
    while newest is not None:
        for end, links in network[newest].items():
            found = None if end in person else follow(links, person[newest], least_px)
            if found is not None:
                heapq.heappush(frontier, (-found.score, end, newest, found))
        newest = None
        while frontier and newest is None:
            _, end, start, found = heapq.heappop(frontier)
            if end not in person and leads_back(network, start, end, person[start], found, least_px):
                person[end] = found
                newest = end
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
        if (person[:, 3] > 0).sum() > 1:  # a keypoint alone is nobody
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
