"""A picture with people for the benchmarks: a real photo where the kit is present, else a frame of the rendered clip."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks._report import REPO
from common.config import DetectorSettings
from common.messages import Box
from services.detector.detect import load_detector

CLIP = REPO / "posebus" / "assets" / "room.mp4"
MIN_AREA_PX = 1_000


@dataclass(frozen=True)
class Scene:
    """A picture, (H, W, 3) uint8 BGR, and boxes of people in it, largest first."""

    name: str
    image: NDArray[np.uint8]
    boxes: list[Box]


def find_scene(people: int, *, width_px: int = 640) -> Scene:
    """A scene with at least so many people, scaled to a width."""
    folder = Path(os.environ.get("POSEBUS_KIT", REPO.parent / "shared" / "kit")) / "data" / "coco-mini"
    scene = _photo(folder, people) if folder.is_dir() else None
    scene = scene or _clip(people)
    factor = width_px / scene.image.shape[1]
    size = width_px, round(scene.image.shape[0] * factor)
    boxes: list[Box] = [(a * factor, b * factor, c * factor, d * factor) for a, b, c, d in scene.boxes]
    return Scene(scene.name, np.asarray(cv2.resize(scene.image, size), np.uint8), boxes)


def _photo(folder: Path, people: int) -> Scene | None:
    coco = json.loads((folder / "annotations" / "person_keypoints_val2017.json").read_text(encoding="utf-8"))
    found: dict[int, list[tuple[float, Box]]] = defaultdict(list)
    for person in coco["annotations"]:
        x, y, width, height = person["bbox"]
        if not person["iscrowd"] and person["area"] >= MIN_AREA_PX:
            found[person["image_id"]].append((person["area"], (x, y, x + width, y + height)))
    for image in coco["images"]:
        boxes = sorted(found[image["id"]], reverse=True)
        if len(boxes) >= people:
            pixels = cv2.imread(str(folder / "val2017" / image["file_name"]))
            return Scene(f"photo {image['file_name']}", np.asarray(pixels, np.uint8), [box for _, box in boxes])
    return None


def _clip(people: int) -> Scene:
    """The clip shows one person: the others are the same box, moved a little, so that as many crops are cut."""
    video = cv2.VideoCapture(str(CLIP))
    detector = load_detector(DetectorSettings(model="movenet-multipose"))
    try:
        while True:
            ok, image = video.read()
            if not ok:
                raise RuntimeError(f"{CLIP.name}: nobody found in it; render it again")
            found = detector.detect(image)
            if len(found) and found.scores[0] >= 0.5:
                break
    finally:
        video.release()
        detector.close()
    x1, y1, x2, y2 = (float(value) for value in found.boxes[0])
    boxes: list[Box] = [(x1 + 7 * i, y1 + 3 * i, x2 + 7 * i, y2 + 3 * i) for i in range(people)]
    return Scene("rendered clip, one person taken several times", np.asarray(image, np.uint8), boxes)
