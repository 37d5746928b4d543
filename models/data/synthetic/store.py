"""A folder of rendered scenes: JPEGs, a journal which makes an interrupted run go on, and one COCO keypoints file.

    FOLDER/pictures/00000007.jpg    FOLDER/journal.jsonl    FOLDER/annotations.json

The journal's first line states the settings, each other line one finished scene. `annotations.json` is written last; the
COCO reader reads it, and the extra keys `posture` and `motion` of each annotation are for those who know them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.skeleton import KEYPOINTS, LIMBS
from models.data.errors import DataError
from models.data.readers.coco import read_coco
from models.data.sample import Person, Report, Sample
from models.data.synthetic.scene import SOURCE, Rendered
from models.data.synthetic.truth import HIDDEN_WEIGHT

Json = dict[str, Any]
VERSION = 2  # of what a seed renders; a folder is never filled with scenes of two versions
PICTURES, JOURNAL, ANNOTATIONS = "pictures", "journal.jsonl", "annotations.json"
SCENE_BYTES = 30_000  # of a JPEG and its labels: twice the mean of the first 300 scenes
SPARE_BYTES = 200_000_000
HIDDEN, SEEN = 1, 2  # COCO's visibility flags


class Journal:
    """Appends finished scenes to a folder. Opening it again goes on where a run stopped."""

    def __init__(self, folder: Path, settings: Json) -> None:
        """Raises DataError for a folder with scenes of other settings, or that cannot be written."""
        self.folder, self.path = folder, folder / JOURNAL
        self.settings = {"version": VERSION, **settings}
        self.scenes: dict[int, Json] = {}
        with refusing_full_disk(folder):
            (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._resume()
        else:
            self._append(self.settings)

    def _resume(self) -> None:
        lines = self.path.read_bytes().split(b"\n")
        whole = lines[:-1]  # what has no line end was cut off while it was written
        try:
            entries = [json.loads(line) for line in whole]
        except ValueError as error:
            raise DataError(f"{self.path} is damaged ({error}); delete the folder, and render it again") from error
        if not entries:
            self.path.unlink()
            return self._append(self.settings)
        if entries[0] != self.settings:
            raise DataError(f"{self.folder} holds scenes made with {entries[0]}, not {self.settings}; choose another folder")
        if lines[-1]:
            with open(self.path, "r+b") as file:
                file.truncate(sum(len(line) + 1 for line in whole))
        self.scenes = {entry["seed"]: entry for entry in entries[1:] if (self.folder / PICTURES / entry["file"]).is_file()}
        return None

    def add(self, seed: int, scene: Rendered) -> None:
        """Stores one scene: its picture first, so that the journal never names one that is not there."""
        name = f"{seed:08d}.jpg"
        place = self.folder / PICTURES / name
        part = place.with_suffix(".part")
        with refusing_full_disk(self.folder):
            try:
                part.write_bytes(scene.jpeg)
                os.replace(part, place)
            finally:
                part.unlink(missing_ok=True)
        entry = _entry(seed, name, scene)
        self._append(entry)
        self.scenes[seed] = entry

    def _append(self, entry: Json) -> None:
        with refusing_full_disk(self.folder), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def finish(self, seeds: Iterable[int]) -> Path:
        """Writes the COCO file of these seeds and returns its path."""
        chosen = [self.scenes[seed] for seed in seeds]
        path = self.folder / ANNOTATIONS
        part = path.with_suffix(".part")
        with refusing_full_disk(self.folder):
            try:
                part.write_text(json.dumps(coco(chosen, self.settings)), encoding="utf-8")
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        return path


class refusing_full_disk:  # noqa: N801 a context manager reads as a verb
    """Turns "no space left" and refused writes into a DataError that says what to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DataError(f"the disk of {self.folder} is full; free some space and run the same command again") from error
            raise DataError(f"{self.folder} cannot be written ({error.strerror}); choose another folder") from error


def check_space(folder: Path, scenes: int, free: Callable[[Path], int] | None = None) -> None:
    """Raises DataError, before any work, where `scenes` more do not fit. free: gives the free bytes of a folder's disk."""
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    have = free(nearest) if free else shutil.disk_usage(nearest).free
    need = scenes * SCENE_BYTES + SPARE_BYTES
    if have < need:
        raise DataError(f"{folder}: {scenes} scenes need {need / 1e6:.0f} MB, {have / 1e6:.0f} MB are free; make some room")


def _entry(seed: int, name: str, scene: Rendered) -> Json:
    people = [_annotation(person, motion) for person, motion in zip(scene.people, scene.motions, strict=True)]
    return {"seed": seed, "file": name, "size": list(scene.size_px), "licence": scene.licence, "people": people}


def _annotation(person: Person, motion: str) -> Json:
    assert person.keypoints is not None
    x0, y0, x1, y1 = (round(float(v), 2) for v in person.box_xyxy_px)
    flags = np.where(person.keypoints[:, 2] >= 1, SEEN, np.where(person.keypoints[:, 2] > 0, HIDDEN, 0))
    points: list[float] = []
    for (x, y, _), flag in zip(person.keypoints.tolist(), flags.tolist(), strict=True):
        # COCO counts from the centre of the first pixel, we from its corner.
        points += [round(x - 0.5, 2), round(y - 0.5, 2), flag] if flag else [0.0, 0.0, 0]
    return {
        "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
        "area": round(person.area_px, 1),
        "iscrowd": int(person.uncertain),
        "keypoints": points,
        "num_keypoints": int((flags > 0).sum()),
        "posture": person.posture,
        "motion": motion,
    }


def coco(scenes: list[Json], settings: Json) -> Json:
    """The COCO keypoints document of journal entries."""
    licences = sorted({scene["licence"] for scene in scenes})
    images, labels = [], []
    for scene in scenes:
        width, height = scene["size"]
        number = scene["seed"]
        images.append({"id": number, "file_name": scene["file"], "width": width, "height": height,
                       "license": licences.index(scene["licence"]) + 1})  # fmt: skip
        labels += [{"id": 10 * number + k, "image_id": number, "category_id": 1, **p} for k, p in enumerate(scene["people"], 1)]
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(KEYPOINTS),
                "skeleton": [[a + 1, b + 1] for a, b in LIMBS]}  # fmt: skip
    return {
        "info": {"description": "synthetic people, exact labels", **settings},
        "licenses": [{"id": i, "name": name} for i, name in enumerate(licences, 1)],
        "images": images,
        "annotations": labels,
        "categories": [category],
    }


def read_folder(folder: Path, report: Report | None = None) -> list[Sample]:
    """The samples of a finished folder, with what COCO has no word for: postures, and hidden keypoints' lower weight.

    Raises DataError as the COCO reader does.
    """
    samples = read_coco(folder / ANNOTATIONS, folder / PICTURES, source=SOURCE, report=report)
    labels = json.loads((folder / ANNOTATIONS).read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in labels["images"]}
    of_picture: dict[str, list[Json]] = {name: [] for name in names.values()}
    for annotation in labels["annotations"]:
        of_picture[names[annotation["image_id"]]].append(annotation)
    return [
        replace(sample, people=tuple(_restored(p, a) for p, a in zip(sample.people, of_picture[sample.name], strict=True)))
        for sample in samples
    ]


def _restored(person: Person, annotation: Json) -> Person:
    keypoints = person.keypoints
    if keypoints is not None:
        keypoints = keypoints.copy()
        keypoints[np.array(annotation["keypoints"][2::3]) == HIDDEN, 2] = HIDDEN_WEIGHT
    return replace(person, keypoints=keypoints, posture=annotation["posture"])
