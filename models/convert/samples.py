"""Real pictures with people, for calibration and for the gate: from a folder, a zip file, a video, or our rendered clip.

Never noise: ranges measured on noise fit no picture, and two networks that agree on noise may disagree on people.
"""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.geometry import Floats, Image
from models.convert.boxes import Boxes, boxes_beside, read_boxes
from models.convert.source import ConversionError

RENDERED = "rendered"
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")
MAX_BROKEN_SHARE = 0.1  # a few damaged files are normal; more mean that the folder is not what was meant
MIN_SIDE_PX = 24  # of a box: less shows no more of a person than that there is one
_SEED = 0

Find = Callable[[Image], Floats]  # boxes (N, 4) of the people in a picture


@dataclass(frozen=True)
class Sample:
    """One picture, (H, W, 3) BGR, and the boxes (N, 4) of its people in its pixels; `name` for errors."""

    name: str
    image: Image
    boxes: Floats


def load_samples(where: str | Path, count: int, *, boxes: Path | None = None, find: Find | None = None) -> list[Sample]:
    """`count` pictures with people, spread over all there are, the same at every call.

    where: a folder of pictures (with its subfolders), a zip file of them, a video, or `rendered` for our own clip. Boxes come
    from `boxes` (COCO annotations, or .npz with `names` and `boxes` (N, 4) xyxy), else from such a file that names one of the
    pictures and lies in the folder, in its `annotations`, or beside the zip file, else from `find`; else each picture is one
    person's crop.
    Pictures without people are passed over. Raises ConversionError where fewer than `count` remain.
    """
    path = Path(where).expanduser()
    known: Boxes | None
    if str(where) == RENDERED:
        names, read, known = _rendered()
    elif path.is_dir():
        names, read = _folder(path)
        known = read_boxes(boxes) if boxes else boxes_beside(path, names)
    elif path.suffix.lower() == ".zip" and path.is_file():
        names, read = _zip(path)
        known = read_boxes(boxes) if boxes else boxes_beside(path, names)
    elif path.suffix.lower() in VIDEOS and path.is_file():
        if find is None:
            raise ConversionError(f"{where}: people of a video must be found first; give --detector, e.g. movenet-multipose")
        (names, read), known = _video(path), None
    else:
        raise ConversionError(
            f"{where} is no folder, no .zip and no video ({', '.join(VIDEOS)}); give real pictures with people, or 'rendered'"
        )
    return _choose(str(where), names, read, known, find, count)


Read = Callable[[int], Image | None]


def _choose(where: str, names: list[str], read: Read, known: Boxes | None, find: Find | None, count: int) -> list[Sample]:
    """Try pictures in a fixed random order until there are enough; returns them in the order of their names."""
    candidates = [i for i, name in enumerate(names) if known is None or len(known.of(name))]
    order = np.random.default_rng(_SEED).permutation(len(candidates))
    chosen: dict[int, Sample] = {}
    broken: list[str] = []
    empty = 0
    for i in (candidates[k] for k in order):
        if len(chosen) == count:
            break
        image = read(i)
        if image is None:
            broken.append(names[i])
            continue
        people = _people(image, names[i], known, find)
        if len(people) == 0:
            empty += 1
            continue
        chosen[i] = Sample(names[i], image, people)
    tried = len(chosen) + len(broken) + empty
    if len(broken) > MAX_BROKEN_SHARE * max(tried, 1):
        raise ConversionError(f"{where}: {len(broken)} of {tried} pictures cannot be read, such as {broken[0]}; mend them")
    if len(chosen) < count:
        without = f"{len(names) - len(candidates) + empty} without people"
        if known is not None:
            without += f" by {known.file}, which names {sum(map(known.names_it, names))} of the pictures"
        raise ConversionError(
            f"{where}: {count} pictures with people are needed, {len(chosen)} of {len(names)} are usable "
            f"({without}; {len(broken)} unreadable); give more pictures, or ask for fewer"
        )
    return [chosen[i] for i in sorted(chosen)]


def _people(image: Image, name: str, known: Boxes | None, find: Find | None) -> Floats:
    height, width = image.shape[:2]
    if known is not None:
        boxes = known.of(name)
    elif find is not None:
        boxes = find(image)
    else:
        return np.array([[0, 0, width, height]], np.float32)
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)
    return np.asarray(boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE_PX])


def _folder(path: Path) -> tuple[list[str], Read]:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES and file.is_file())
    if not files:
        raise ConversionError(f"{path} has no pictures ({', '.join(PICTURES)}), not in its subfolders either")
    return [str(file.relative_to(path)) for file in files], lambda i: _decoded(files[i].read_bytes())


def _zip(path: Path) -> tuple[list[str], Read]:
    try:
        with zipfile.ZipFile(path) as opened:
            names = sorted(name for name in opened.namelist() if Path(name).suffix.lower() in PICTURES)
    except (zipfile.BadZipFile, OSError) as error:
        raise ConversionError(f"{path} cannot be read as a zip file: {error}") from error
    if not names:
        raise ConversionError(f"{path} has no pictures ({', '.join(PICTURES)})")

    def read(i: int) -> Image | None:
        try:
            with zipfile.ZipFile(path) as opened:
                return _decoded(opened.read(names[i]))
        except zipfile.BadZipFile:
            return None

    return names, read


def _decoded(content: bytes) -> Image | None:
    if not content:
        return None
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


_MAX_KEPT = 600  # frames of a video, evenly spread, kept as JPEG (0.1 to 0.5 MB each) since they are asked for in any order


def _video(path: Path) -> tuple[list[str], Read]:
    frames = [(number, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]) for number, image in _frames(path)]
    if not frames:
        raise ConversionError(f"{path} cannot be decoded as a video")
    return [f"{path.name}:{number}" for number, _ in frames], lambda i: _decoded(frames[i][1].tobytes())


def _frames(path: Path) -> Iterator[tuple[int, Image]]:
    capture = cv2.VideoCapture(str(path))
    try:
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        every = max(1, -(-total // _MAX_KEPT))
        number = kept = 0
        while kept < _MAX_KEPT and capture.grab():
            if number % every == 0:
                good, image = capture.retrieve()
                if good:
                    kept += 1
                    yield number, np.asarray(image, np.uint8)
            number += 1
    finally:
        capture.release()


def _rendered() -> tuple[list[str], Read, Boxes]:
    """Our own rendered clip with its true boxes: always at hand, but one person, one room: weak evidence."""
    spec = importlib.util.find_spec("posebus")
    if spec is None or not spec.submodule_search_locations:
        raise ConversionError("the package 'posebus' with the rendered clip is missing; install posebus again")
    folder = Path(next(iter(spec.submodule_search_locations))) / "assets"
    clip, truth = folder / "room.mp4", folder / "room.truth.json"
    names, read = _video(clip)
    try:
        people = json.loads(truth.read_text(encoding="utf-8"))["boxes_xyxy_px"]
    except (OSError, ValueError, KeyError) as error:
        raise ConversionError(f"{truth} cannot be read: {error}; install posebus again") from error
    table = {f"{clip.name}:{i}": np.array([box], np.float32) for i, box in enumerate(people) if box is not None}
    return names, read, Boxes(table, frozenset(names), truth.name)
