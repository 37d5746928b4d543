"""Keypoints for the people of the kit's scenes, who come with boxes only: `python -m models.data.scene_keypoints --out FILE`.

The kit's crops hold one clear person each. Scenes hold the others too: half hidden, in crowds, at the picture's edge, of whom
the detectors were not certain. A network that has seen only the clear ones is lost among people who overlap. Two teachers of
the zoo label them, each looking at the picture and at its mirror image; who lies is also looked at turned by a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from common.geometry import Floats, Image
from common.manifest import ModelError
from common.skeleton import FLIP
from models.data.errors import DataError
from models.data.readers.people import read_scenes
from models.data.readers.video import load_teachers
from models.data.sample import Report, Sample
from models.data.teacher import weights
from services.pose.estimate import PoseEstimator

MIN_PX = 40  # longer side of a box: below, a cell of the teacher's heatmap is all of a hand or a face
WIDE = 1.1  # width / height of a box from which its person may lie
QUARTERS = (0, 90, -90)


def look(pose: PoseEstimator, image_bgr: Image, boxes: Floats) -> Floats:
    """(N, 17, 3) x, y, score: the mean of what a network says of the picture and of its mirror image.

    Of each wide box the best of three quarter turns, by mean score: the networks know few people who lie.
    """
    wide = (boxes[:, 2] - boxes[:, 0]) > WIDE * (boxes[:, 3] - boxes[:, 1])
    best = np.zeros((len(boxes), 17, 3), np.float32)
    for turn in QUARTERS:
        which = np.flatnonzero(wide) if turn else np.arange(len(boxes))
        if len(which):
            found = _both_ways(pose, image_bgr, boxes[which], turn)
            better = found[..., 2].mean(axis=1) > best[which, :, 2].mean(axis=1)
            best[which[better]] = found[better]
    return best


def _both_ways(pose: PoseEstimator, image_bgr: Image, boxes: Floats, turn: int) -> Floats:
    width = image_bgr.shape[1]
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = width - boxes[:, [2, 0]]
    seen = pose.estimate(image_bgr, boxes, np.full(len(boxes), turn))
    back = pose.estimate(np.ascontiguousarray(image_bgr[:, ::-1]), mirrored, np.full(len(boxes), -turn))
    back[..., 0] = width - back[..., 0]
    return np.asarray((seen + back[:, list(FLIP)]) / 2, np.float32)


def label(sample: Sample, pose: PoseEstimator, second: PoseEstimator) -> tuple[NDArray[np.int64], Floats]:
    """Indices (M,) of the people that are large enough, and their keypoints (M, 17, 3): x, y in picture pixels, weight."""
    boxes = np.array([person.box_xyxy_px for person in sample.people], np.float32).reshape(-1, 4)
    size = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    index = np.flatnonzero(size >= MIN_PX)
    if not len(index):
        return index, np.zeros((0, 17, 3), np.float32)
    image = np.ascontiguousarray(sample.picture.read()[..., ::-1])
    first, other = (look(network, image, boxes[index]) for network in (pose, second))
    distance = np.linalg.norm(first[..., :2] - other[..., :2], axis=-1) / size[index, None]
    first[..., 2] = weights(first[..., 2], np.asarray(distance, np.float32))
    return index, first


def write(path: Path, samples: Sequence[Sample], pose: PoseEstimator, second: PoseEstimator) -> int:
    """Label all scenes and write `names`, `index` and `keypoints`, a row a person. Returns how many. Raises DataError."""
    names: list[str] = []
    indices: list[int] = []
    found: list[Floats] = []
    for sample in samples:
        index, keypoints = label(sample, pose, second)
        names += [sample.name] * len(index)
        indices += index.tolist()
        found.append(keypoints)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez_compressed(file, names=np.array(names), index=np.array(indices), keypoints=np.concatenate(found))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written ({error}); make room there, or give another --out") from error
    return len(names)


def main(
    out: Annotated[Path, typer.Option(help="the .npz file, or the folder of scenes.npz")] = Path("out/data/scenes"),
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the kit's folder")] = Path("../shared/kit"),
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    path = out if out.suffix == ".npz" else out / "scenes.npz"
    try:
        teachers = load_teachers(threads=threads)
        assert teachers.pose is not None
        assert teachers.second is not None
        count = write(path, read_scenes(kit / "people", report=Report(strict=False)), teachers.pose, teachers.second)
        teachers.close()
    except (DataError, ModelError) as error:
        print(f"error: {error}")
        raise typer.Exit(1) from error
    print(f"{path}: {count} people")


if __name__ == "__main__":
    typer.run(main)
