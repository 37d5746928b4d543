"""Photos of benchmarks.lying: is a person who lies found when the picture is turned? More people and places than the clips.

Crops of the kit, whose boxes come from other detectors (`kit/people`), so people whom none of those found are not among them.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks._lying_clips import REPO, Networks
from common import geometry
from common.geometry import Floats, Image

PEOPLE = Path(os.environ.get("POSEBUS_KIT", REPO.parent / "shared" / "kit")) / "people"
SCORE, OVERLAP = 0.4, 0.5  # as the second look asks for; the usual criterion of detection
TURNS = (0, 90, -90, 180)


def photos(posture: str, most: int) -> Iterator[tuple[Image, Floats]]:
    """Pictures of one person each and the box (1, 4) in them: the crop in a field twice as wide and tall, as a window is."""
    labels = np.load(PEOPLE / "crops.npz")
    chosen = np.flatnonzero(labels["posture"] == posture)
    chosen = np.sort(np.random.default_rng(1).permutation(chosen)[:most])
    files: dict[int, zipfile.ZipFile] = {}
    for i in chosen.tolist():
        shard = int(labels["shard"][i])
        if shard not in files:
            files[shard] = zipfile.ZipFile(PEOPLE / f"crops{shard}.zip")
        crop = cv2.imdecode(np.frombuffer(files[shard].read(str(labels["names"][i])), np.uint8), cv2.IMREAD_COLOR)
        if crop is None:
            continue
        height, width = crop.shape[:2]
        field = np.full((2 * height, 2 * width, 3), crop.mean(axis=(0, 1)).astype(np.uint8), np.uint8)
        x, y = width // 2, height // 2
        field[y : y + height, x : x + width] = crop
        yield field, (labels["boxes"][i] + np.array([x, y, x, y])).astype(np.float32)[None]
    for file in files.values():
        file.close()


def recall(networks: Networks, posture: str, most: int) -> dict[str, Any]:
    """Share of people found in the picture as it is, in each turn, and in any of them."""
    hits = np.array([[_is_found(networks, image, box, turn) for turn in TURNS] for image, box in photos(posture, most)])
    shares = dict(zip(map(str, TURNS), hits.mean(axis=0).round(3).tolist(), strict=True))
    return {"posture": posture, "n": len(hits), **shares, "any": round(float(hits.any(axis=1).mean()), 3)}


def _is_found(networks: Networks, image: Image, box: Floats, turn_deg: int) -> bool:
    k = turn_deg // 90
    found = networks.detect(np.ascontiguousarray(geometry.rotate_quarter(image, k)))
    boxes = geometry.boxes_from_rotated(found.boxes, k, (image.shape[1], image.shape[0]))
    return bool(((geometry.iou_matrix(box, boxes)[0] >= OVERLAP) & (found.scores >= SCORE)).any())
