"""True people of a folder in COCO layout: `annotations/*.json` and pictures in any folder below.

Coordinates become those of `common.geometry`: COCO labels a pixel by its number, its centre is half a pixel further. Boxes are
outlines and stay.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats, Image
from common.skeleton import NUM_KEYPOINTS
from models.evaluation.postures import POSTURES, postures_of

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
HALF_PIXEL = 0.5
# Silhouette / box of annotations without an area: as the toolbox of CrowdPose and MMPose take it.
AREA_OF_BOX = 0.53


class DataError(ValueError):
    """Data that cannot be evaluated on. The message names file, annotation and the fix."""


@dataclass(frozen=True)
class Picture:
    """A picture and everybody in it. N people; arrays are read-only by agreement."""

    name: str
    read: Callable[[], Image]  # (H, W, 3) uint8 BGR; raises DataError where it cannot be read or has another size
    boxes: Floats  # (N, 4) xyxy px
    areas: Floats  # (N,) of the silhouettes, square px
    crowd: NDArray[np.bool_]  # (N,) count neither for nor against anything
    keypoints: Floats  # (N, 17, 3): x, y, px, and COCO's flag: 0 not labelled, 1 hidden, 2 seen
    postures: tuple[str, ...]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) who counts for keypoints: at least one labelled, no crowd."""
        return np.asarray((self.keypoints[:, :, 2] > 0).any(axis=1) & ~self.crowd)


@dataclass(frozen=True)
class People:
    """A data set as it is evaluated on. missing: pictures that the annotations name and the folder lacks."""

    name: str
    pictures: tuple[Picture, ...]
    missing: tuple[str, ...] = ()
    missing_people: int = 0  # in those
    without_area: int = 0  # people whose area is AREA_OF_BOX of their box

    @property
    def labelled(self) -> int:
        return sum(int(picture.labelled.sum()) for picture in self.pictures)

    @property
    def boxed(self) -> int:
        return sum(int((~picture.crowd).sum()) for picture in self.pictures)


def read_coco(folder: Path, *, split: str = "", name: str = "") -> People:
    """Everybody in a folder in COCO layout.

    split: only annotation files with that in their name, as `val2017`. Of several files that list a picture, those with
    keypoints come first. Pictures are found by their file name, in any folder below. Raises DataError.
    """
    sources = _annotation_files(folder, split)
    index = _Pictures(folder)
    pictures: dict[str, Picture] = {}
    missing: dict[str, int] = {}  # file name -> people in it
    without_area = 0
    for path, data in sources:
        people = _people_by_image(path, data)
        earlier = {*pictures, *missing}
        for image in data["images"]:
            file_name = str(image["file_name"])
            if file_name in earlier:
                continue
            if file_name in pictures or file_name in missing:
                raise DataError(f"{path}: two pictures have the file_name {file_name!r}; give each its own")
            annotations = people[image["id"]]
            place = index.find(file_name, path)
            if place is None:
                missing[file_name] = len(annotations)
                continue
            without_area += sum(not _area(a)[1] for a in annotations)
            pictures[file_name] = _picture(place, file_name, image, annotations)
    if not pictures:
        raise DataError(
            f"{folder}: none of the {len(missing)} pictures that the annotations name is below that folder "
            f"({', '.join(list(missing)[:3])}); put them there, in images/ or anywhere"
        )
    return People(name or folder.name, tuple(pictures.values()), tuple(missing), sum(missing.values()), without_area)


def _annotation_files(folder: Path, split: str) -> list[tuple[Path, dict[str, Any]]]:
    """Annotation files, those with keypoints first."""
    if not (folder / "annotations").is_dir():
        raise DataError(f"{folder}: has no folder annotations/ with COCO files; give the folder that holds it")
    paths = [path for path in sorted((folder / "annotations").glob("*.json")) if split in path.name]
    if not paths:
        wanted = f"*{split}*.json" if split else "*.json"
        raise DataError(f"{folder}: no file annotations/{wanted}")
    read = [(path, _read(path)) for path in paths]
    return sorted(read, key=lambda each: not any("keypoints" in a for a in each[1]["annotations"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    for key, needed in (("images", ("id", "file_name")), ("annotations", ("image_id",))):
        rows = data.get(key) if isinstance(data, dict) else None
        if not isinstance(rows, list):
            raise DataError(f"{path}: has no list {key!r}; COCO annotations have images, annotations and categories")
        for number, row in enumerate(rows):
            lacks = [name for name in needed if not isinstance(row, dict) or name not in row]
            if lacks:
                raise DataError(f"{path}: {key}[{number}] has no {' and no '.join(lacks)}")
            if not isinstance(row[needed[0]], int | str):
                raise DataError(f"{path}: {key}[{number}]: {needed[0]} is {row[needed[0]]!r}; needs a number or a word")
    found: dict[str, Any] = data
    return found


def _people_by_image(path: Path, data: dict[str, Any]) -> dict[Any, list[dict[str, Any]]]:
    """Image id -> annotations of people, checked."""
    categories = data.get("categories") or []
    person = [c.get("id") for c in categories if isinstance(c, dict) and str(c.get("name", "")).lower() == "person"]
    if categories and not person:
        names = ", ".join(str(c.get("name")) for c in categories[:5] if isinstance(c, dict))
        raise DataError(f"{path}: no category is called person, but {names}")
    images = {image["id"] for image in data["images"]}
    people: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, annotation in enumerate(data["annotations"]):
        if person and annotation.get("category_id") not in person:
            continue
        where = f"{path}: annotations[{number}] (id {annotation.get('id')})"
        if annotation["image_id"] not in images:
            raise DataError(f"{where}: no picture has the id {annotation['image_id']!r}")
        _check(annotation, where)
        people[annotation["image_id"]].append(annotation)
    return people


def _check(annotation: dict[str, Any], where: str) -> None:
    box, points = annotation.get("bbox"), annotation.get("keypoints")
    if not _numbers(box, 4) or min(box[2:]) < 0:  # type: ignore[index]
        raise DataError(f"{where}: bbox is {box!r}; needs 4 numbers: x, y, width, height")
    if points is not None and not _numbers(points, 3 * NUM_KEYPOINTS):
        found = f"{len(points)} values" if isinstance(points, list) else repr(points)
        needs = f"{3 * NUM_KEYPOINTS} finite numbers, x, y, v of COCO's {NUM_KEYPOINTS} keypoints"
        raise DataError(f"{where}: keypoints are {found}; needs {needs}")
    posture = annotation.get("posture", "")
    if not isinstance(posture, str):
        raise DataError(f"{where}: posture is {posture!r}; needs a word, as {', '.join(POSTURES)}")


def _numbers(values: Any, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(isinstance(value, int | float) and np.isfinite(value) for value in values)


def _area(annotation: dict[str, Any]) -> tuple[float, bool]:
    """Area of the silhouette, and whether the annotation says it."""
    area = annotation.get("area")
    if isinstance(area, int | float) and np.isfinite(area) and area > 0:
        return float(area), True
    return AREA_OF_BOX * float(annotation["bbox"][2]) * float(annotation["bbox"][3]), False


def _picture(path: Path, name: str, image: dict[str, Any], annotations: list[dict[str, Any]]) -> Picture:
    boxes = np.array([a["bbox"] for a in annotations], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    nothing = [0.0] * (3 * NUM_KEYPOINTS)
    keypoints = np.array([a.get("keypoints") or nothing for a in annotations], np.float32).reshape(-1, NUM_KEYPOINTS, 3)
    keypoints[:, :, :2] += np.where(keypoints[:, :, 2:] > 0, np.float32(HALF_PIXEL), np.float32(0))
    derived = postures_of(keypoints)
    return Picture(
        name=name,
        read=partial(read_picture, path, _size(image)),
        boxes=boxes,
        areas=np.array([_area(a)[0] for a in annotations], np.float32),
        crowd=np.array([bool(a.get("iscrowd")) or bool(a.get("ignore")) for a in annotations], np.bool_),
        keypoints=keypoints,
        postures=tuple(str(a.get("posture") or rule).lower() for a, rule in zip(annotations, derived, strict=True)),
    )


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def read_picture(path: Path, size_px: tuple[int, int] | None = None) -> Image:
    """(H, W, 3) uint8 BGR, as stored: labels know nothing of a turn in the EXIF data."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise DataError(f"{path}: cannot be read as a picture; copy it again")
    found = image.shape[1], image.shape[0]
    if size_px is not None and found != size_px:
        raise DataError(f"{path}: is {found[0]}x{found[1]}, its annotations are for {size_px[0]}x{size_px[1]} pixels")
    return np.asarray(image, np.uint8)


class _Pictures:
    """The pictures below a folder, found by file name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in _files(folder):
            self._by_name[path.name].append(path)

    def find(self, file_name: str, annotations: Path) -> Path | None:
        """The picture, None where there is none; of several the one whose folder the annotations are named after."""
        if (self._folder / file_name).is_file():
            return self._folder / file_name
        found = self._by_name.get(Path(file_name).name, [])
        found = [path for path in found if path.as_posix().endswith(f"/{file_name}")] or found
        if len(found) > 1:
            found = [path for path in found if path.parent.name in annotations.stem] or found
        if len(found) > 1:
            raise DataError(f"{annotations}: {file_name} is ambiguous: {found[0]} or {found[1]}; say the folder in file_name")
        return found[0] if found else None


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        yield from (Path(place) / name for name in sorted(names) if Path(name).suffix.lower() in SUFFIXES)
