"""COCO's own evaluation code, `pycocotools`, where it is installed (extra `train`)."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Literal

import numpy as np

from common.geometry import Floats
from models.evaluation.coco import Picture
from models.evaluation.coco_ap import Found

Kind = Literal["bbox", "keypoints"]
MISSING = "official AP is left out: pycocotools is not installed; `pip install pycocotools` adds it"
PERSON = 1
# Places in COCOeval.stats, which differ by kind: keypoints have no small people.
_STATS: dict[Kind, dict[str, int]] = {
    "bbox": {"ap": 0, "ap50": 1, "ap75": 2, "small": 3, "medium": 4, "large": 5},
    "keypoints": {"ap": 0, "ap50": 1, "ap75": 2, "medium": 3, "large": 4},
}


def version() -> str | None:
    """Of the installed code; None where it is missing."""
    try:
        return metadata.version("pycocotools")
    except metadata.PackageNotFoundError:
        return None


def official_ap(kind: Kind, pictures: Sequence[Picture], found: Sequence[Found]) -> dict[str, float] | None:
    """ap, ap50, ap75 and AP by size; None where pycocotools is missing, NaN for a size that nobody has.

    found: one for each picture, in the same pixels.
    """
    if version() is None:
        return None
    data = importlib.import_module("pycocotools.coco")
    evaluation = importlib.import_module("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress
        truth = data.COCO()
        truth.dataset = {
            "info": {}, "categories": [{"id": PERSON, "name": "person"}],
            "images": [{"id": number} for number in range(1, len(pictures) + 1)],
            "annotations": _annotations(pictures),
        }  # fmt: skip
        truth.createIndex()
        results = [row for number, each in enumerate(found, start=1) for row in _results(kind, number, each)]
        judge = evaluation.COCOeval(truth, truth.loadRes(results) if results else _nothing(data, truth), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: _known(float(judge.stats[place])) for name, place in _STATS[kind].items()}


def _known(value: float) -> float:
    return float("nan") if value == -1 else value


def _nothing(data: Any, truth: Any) -> Any:
    """Results without any row, which loadRes refuses."""
    empty = data.COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _annotations(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, start=1):
        for i in range(len(picture.boxes)):
            points = picture.keypoints[i].astype(float)
            rows.append({
                "id": len(rows) + 1, "image_id": number, "category_id": PERSON, "bbox": _xywh(picture.boxes[i]),
                "area": float(picture.areas[i]), "iscrowd": int(picture.crowd[i]), "keypoints": points.ravel().tolist(),
                "num_keypoints": int((points[:, 2] > 0).sum()),
            })  # fmt: skip
    return rows


def _results(kind: Kind, number: int, found: Found) -> list[dict[str, Any]]:
    shared = [{"image_id": number, "category_id": PERSON, "score": float(score)} for score in found.scores]
    if kind == "bbox":
        return [{**row, "bbox": _xywh(value)} for row, value in zip(shared, found.values, strict=True)]
    return [
        {**row, "keypoints": value.astype(float).ravel().tolist()} for row, value in zip(shared, found.values, strict=True)
    ]


def _xywh(box: Floats) -> list[float]:
    x0, y0, x1, y1 = np.asarray(box, np.float64).tolist()
    return [x0, y0, x1 - x0, y1 - y0]
