"""Where people are in pictures, as annotation files say: COCO JSON, or NPZ with `names` and `boxes`."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.geometry import Floats
from models.convert.source import ConversionError

_PERSON = 1  # COCO's category
_MAX_JSON_BYTES = 64 << 20  # files that are only looked into because they lie there
_NOBODY: Floats = np.empty((0, 4), np.float32)


@dataclass(frozen=True)
class Boxes:
    """Boxes (N, 4) xyxy pixels by the picture's path or file name."""

    table: dict[str, Floats]

    def of(self, name: str) -> Floats:
        """Boxes of that picture; the whole path counts first, then the file name alone."""
        return self.table.get(name, self.table.get(PurePosixPath(name.replace("\\", "/")).name, _NOBODY))


def read_boxes(path: Path) -> Boxes:
    """Read a file of boxes; raises ConversionError naming what is wrong with it."""
    try:
        if path.suffix.lower() == ".npz":
            return _from_npz(path)
        return _from_coco(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConversionError(
            f"{path} is no file of boxes: {reason}; give COCO annotations (.json) or an .npz with 'names' and 'boxes'"
        ) from error


def boxes_beside(where: Path) -> Boxes | None:
    """Boxes that lie with the pictures: all COCO files of a folder or its `annotations`, or the .npz of a zip file."""
    if where.is_file():
        for file in sorted(where.parent.glob("*.npz")):
            found = read_boxes(file) if _has_boxes(file) else None
            if found is not None:
                return found
        return None
    files = sorted([*where.glob("*.json"), *(where / "annotations").glob("*.json")])
    tables = [read_boxes(file).table for file in files if file.stat().st_size <= _MAX_JSON_BYTES and _is_coco(file)]
    if not tables:
        return None
    return Boxes({name: boxes for table in tables for name, boxes in table.items()})  # without people: nobody, not a crop


def _has_boxes(file: Path) -> bool:
    try:
        with np.load(file, allow_pickle=False) as content:
            return {"names", "boxes"} <= set(content.files)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _is_coco(file: Path) -> bool:
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and isinstance(data.get("images"), list) and isinstance(data.get("annotations"), list)


def _from_npz(path: Path) -> Boxes:
    with np.load(path, allow_pickle=False) as content:
        names, boxes = content["names"], np.asarray(content["boxes"], np.float32)
    if boxes.ndim != 2 or boxes.shape != (len(names), 4):
        raise ValueError(f"'boxes' has shape {boxes.shape}, expected ({len(names)}, 4)")
    table: dict[str, list[Floats]] = {}
    for name, box in zip(names.tolist(), boxes, strict=True):
        table.setdefault(str(name), []).append(box)
    return Boxes({name: np.stack(found) for name, found in table.items()})


def _from_coco(data: Any) -> Boxes:
    names = {image["id"]: str(image["file_name"]) for image in data["images"]}
    table: dict[str, list[list[float]]] = {}
    for person in data["annotations"]:
        if person["category_id"] != _PERSON or person.get("iscrowd") or person["image_id"] not in names:
            continue
        x, y, width, height = person["bbox"]
        table.setdefault(names[person["image_id"]], []).append([x, y, x + width, y + height])
    return Boxes({name: np.array(found, np.float32) for name, found in table.items()})
