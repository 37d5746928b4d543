"""Composite fields of known people, as an ideal (or a noisy) OpenPifPaf would give them, for tests of the decoder."""

from __future__ import annotations

import numpy as np

from common.runtimes.fake import STANDING
from common.skeleton import NUM_KEYPOINTS, SIGMAS
from services.pose.cifcaf_fields import SKELETON

WIDTH, HEIGHT, STRIDE = 641, 481, 8


def standing(x0: float, y0: float, width: float, height: float) -> np.ndarray:
    """(17, 3): a person in a box, all keypoints visible."""
    return with_flags(np.array([x0, y0]) + STANDING * np.array([width, height]))


def lying(x0: float, y0: float, width: float, height: float) -> np.ndarray:
    """Head to the left."""
    return with_flags(np.array([x0, y0]) + STANDING[:, ::-1] * np.array([width, height]))


def with_flags(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.ones((NUM_KEYPOINTS, 1))], axis=1)


def without(person: np.ndarray, *kinds: int) -> np.ndarray:
    person = person.copy()
    person[list(kinds), 2] = 0
    return person


def body_size(person: np.ndarray) -> float:
    """What the fields' sizes are shares of: the square root of the area that the keypoints span."""
    span = np.ptp(person[:, :2], axis=0)
    return float(np.sqrt(span[0] * span[1]))


def fields(
    people: list[np.ndarray], *, width: int = WIDTH, height: int = HEIGHT, stride: int = STRIDE, layout: str = "0.13",
    noise_px: float = 0.0, seed: int = 0,
) -> dict[str, np.ndarray]:
    """The outputs of the network for people (17, 3), x and y in continuous pixels.

    noise_px: standard deviation of what each cell regresses; with it, confidences vary by a fifth too, and so do sizes.
    """
    random = np.random.default_rng(seed)
    h, w = (height - 1) // stride + 1, (width - 1) // stride + 1
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1).astype(np.float64)  # (h, w, 2)
    intensity = _empty(random, NUM_KEYPOINTS, 1, grid)
    association = _empty(random, len(SKELETON), 2, grid)
    for person in people:
        cells = (person[:, :2] - 0.5) / stride
        sizes = SIGMAS * body_size(person) / stride
        for kind in np.flatnonzero(person[:, 2]):
            _point_to(intensity, kind, grid, cells[kind], sizes[kind])
        for field, (a, b) in enumerate(SKELETON):
            if person[a, 2] and person[b, 2]:
                _join(association, field, grid, cells[[a, b]], sizes[[a, b]])
    if noise_px:
        for part in (intensity, association):
            part["ends"] += random.normal(0, noise_px / stride, part["ends"].shape)
            part["confidence"] = np.clip(part["confidence"] * random.normal(1, 0.2, part["confidence"].shape), 0, 1)
            part["sizes"] *= random.lognormal(0, 0.2, part["sizes"].shape)
    return arranged(intensity, association, layout)


def arranged(intensity: dict, association: dict, layout: str) -> dict[str, np.ndarray]:
    """In the order of components that the exporters of OpenPifPaf give."""
    out = {}
    for name, part in (("cif", intensity), ("caf", association)):
        count = part["sizes"].shape[1]
        ends = part["ends"].reshape(len(part["ends"]), count * 2, *part["ends"].shape[3:])
        confidence, spread = part["confidence"][:, None], np.full_like(part["sizes"], -1.0)
        newer = [spread[:, :1], confidence, ends, part["sizes"]]
        older = [confidence, ends, spread, part["sizes"]]
        out[name] = np.concatenate(newer if layout == "0.13" else older, axis=1)[None].astype(np.float32)
    return out


def _empty(random: np.random.Generator, count: int, vectors: int, grid: np.ndarray) -> dict[str, np.ndarray]:
    """Nobody there: low confidences, and vectors to anywhere."""
    h, w = grid.shape[:2]
    return {
        "confidence": random.uniform(0, 0.05, (count, h, w)),
        "ends": random.uniform(-5, w + 5, (count, vectors, 2, h, w)),
        "sizes": random.uniform(0.1, 4, (count, vectors, h, w)),
        "distance": np.full((count, h, w), np.inf),
    }


def _point_to(part: dict, kind: int, grid: np.ndarray, xy: np.ndarray, size: float) -> None:
    """The 4 x 4 cells around a keypoint point to it; where two people want a cell, the nearer has it."""
    corner = np.round(xy - 1.5).astype(int)
    window = ((grid >= corner) & (grid < corner + 4)).all(axis=2)
    distance = np.linalg.norm(grid - xy, axis=2)
    mine = window & (distance < part["distance"][kind])
    part["distance"][kind][mine] = distance[mine]
    part["confidence"][kind][mine] = 0.95 * np.exp(-distance[mine] ** 2 / (2 * 2.5**2))
    part["ends"][kind, 0, :, mine] = xy
    part["sizes"][kind, 0][mine] = size


def _join(part: dict, field: int, grid: np.ndarray, ends: np.ndarray, sizes: np.ndarray) -> None:
    """The cells along a limb, three wide, point to both of its ends; where two limbs cross, the nearer line has the cell."""
    along = ends[1] - ends[0]
    length = max(float(np.linalg.norm(along)), 1e-6)
    offset = grid - ends[0]
    share = (offset @ along) / length**2
    aside = np.abs(offset[..., 0] * along[1] - offset[..., 1] * along[0]) / length
    margin = 1.5 / length
    mine = (share > -margin) & (share < 1 + margin) & (aside < 1.5) & (aside < part["distance"][field])
    part["distance"][field][mine] = aside[mine]
    part["confidence"][field][mine] = 0.95 * np.exp(-aside[mine] ** 2 / (2 * 1.5**2))
    part["ends"][field, :, :, mine] = ends
    part["sizes"][field][:, mine] = sizes[:, None]
