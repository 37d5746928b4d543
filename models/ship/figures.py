"""Drawn figures in COCO's layout, for `make train-smoke`: enough to learn from in a minute, made in a second, of nothing.

They show that training, quantising and shipping work from end to end. No shipped network has seen one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.skeleton import KEYPOINTS

Picture = NDArray[np.uint8]
SIZE_PX = (256, 192)  # (width, height) of the pictures
# A standing body seen from the front, x and y in body heights, COCO's order: nose, eyes, ears, pairs from the shoulders down.
STANDING = np.array([
    (0, .09), (.02, .07), (-.02, .07), (.04, .08), (-.04, .08), (.11, .2), (-.11, .2), (.15, .36), (-.15, .36), (.16, .5),
    (-.16, .5), (.07, .52), (-.07, .52), (.08, .74), (-.08, .74), (.08, .96), (-.08, .96),
])  # fmt: skip
LIMBS = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16))
CHAINS = (  # a joint and what turns about it
    (5, (7, 9)), (6, (8, 10)), (7, (9,)), (8, (10,)), (11, (13, 15)), (12, (14, 16)), (13, (15,)), (14, (16,)),
)  # fmt: skip
THICKNESS = 0.07  # of a limb, in body heights
MARGIN = 0.045  # from keypoints to the outline


def write_figures(folder: Path, count: int, seed: int) -> Path:
    """`count` pictures with one or two figures each: standing, bent or lying. Returns the folder."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        picture = _background(rng)
        for side in rng.permutation(2)[: int(rng.integers(1, 3))]:
            points, posture = _pose(rng, int(side))
            _draw(picture, points, rng)
            people.append(_annotation(points, posture, len(people) + 1, number))
        name = f"figures_{seed}_{number:03}.png"
        cv2.imwrite(str(folder / "images" / name), picture)
        images.append({"id": number, "file_name": name, "width": SIZE_PX[0], "height": SIZE_PX[1], "license": 1})
    content = {
        "images": images, "annotations": people, "licenses": [{"id": 1, "name": "CC0-1.0"}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(KEYPOINTS), "skeleton": []}],
    }  # fmt: skip
    (folder / "annotations" / "people.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _background(rng: np.random.Generator) -> Picture:
    coarse = rng.integers(40, 200, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, SIZE_PX, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(smooth, rng.integers(0, 16, smooth.shape, dtype=np.uint8)), np.uint8)


def _pose(rng: np.random.Generator, side: int) -> tuple[NDArray[np.float64], str]:
    """Keypoints (17, 2) px in the left (0) or right (1) half of the picture, and the posture."""
    body = STANDING.copy()
    for joint, below in CHAINS:
        turn = _rotation(rng.uniform(-0.9, 0.9))
        for each in below:
            body[each] = body[joint] + turn @ (body[each] - body[joint])
    lying = rng.random() < 0.4
    body = (body - (0, 0.5)) @ _rotation((np.pi / 2 if lying else 0) + rng.uniform(-0.25, 0.25)).T
    half = SIZE_PX[0] / 2
    height = rng.uniform(70, 100) if lying else rng.uniform(110, 160)
    points = body * height + (half * (side + 0.5), SIZE_PX[1] / 2 + rng.uniform(-10, 10))
    return np.clip(points, 8, np.array(SIZE_PX) - 9), "lying" if lying else "upright"


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _draw(picture: Picture, points: NDArray[np.float64], rng: np.random.Generator) -> None:
    height = float(np.ptp(points, axis=0).max())
    thick = max(3, round(THICKNESS * height))
    skin, shirt, trousers = (tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(3))
    at = points.round().astype(int)
    cv2.fillConvexPoly(picture, cv2.convexHull(at[[5, 6, 12, 11]].astype(np.int32)), shirt)
    for a, b in LIMBS:
        colour = shirt if a in (5, 6) else skin if a < 9 else trousers
        cv2.line(picture, at[a].tolist(), at[b].tolist(), colour, thick, cv2.LINE_AA)
    cv2.circle(picture, at[0].tolist(), max(4, round(0.075 * height)), skin, -1, cv2.LINE_AA)


def _annotation(points: NDArray[np.float64], posture: str, number: int, image: int) -> dict[str, Any]:
    margin = MARGIN * float(np.ptp(points, axis=0).max())
    low = np.maximum(points.min(axis=0) - margin, 0)
    high = np.minimum(points.max(axis=0) + margin, SIZE_PX)
    width, height = (high - low).tolist()
    labelled = np.concatenate([points - 0.5, np.full((17, 1), 2.0)], axis=1)  # COCO counts from the middle of a pixel
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "bbox": [*low.tolist(), width, height],
        "area": 0.5 * width * height, "keypoints": labelled.round(2).ravel().tolist(), "num_keypoints": 17, "posture": posture,
    }  # fmt: skip
