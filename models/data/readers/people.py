"""The kit's `people`: crops with a teacher's keypoints, and scenes with detectors' boxes.

Crops and their labels are in the frame in which the camera took them. `rotation` tells that the teacher saw the person turned,
as it must to read people who lie; its answers were turned back before they were stored (seen on drawn labels, 12 of 161).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.geometry import Floats, clip_boxes
from models.data.sample import DataError, Person, Report, Sample, ZipPicture, add, forget_outside
from models.data.teacher import weights

NONE_STATED = "none stated"
# The teacher's keypoints count from pixel centres downwards, half a pixel off our coordinates: found as the mean distance
# from PP-TinyPose through our own pose stage, 4,580 keypoints of 400 crops; sideways its flip test evens that out (0.05 px).
_OFFSET_PX = np.array([0.0, 0.4], np.float32)


def sources(folder: Path) -> dict[str, str]:
    """Source repository -> the licence that it states, from SOURCES.csv. Raises DataError."""
    path = folder / "SOURCES.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["repo"]: row["stated_licence"] for row in csv.DictReader(file)}
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error!r}; it needs the columns repo and stated_licence") from error


def _wanted(folder: Path, leave_out: Collection[str]) -> dict[str, str]:
    """The sources that stay; `leave_out` names sources, or NONE_STATED for all that state no licence."""
    known = sources(folder)
    unknown = set(leave_out) - known.keys() - {NONE_STATED}
    if unknown:
        raise DataError(f"{folder}: no source {sorted(unknown)[0]!r} to leave out; there are {', '.join(sorted(known))}")
    none = NONE_STATED in leave_out
    return {
        name: licence
        for name, licence in known.items()
        if name not in leave_out and not (none and licence.startswith(NONE_STATED))
    }


def read_crops(folder: Path, *, leave_out: Collection[str] = (), report: Report | None = None) -> list[Sample]:
    """One sample a crop, one person each; others may be seen in it without a label, so it is not `complete`.

    folder: holds `crops.npz`, `crops{0..}.zip` and SOURCES.csv. leave_out: see `_wanted`.
    A keypoint's weight is `models.data.teacher.weights` of the teacher's peak and its agreement with the second teacher.
    Raises DataError for missing files and, unless the report is not strict, for each wrong label.
    """
    report = report or Report()
    licences = _wanted(folder, leave_out)
    path = folder / "crops.npz"
    try:
        with np.load(path) as file:
            table = {key: file[key] for key in _CROP_KEYS}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}; it needs {', '.join(_CROP_KEYS)}") from error
    repos = [str(repo) for repo in table["source_repos"]]
    scored = weights(table["keypoints"][..., 2], table["agreement"])
    samples: list[Sample] = []
    for i, name in enumerate(str(name) for name in table["names"]):
        repo = repos[table["source"][i]]
        if repo not in licences:
            report.note(f"people: crop of {repo}, left out")
            continue
        size = int(table["crop_size"][i][0]), int(table["crop_size"][i][1])
        box = clip_boxes(table["boxes"][i][None].astype(np.float32), *size)[0]
        keypoints = np.concatenate([table["keypoints"][i][:, :2] + _OFFSET_PX, scored[i][:, None]], axis=1).astype(np.float32)
        keypoints, far = forget_outside(keypoints, box, size)
        report.note("people: keypoint guessed far outside the crop, weight 0", far)
        score = float(np.clip(table["det_score"][i], 0, 1))
        person = Person(box, keypoints, posture=str(table["posture"][i]), score=score)
        picture = ZipPicture(folder / f"crops{table['shard'][i]}.zip", name, size)
        group = f"{repo}/{camera(str(table['source_file'][i]))}"
        add(samples, Sample(name, picture, (person,), repo, licences[repo], group=group, complete=False), report)
    return samples


_CROP_KEYS = (
    "names", "shard", "boxes", "keypoints", "agreement", "posture", "source", "source_repos", "det_score", "crop_size",
    "source_file",
)  # fmt: skip


def camera(source_file: str) -> str:
    """Which camera or clip a picture is from, as far as its file name tells: the name up to its number."""
    stem = source_file.rsplit("/", 1)[-1].split(".rf.")[0].rsplit(".", 1)[0]
    name = stem.removesuffix("_jpg").removesuffix("_png")
    return name.rstrip("0123456789").rstrip("_- ") or name


def read_scenes(folder: Path, *, leave_out: Collection[str] = (), report: Report | None = None) -> list[Sample]:
    """One sample a scene, with the boxes of its people; those of which the detectors disagreed are uncertain.

    folder: holds `scenes.json`, `scenes{0..}.zip` and SOURCES.csv. leave_out: see `_wanted`.
    Raises DataError for missing files and, unless the report is not strict, for each wrong label.
    """
    report = report or Report()
    licences = _wanted(folder, leave_out)
    path = folder / "scenes.json"
    try:
        scenes: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; fetch it again") from error
    samples: list[Sample] = []
    for scene in scenes:
        repo = scene["source"]
        if repo not in licences:
            report.note(f"people: scene of {repo}, left out")
            continue
        size = int(scene["width"]), int(scene["height"])
        people = tuple(_boxed(person, size) for person in scene["persons"])
        picture = ZipPicture(folder / scene["shard"], scene["file"], size)
        add(samples, Sample(scene["file"], picture, people, repo, licences[repo], group=repo), report)
    return samples


def read_labelled_scenes(folder: Path, labels: Path, *, report: Report | None = None) -> list[Sample]:
    """The scenes whose people have keypoints by `models.data.scene_keypoints`, written to `labels`; the others of a scene stay.

    Who was uncertain as a box is not so as a pose where the teachers saw one: the weights say how far to trust it.
    Raises DataError.
    """
    report = report or Report()
    try:
        with np.load(labels) as file:
            table = {key: file[key] for key in ("names", "index", "keypoints")}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{labels} cannot be read: {error}; make it with python -m models.data.scene_keypoints") from error
    rows = {(str(name), int(index)): row for row, (name, index) in enumerate(zip(table["names"], table["index"], strict=True))}
    samples: list[Sample] = []
    for sample in read_scenes(folder, report=report):
        people = list(sample.people)
        for i, person in enumerate(people):
            if (row := rows.get((sample.name, i))) is not None:
                points, far = forget_outside(table["keypoints"][row], person.box_xyxy_px, sample.picture.size_px)
                report.note("scenes: keypoint guessed far outside the picture, weight 0", far)
                people[i] = replace(person, keypoints=points, uncertain=False)
        add(samples, replace(sample, people=tuple(people), complete=False), report)
    return samples


def _boxed(person: dict[str, Any], size_px: tuple[int, int]) -> Person:
    box: Floats = clip_boxes(np.array([person["box"]], np.float32), *size_px)[0]
    return Person(box, uncertain=bool(person["uncertain"]), score=float(np.clip(person["score"], 0, 1)))
