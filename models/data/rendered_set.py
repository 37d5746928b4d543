"""Stills of rendered people in rendered rooms with exact boxes and keypoints, as COCO: the demo clip's look, never its room.

    python -m models.data.rendered_set --count 600 --seed 1 --out FOLDER

writes FOLDER/images/*.jpg and FOLDER/annotations/people.json; the same count and seed write the same pictures. Bodies are
anny's (Apache-2.0, assets CC0-1.0), the rest is procedural, so the pictures are CC0-1.0. Networks that learned from photos
alone may not know a drawn person; a small share of these in the training mix shows them some, and adds people on the floor,
seen from under the ceiling, with labels that nobody had to guess.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.skeleton import KEYPOINTS
from models.data.errors import DataError
from models.data.random_rooms import draw_camera, draw_layout
from models.data.raster import Camera
from models.data.rendered_people import Mesh, Placed, draw_person, join, place
from models.data.room import Backdrop, render_room
from models.data.scene import Film, Scene, Truth
from models.data.synthetic.bodies import Mould, mould

Bytes = NDArray[np.uint8]
SCALE, LIGHT_STEP = 2, 6
STILLS_PER_ROOM = 6  # lighting a room takes most of the time
PEOPLE_SHARES = (0.06, 0.62, 0.32)  # of pictures with nobody, one and two people
SURE_KEYPOINTS = 4  # a person of whom fewer are seen can hardly be told from a heap of clothes: neither person nor background
OUTSIDE_BOX = 0.1  # keypoints hidden further from what is seen than this share of the box have no label, as nobody could tell


@dataclass(frozen=True)
class Still:
    """picture: (H, W, 3) RGB; truths, postures: of each person of whom anything is seen; quality: of the JPEG, percent."""

    picture: Bytes
    truths: tuple[Truth, ...]
    postures: tuple[str, ...]
    quality: int


def stills(mould: Mould, seed: int, number: int) -> Iterator[Still]:
    """The pictures of room `number`; they depend on seed and number only."""
    rng = np.random.default_rng([seed, number])
    layout = draw_layout(rng)
    camera = draw_camera(layout, rng)
    room = render_room(camera, SCALE, rng, layout, LIGHT_STEP)
    for _ in range(STILLS_PER_ROOM):
        people: list[Placed] = []
        for _ in range(int(rng.choice(len(PEOPLE_SHARES), p=PEOPLE_SHARES))):
            placed = place(draw_person(mould, rng), layout, camera, people, rng)
            if placed is not None:
                people.append(placed)
        yield _shoot(people, camera, room, rng)


def annotation(truth: Truth, posture: str, number: int, image: int) -> dict[str, Any]:
    """One person as COCO has it. COCO counts from the centre of the first pixel, we from its corner."""
    if truth.box is None:
        raise ValueError(f"person {number} of image {image} is not seen; leave them out")
    x0, y0, x1, y1 = (float(value) for value in truth.box)
    marks = truth.keypoints.copy()
    reach = OUTSIDE_BOX * max(x1 - x0, y1 - y0)
    far = (marks[:, :2] < [x0 - reach, y0 - reach]).any(axis=1) | (marks[:, :2] > [x1 + reach, y1 + reach]).any(axis=1)
    marks[far | (marks[:, 2] == 0)] = 0.5, 0.5, 0
    marks[:, :2] -= 0.5
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
        "area": round(truth.area_px, 1),
        "iscrowd": int((marks[:, 2] == 2).sum() < SURE_KEYPOINTS),
        "keypoints": [int(v) if k % 3 == 2 else round(float(v), 2) for k, v in enumerate(marks.ravel())],
        "num_keypoints": int((marks[:, 2] > 0).sum()),
        "posture": posture,
    }


def write(out: Path, seed: int, count: int) -> None:
    """Render `count` pictures. Raises DataError when the folder holds a set already, or cannot be written."""
    labels = out / "annotations" / "people.json"
    if labels.exists():
        raise DataError(f"{labels} exists; give another folder, or delete that one")
    try:
        for folder in (out / "images", labels.parent):
            folder.mkdir(parents=True, exist_ok=True)
        images, people = _render(out / "images", seed, count)
        part = labels.with_suffix(".part")  # labels appear last, and whole: without them there is no set
        part.write_text(json.dumps(_coco(images, people, seed), separators=(",", ":")) + "\n", encoding="utf-8")
        part.replace(labels)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}; free space, or give another folder") from error


def _render(folder: Path, seed: int, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for room in range(-(-count // STILLS_PER_ROOM)):
        for still in stills(mould(), seed, room):
            if len(images) == count:
                break
            number = len(images) + 1
            name = f"rendered_{seed}_{number:06}.jpg"
            _, content = cv2.imencode(".jpg", still.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, still.quality])
            (folder / name).write_bytes(content.tobytes())
            height, width = still.picture.shape[:2]
            images.append({"id": number, "file_name": name, "width": width, "height": height, "license": 1, "room": room})
            for truth, posture in zip(still.truths, still.postures, strict=True):
                people.append(annotation(truth, posture, len(people) + 1, number))
        print(f"{len(images)}/{count} pictures, {len(people)} people", flush=True)
    return images, people


def _coco(images: Sequence[dict[str, Any]], people: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "info": {"description": f"rendered people, python -m models.data.rendered_set --count {len(images)} --seed {seed}"},
        "licenses": [{"id": 1, "name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "categories": [{"id": 1, "name": "person", "supercategory": "person", "keypoints": list(KEYPOINTS), "skeleton": []}],
        "images": list(images),
        "annotations": list(people),
    }


def _shoot(people: list[Placed], camera: Camera, room: Backdrop, rng: np.random.Generator) -> Still:
    meshes: list[Mesh] = [person.mesh for person in people]
    whose = [np.full(len(mesh.faces), i, np.int64) for i, mesh in enumerate(meshes)]
    for person in people:
        if person.seat is not None:
            meshes.append(person.seat)
            whose.append(np.full(len(person.seat.faces), -1, np.int64))
    film = Film(float(rng.uniform(0.7, 2.2)), float(rng.uniform(0.002, 0.025)), bool(rng.random() < 0.1))
    mesh = join(meshes) if meshes else Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 3)))
    scene = Scene(mesh, camera, room, SCALE)
    keypoints = [person.keypoints for person in people]
    picture, truths = scene.people(mesh.vertices, keypoints, np.concatenate([*whose, np.zeros(0, np.int64)]), film, rng)
    seen = [i for i, truth in enumerate(truths) if truth.box is not None]
    quality = int(rng.integers(60, 96))
    return Still(picture, tuple(truths[i] for i in seen), tuple(people[i].posture for i in seen), quality)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, required=True, help="pictures to render")
    parser.add_argument("--seed", type=int, required=True, help="another seed gives other rooms, people and cameras")
    parser.add_argument("--out", type=Path, required=True, help="folder for images/ and annotations/")
    options = parser.parse_args()
    try:
        write(options.out, options.seed, options.count)
    except (DataError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
