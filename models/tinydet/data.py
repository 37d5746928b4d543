"""Batches for tinydet: scenes of several sets, mixed by share, and people cut out of crops to be laid into them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.readers.coco import read_coco
from models.data.sample import Report, Sample
from models.data.split import dev_sets, train_sets
from models.tinydet.augment import CHANCES, Chances, picture
from models.tinydet.config import RunConfig, Set
from models.tinydet.cutouts import Cutout, cut_out
from models.tinydet.scene import Scene, scene_of
from models.training.errors import TrainingError

Rng = np.random.Generator
Floats64 = NDArray[np.float64]
CACHE = 4000  # read pictures and cut-outs that are kept, 0.4 MB each
CUT_TRIES = 6
# Of people to lay into scenes, those that lie or bend count that much more than others: they are a twentieth of the crops.
RARE_WEIGHT = 8.0
RARE = ("lying", "bending")
Kept = TypeVar("Kept")


@dataclass
class Cache:
    """Keeps what was read last, at most CACHE items."""

    items: OrderedDict[tuple[str, str], object] = field(default_factory=OrderedDict)

    def get(self, sample: Sample, make: Callable[[Sample], Kept]) -> Kept:
        key = (sample.source, f"{make.__name__} {sample.name}")
        if key not in self.items:
            self.items[key] = make(sample)
            if len(self.items) > CACHE:
                self.items.popitem(last=False)
        self.items.move_to_end(key)
        return self.items[key]  # type: ignore[return-value]


class Mix:
    """Draws training pictures. What is drawn at a step follows from seed and step alone, so that a resumed run sees what it
    would have seen.
    """

    def __init__(
        self,
        sets: Sequence[tuple[float, Sequence[Sample]]],
        crops: Sequence[Sample],
        size_px: tuple[int, int],
        seed: int,
        chances: Chances = CHANCES,
    ) -> None:
        """sets: (share, samples); crops: whom to cut out; size_px: (width, height) of the pictures."""
        self.sets = [samples for _, samples in sets]
        self.crops, self.size_px, self.seed, self.chances = crops, size_px, seed, chances
        shares = np.array([share for share, _ in sets])
        self._shares = shares / shares.sum()
        self._odds = [_odds(samples) for samples in self.sets]
        self._rare = np.array([RARE_WEIGHT if s.people[0].posture in RARE else 1.0 for s in crops])
        self._cache = Cache()

    def batch(self, step: int, size: int) -> list[Scene]:
        """`size` scenes of `size_px`."""
        rng = np.random.default_rng((self.seed, step))

        def scene() -> Scene:
            chosen = int(rng.choice(len(self.sets), p=self._shares))
            return self._cache.get(self.sets[chosen][_draw(rng, self._odds[chosen])], scene_of)

        def cutout() -> Cutout | None:
            for _ in range(CUT_TRIES if len(self.crops) else 0):
                if found := self._cache.get(self.crops[_draw(rng, self._rare)], cut_out):
                    return found
            return None

        return [picture(rng, self.size_px, scene, cutout, self.chances) for _ in range(size)]


def _odds(samples: Sequence[Sample]) -> Floats64:
    """A source counts by the root of its size: the smallest ones are rooms, the largest a plant with 40 cameras."""
    count = Counter(sample.source for sample in samples)
    return np.array([count[sample.source] ** -0.5 for sample in samples])


def _draw(rng: Rng, weights: Floats64) -> int:
    total = np.cumsum(weights)
    return int(np.searchsorted(total, rng.random() * total[-1], side="right"))


def training_mix(config: RunConfig, kit: Path, data: Path, report: Report) -> Mix:
    """The sets of a configuration. kit: the folder of all but COCO sets, and of whom to cut out; data: of COCO sets' paths."""
    needs_kit = any(entry.kind != "coco" for entry in config.sets)
    real = train_sets(kit, leave_out=config.leave_out, with_dev=config.with_dev, report=report) if needs_kit else {}
    sets = [(entry.share, _read(entry, real, data, report)) for entry in config.sets]
    crops = [s for s in real.get("crops", ()) if s.people[0].posture not in ("", "upper-body")]
    return Mix(sets, crops, (config.network.width_px, config.network.height_px), config.seed)


def _read(entry: Set, real: dict[str, list[Sample]], data: Path, report: Report) -> list[Sample]:
    found = read_folder(data / entry.path, report) if entry.kind == "coco" else real.get(entry.kind, [])
    if not found:
        raise TrainingError(f"set {entry.kind!r} {entry.path} is empty; take it out of the configuration")
    return found


def read_folder(folder: Path, report: Report) -> list[Sample]:
    """All pictures of a folder in COCO's layout: `annotations/*.json` or `*.json`; `images/`, `pictures/` or the folder."""
    files = sorted(folder.glob("annotations/*.json")) or sorted(folder.glob("*.json"))
    if not files:
        raise TrainingError(f"{folder} holds no COCO annotations (*.json or annotations/*.json); make it or give --data")
    pictures = next((path for name in ("images", "pictures") if (path := folder / name).is_dir()), folder)
    return [sample for path in files for sample in read_coco(path, pictures, source=folder.name, report=report)]


def development(kit: Path, report: Report) -> dict[str, list[Scene]]:
    """What runs are compared by: photos with human labels, and a source of scenes that no run trains on."""
    held_out = dev_sets(kit, report=report)
    return {name: [scene_of(sample) for sample in held_out[name]] for name in ("coco", "scenes")}


def tensors(scenes: Sequence[Scene]) -> tuple[list[Tensor], list[Tensor]]:
    """People and ignored boxes of each scene, as the loss takes them."""
    return [torch.from_numpy(s.people) for s in scenes], [torch.from_numpy(s.ignored) for s in scenes]
