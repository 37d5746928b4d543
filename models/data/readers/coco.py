"""COCO keypoints and instances: one JSON file of annotations and a folder of pictures.

https://cocodataset.org/#format-data. COCO labels a pixel; its centre is half a pixel further in our coordinates. COCO's boxes
are continuous already.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from common.geometry import Floats, clip_boxes
from common.skeleton import NUM_KEYPOINTS
from models.data.sample import DataError, FilePicture, Person, Report, Sample, add

Json = dict[str, Any]


def read_coco(
    annotations: Path, pictures: Path, *, source: str = "", partial: bool = False, report: Report | None = None
) -> list[Sample]:
    """Every picture of the file with its people, pictures without people too.

    A keypoint of visibility 0 has weight 0, of 1 (labelled, but hidden) and 2 weight 1, as both count in COCO's evaluation. A
    person without labelled keypoints has None; a crowd is uncertain.
    source: what the samples name as such; the file's name without it.
    partial: pictures that are listed and not there are counted, as the folder is known to be a part; else they are refused.
    Raises DataError for a file that is no such JSON, and, unless the report is not strict, for each wrong label.
    """
    report = report or Report()
    data = _load(annotations)
    people = {kind["id"] for kind in data.get("categories", []) if kind.get("name") == "person"} or {1}
    licences = {entry["id"]: str(entry["name"]) for entry in data.get("licenses", [])}
    of_image: dict[Any, list[Json]] = defaultdict(list)
    for label in data["annotations"]:
        if label.get("category_id", 1) in people:
            of_image[label["image_id"]].append(label)
    samples: list[Sample] = []
    for image in data["images"]:
        path = pictures / image["file_name"]
        if not path.is_file():
            if partial:
                report.note(f"{annotations.name}: picture listed, but not in the folder")
            else:
                report.refuse(DataError(f"{path} is missing, but {annotations} lists it; fetch it, or read with partial=True"))
            continue
        try:
            size = int(image["width"]), int(image["height"])
            found = tuple(_person(label, size, f"{path}: annotation {label.get('id')}") for label in of_image[image["id"]])
        except DataError as error:
            report.refuse(error)
            continue
        licence = licences.get(image.get("license"), "not stated")
        picture = FilePicture(path, size)
        name = str(image["file_name"])
        add(samples, Sample(name, picture, found, source or annotations.stem, licence, group=name), report)
    return samples


def _load(path: Path) -> Json:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}; give COCO annotations") from error
    if not isinstance(data, dict) or not {"images", "annotations"} <= data.keys():
        raise DataError(f"{path} has no 'images' and 'annotations'; give COCO annotations of keypoints or instances")
    return data


def _person(label: Json, size_px: tuple[int, int], what: str) -> Person:
    try:
        x, y, width, height = (float(value) for value in label["bbox"])
        points = label.get("keypoints")
        keypoints = None if points is None else _keypoints(np.array(points, np.float32), what)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{what}: {error!r}; it needs a 'bbox' of 4 numbers (x, y, width, height)") from error
    box = np.array([x, y, x + width, y + height], np.float32)
    if (box[2:] > box[:2]).all():  # an annotator's box may end a fraction of a pixel beyond the edge
        inside = clip_boxes(box[None], *size_px)[0]
        box = inside if np.abs(inside - box).max() <= 1 else box
    return Person(box, keypoints, uncertain=bool(label.get("iscrowd")), area_px=float(label.get("area", 0)))


def _keypoints(values: Floats, what: str) -> Floats | None:
    if values.shape != (NUM_KEYPOINTS * 3,):
        raise DataError(f"{what}: {values.size} keypoint numbers; COCO has 51, x, y, visibility of 17")
    points = values.reshape(NUM_KEYPOINTS, 3)
    visible = points[:, 2] > 0
    if not visible.any():
        return None
    points[visible, :2] += 0.5
    points[:, 2] = visible
    return points
