"""What shipped networks are calibrated and judged on: real people of training and development data, never of validation.

Half of the calibration is what cameras deliver on a good day, half what training made of it: ranges must hold in the dark and
in the rain too. Postures come in equal numbers, or the few who lie would have no say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from models.convert.data import CALIBRATION_FRAMES, CHECK_FRAMES, Data
from models.convert.samples import MIN_SIDE_PX
from models.convert.samples import Sample as Shown
from models.convert.source import Source
from models.data.sample import Report, Sample
from models.data.split import dev_sets, train_sets
from models.ship.trained import Trained
from models.tinydet.data import read_folder
from models.training.errors import TrainingError

_SEED = 7


def ship_data(
    trained: Trained, source: Source, kit: Path, data: Path, *, calibration: int = CALIBRATION_FRAMES, check: int = CHECK_FRAMES
) -> Data:
    """Pictures for the converter. kit: the kit's folder; where it is absent, the run's own sets below `data` serve for both.

    Raises TrainingError where there are too few people, DataError for data that cannot be read.
    """
    learned, held = _sets(trained, kit, data)
    plain = _shown(_by_posture(learned), calibration - calibration // 2)
    spoiled = [_whole(picture, i, source) for i, picture in enumerate(trained.pictures(kit, data)(0, calibration // 2))]
    judged = _shown(_by_posture(held), check)
    if len(plain) < calibration - calibration // 2 or len(judged) < check:
        raise TrainingError(
            f"{len(plain)} pictures with people to calibrate and {len(judged)} to compare on are too few: "
            f"{calibration - calibration // 2} and {check} are needed; give more data"
        )
    real = (kit / "people").is_dir()
    name = "people of kit/people and coco-mini train2017 held out of training" if real else "the run's own pictures"
    weak = "" if real else "the files are compared on pictures that the network has learned; judge with others"
    return Data(name, tuple(chain(*zip(plain, spoiled, strict=False), plain[len(spoiled) :])), tuple(judged), weak)


def _sets(trained: Trained, kit: Path, data: Path) -> tuple[list[Sample], list[Sample]]:
    """Samples that the network learned from, and others."""
    report = Report(strict=False)
    if (kit / "people").is_dir():
        learned, held = train_sets(kit, report=report), dev_sets(kit, report=report)
        if trained.kind == "tinypose":
            return learned["crops"], [*held["crops"], *held["coco"]]
        return learned["scenes"], [*held["scenes"], *held["coco"]]
    own = [sample for entry in trained.config.sets if entry.path for sample in read_folder(data / entry.path, report)]
    return own, own


def _by_posture(samples: Sequence[Sample]) -> Iterable[Sample]:
    """In a fixed random order, one of each posture in turn as long as there are some."""
    order = np.random.default_rng(_SEED).permutation(len(samples))
    groups: dict[str, list[Sample]] = {}
    for i in order:
        for posture in {person.posture for person in samples[i].people if not person.uncertain}:
            groups.setdefault(posture, []).append(samples[i])
    turns = chain.from_iterable(zip_longest(*(groups[key] for key in sorted(groups))))
    return dict.fromkeys(sample for sample in turns if sample is not None)


def _shown(samples: Iterable[Sample], count: int) -> list[Shown]:
    found: list[Shown] = []
    for sample in samples:
        if len(found) == count:
            break
        boxes = [p.box_xyxy_px for p in sample.people if not p.uncertain and _large(p.box_xyxy_px)]
        if boxes:
            image = np.ascontiguousarray(sample.picture.read()[..., ::-1])
            found.append(Shown(f"{sample.source}/{sample.name}", image, np.stack(boxes).astype(np.float32)))
    return found


def _large(box: Floats) -> bool:
    return bool((box[2:] - box[:2]).min() >= MIN_SIDE_PX)


def _whole(picture: NDArray[np.uint8], number: int, source: Source) -> Shown:
    """A picture of the network's own size with the box whose crop is all of it."""
    height, width = picture.shape[:2]
    middle, half = np.array([width, height]) / 2, np.array([width, height]) / source.padding / 2
    box = np.concatenate([middle - half, middle + half]).astype(np.float32)
    return Shown(f"training picture {number}", np.ascontiguousarray(picture[..., ::-1]), box[None])
