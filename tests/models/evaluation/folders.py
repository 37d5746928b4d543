"""Small folders in COCO layout, whose people the artifact `fake-person` finds: bright rectangles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.runtimes.fake import STANDING

SIZE = 320, 240
BOXES = ((40, 20, 80, 160), (180, 60, 100, 140))  # x, y, width, height


def annotation(number: int, box: tuple[int, int, int, int], *, image: int = 1, **more: Any) -> dict[str, Any]:
    """A person in a box, with the skeleton that the fake runtime sees there."""
    x, y, width, height = box
    points = np.full((17, 3), 2.0)
    points[:, :2] = STANDING * (width, height) + (x, y) - 0.5  # COCO's labels are numbers of pixels
    return {
        "id": number, "image_id": image, "category_id": 1, "bbox": list(box), "area": 0.6 * width * height, "iscrowd": 0,
        "keypoints": points.ravel().tolist(), "num_keypoints": 17, **more,
    }  # fmt: skip


def picture(boxes: tuple[tuple[int, int, int, int], ...] = BOXES) -> np.ndarray:
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for x, y, width, height in boxes:
        image[y : y + height, x : x + width] = 255
    return image


def content(annotations: list[dict[str, Any]], names: tuple[str, ...] = ("a.png",)) -> dict[str, Any]:
    return {
        "images": [{"id": n, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for n, name in enumerate(names, start=1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip


def write(folder: Path, data: Any, *, name: str = "person_keypoints_val.json") -> Path:
    """The annotations alone."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "annotations" / name).write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return folder


def people(folder: Path, *, pictures: str = "images") -> Path:
    """Two people in one picture, and a second picture without anybody."""
    write(folder, content([annotation(n, box) for n, box in enumerate(BOXES, start=1)], ("a.png", "b.png")))
    (folder / pictures).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / pictures / "a.png"), picture())
    cv2.imwrite(str(folder / pictures / "b.png"), picture(()))
    return folder
