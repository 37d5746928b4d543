"""Scores of keypoints whose person is given: all people, by posture, by size. For the evaluation and for trainers alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats, Image, crop_people
from models.evaluation.bootstrap import Interval, bootstrap
from models.evaluation.coco import Picture
from models.evaluation.coco_ap import SIZES
from models.evaluation.oks import Truths, Values, ap_tilde, mean_oks, oks
from models.evaluation.postures import POSTURES

Predict = Callable[[Image], Floats]


@dataclass(frozen=True)
class Group:
    """Some people: how many, mean OKS and AP~, each with its 95 % interval. NaN where nobody is."""

    n: int
    oks: float
    oks_95: Interval
    ap_tilde: float
    ap_tilde_95: Interval

    def as_json(self) -> dict[str, Any]:
        """Rounded; null for what is not known."""
        return {
            "n": self.n, "oks": known(self.oks), "oks_95": [known(x) for x in self.oks_95],
            "ap_tilde": known(self.ap_tilde), "ap_tilde_95": [known(x) for x in self.ap_tilde_95],
        }  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """Of one network on one data set. values: (N,) OKS of each person, NaN where nothing is labelled."""

    people: Group
    by_posture: dict[str, Group]
    by_size: dict[str, Group]
    values: Values


def known(value: float, digits: int = 4) -> float | None:
    """The number as JSON can hold it."""
    return round(float(value), digits) if math.isfinite(value) else None


def group(values: Values, seed: int = 0) -> Group:
    """The scores of OKS values (N,); NaN values do not count."""
    values = values[~np.isnan(values)]
    return Group(
        len(values), mean_oks(values), bootstrap(values, mean_oks, seed), ap_tilde(values), bootstrap(values, ap_tilde, seed)
    )


def score_keypoints(
    predicted: Truths, truth: Truths, area_px: Truths, postures: Sequence[str] = (), *, seed: int = 0
) -> Scores:
    """Score N people: predicted and truth (N, 17, 3), px; area_px (N,); postures: N words, or none to leave them out."""
    values, area_px = oks(predicted, truth, area_px), np.asarray(area_px)
    names = sorted(set(postures), key=lambda name: (POSTURES.index(name) if name in POSTURES else len(POSTURES), name))
    words = np.array(list(postures), np.str_)
    return Scores(
        people=group(values, seed),
        by_posture={name: group(values[words == name], seed) for name in names},
        by_size={name: group(values[(area_px >= low) & (area_px < high)], seed) for name, (low, high) in SIZES.items()},
        values=values,
    )


@dataclass(frozen=True)
class CropSample:
    """One person as a top-down network sees them, and the truth.

    crop: (h, w, 3) uint8 RGB; scale, offset: (2,) picture = crop * scale + offset, x and y; keypoints: (17, 3) in pixels of the
    picture, the third above 0 where labelled; area_px: of the silhouette, in the picture.
    """

    crop: Image
    scale: Floats
    offset: Floats
    keypoints: Floats
    area_px: float
    posture: str = ""


def crop_samples(pictures: Iterable[Picture], size_px: tuple[int, int], padding: float = 1.25) -> Iterator[CropSample]:
    """Everybody with a labelled keypoint, cut by their true box as the pose service cuts. size_px: (width, height)."""
    for picture in pictures:
        rows = np.flatnonzero(picture.labelled)
        if len(rows) == 0:
            continue
        crops = crop_people(picture.read(), picture.boxes[rows], size_px, padding=padding)
        for place, i in enumerate(rows.tolist()):
            yield CropSample(
                np.asarray(cv2.cvtColor(crops.pixels[place], cv2.COLOR_BGR2RGB)), crops.scale[place], crops.offset[place],
                picture.keypoints[i], float(picture.areas[i]), picture.postures[i],
            )  # fmt: skip


def evaluate_keypoints(predict: Predict, samples: Iterable[CropSample], *, batch: int = 32, seed: int = 0) -> Scores:
    """Score a network in training.

    predict: (N, h, w, 3) uint8 RGB -> (N, 17, 2 or more): x, y in pixels of the crop, continuous (a pixel's centre is at .5).
    samples: read once, `batch` at a time. Raises ValueError where predict answers other shapes or numbers that are not finite.
    """
    left = iter(samples)
    predicted: list[NDArray[np.floating]] = []
    truths: list[Floats] = []
    areas: list[float] = []
    postures: list[str] = []
    while part := list(islice(left, batch)):
        found = np.asarray(predict(np.stack([sample.crop for sample in part])))
        if found.ndim != 3 or found.shape[:2] != (len(part), 17) or found.shape[2] < 2:
            raise ValueError(f"predict answered {found.shape} to {len(part)} crops; needs ({len(part)}, 17, 2 or more)")
        scale, offset = np.stack([s.scale for s in part]), np.stack([s.offset for s in part])
        predicted.append(found[:, :, :2] * scale[:, None] + offset[:, None])
        truths += [sample.keypoints for sample in part]
        areas += [sample.area_px for sample in part]
        postures += [sample.posture for sample in part]
    if not predicted:
        raise ValueError("no samples to evaluate on: give crops of people with labelled keypoints")
    return score_keypoints(np.concatenate(predicted), np.stack(truths), np.array(areas), postures, seed=seed)
