"""Where people are in pictures, as annotation files say: COCO JSON, or NPZ with `names` and `boxes`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.geometry import Floats
from models.convert.source import ConversionError

_PERSON = 1  # COCO's category
_MAX_JSON_BYTES = 64 << 20  # files that are only looked into because they lie there
_NOBODY: Floats = np.empty((0, 4), np.float32)


# What damaged or foreign files of these kinds raise.
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class Boxes:
    """Boxes (N, 4) xyxy pixels by the picture's path or file name.

    named: pictures that the files speak of, those without people too; file: what the boxes come from, for messages.
    """

    table: dict[str, Floats]
    named: frozenset[str]
    file: str

    def of(self, name: str) -> Floats:
        """Boxes of that picture; the whole path counts first, then the file name alone."""
        return self.table.get(name, self.table.get(_file_name(name), _NOBODY))

    def names_it(self, name: str) -> bool:
        return name in self.named or _file_name(name) in self.named


def read_boxes(path: Path) -> Boxes:
    """Read a file of boxes; raises ConversionError naming what is wrong with it."""
    try:
        if path.suffix.lower() == ".npz":
            return _from_npz(path)
        return _from_coco(json.loads(path.read_text(encoding="utf-8")), path)
    except (*_UNREADABLE, zipfile.BadZipFile) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConversionError(
            f"{path} is no file of boxes: {reason}; give COCO annotations (.json) or an .npz with 'names' and 'boxes'"
        ) from error


def boxes_beside(where: Path, pictures: Sequence[str]) -> Boxes | None:
    """Boxes that lie with the pictures: all COCO files of a folder or its `annotations`, or one .npz beside a zip file.

    Only files that name at least one of `pictures` count: others belong to other pictures. Of several .npz the one called as
    the zip file is taken, else the one that names most. None where there is none.
    """
    if where.is_file():
        found = {file: read_boxes(file) for file in sorted(where.parent.glob("*.npz")) if _has_boxes(file)}
        shares = {file: sum(map(boxes.names_it, pictures)) for file, boxes in found.items()}
        fitting = [file for file in found if shares[file]]
        best = max(fitting, key=lambda file: (file.stem == where.stem, shares[file]), default=None)
        return None if best is None else found[best]
    files = sorted([*where.glob("*.json"), *(where / "annotations").glob("*.json")])
    read = [read_boxes(file) for file in files if file.stat().st_size <= _MAX_JSON_BYTES and _is_coco(file)]
    taken = [boxes for boxes in read if any(map(boxes.names_it, pictures))]
    if not taken:
        return None
    table = {name: found for boxes in taken for name, found in boxes.table.items()}  # without people: nobody, not a crop
    return Boxes(table, frozenset().union(*(boxes.named for boxes in taken)), ", ".join(boxes.file for boxes in taken))


def _file_name(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _has_boxes(file: Path) -> bool:
    try:
        with np.load(file, allow_pickle=False) as content:
            return {"names", "boxes"} <= set(content.files)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return False


def _is_coco(file: Path) -> bool:
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
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
    return Boxes({name: np.stack(found) for name, found in table.items()}, frozenset(table), path.name)


def _from_coco(data: Any, path: Path) -> Boxes:
    if not isinstance(data, dict):
        raise ValueError(f"it holds a {type(data).__name__}, but COCO files are a table with 'images' and 'annotations'")
    names = {image["id"]: str(image["file_name"]) for image in data["images"]}
    table: dict[str, list[list[float]]] = {}
    for person in data["annotations"]:
        if person["category_id"] != _PERSON or person.get("iscrowd") or person["image_id"] not in names:
            continue
        x, y, width, height = person["bbox"]
        table.setdefault(names[person["image_id"]], []).append([x, y, x + width, y + height])
    boxes = {name: np.array(found, np.float32) for name, found in table.items()}
    return Boxes(boxes, frozenset(names.values()), path.name)
