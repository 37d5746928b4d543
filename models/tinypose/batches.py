"""Samples -> batches for training and for the evaluation during it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.sample import Person, Sample
from models.tinypose.augment import NONE, Augmentation, crop_sample

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Example:
    """One person of one sample: what a pose network learns from."""

    sample: Sample
    person: Person

    @property
    def name(self) -> str:
        return f"{self.sample.source}/{self.sample.name}"


def examples(samples: Sequence[Sample], *, keypoints: int) -> list[Example]:
    """All people with at least that many known keypoints."""
    return [
        Example(sample, person)
        for sample in samples
        for person in sample.people
        if person.keypoints is not None and not person.uncertain and (person.keypoints[:, 2] > 0.05).sum() >= keypoints
    ]


def to_input(crops: NDArray[np.uint8], device: Any = "cpu") -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, normalised, channels last in memory."""
    pixels = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Mix:
    """Draws from several sets, each with its share. What is drawn at a step follows from seed and step alone, so that a resumed
    run sees what it would have seen."""

    sets: Sequence[tuple[float, Sequence[Example]]]
    size_px: tuple[int, int]
    how: Augmentation
    seed: int

    def batch(self, step: int, size: int) -> tuple[list[Example], NDArray[np.uint8], NDArray[np.float32]]:
        """Examples, crops (B, H, W, 3) uint8 RGB and keypoints (B, 17, 3) in crop pixels."""
        rng = np.random.default_rng((self.seed, step))
        shares = np.array([share for share, _ in self.sets])
        pools = [self.sets[k][1] for k in rng.choice(len(shares), size, p=shares / shares.sum())]
        chosen = [pool[rng.integers(len(pool))] for pool in pools]
        made = []
        for example in chosen:
            other = chosen[rng.integers(size)] if rng.random() < self.how.beside else example
            beside = None if other is example else (other.sample.picture.read(), other.person)
            made.append(crop_sample(example.sample.picture.read(), example.person, self.size_px, self.how, rng, beside))
        return chosen, np.stack([crop for crop, _ in made]), np.stack([keypoints for _, keypoints in made])


def upright(found: Sequence[Example], size_px: tuple[int, int], batch: int = 32) -> Iterator[tuple[Any, Any, Any]]:
    """Batches without any change, in order: (examples, crops, keypoints in crop pixels)."""
    rng = np.random.default_rng(0)
    for at in range(0, len(found), batch):
        part = found[at : at + batch]
        made = [crop_sample(e.sample.picture.read(), e.person, size_px, NONE, rng) for e in part]
        yield part, np.stack([crop for crop, _ in made]), np.stack([keypoints for _, keypoints in made])
