"""The data sets of a configuration, read and split. Validation data is not among them: nothing here can train on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.data.pack import pack
from models.data.readers.coco import read_coco
from models.data.readers.lsp import read_lsp
from models.data.readers.people import read_crops, read_labelled_scenes
from models.data.sample import Report, Sample
from models.tinypose.batches import Example, examples
from models.tinypose.config import RunConfig, Set
from models.training.errors import TrainingError

# Real people, labelled by hand, whom no run trains on: the photos of coco-mini's train half, for choosing between runs.
DEV = ("data/coco-mini/annotations", "data/coco-mini/train2017")


# Of packed pictures. A person of half a picture still has the pixels of the largest crop; in scenes people are smaller.
LONG_SIDE_PX = 400
SCENE_SIDE_PX = 960


def training_sets(
    config: RunConfig, kit: Path, data: Path, report: Report, *, cache: Path | None = None
) -> list[tuple[float, Sequence[Example]]]:
    """(share, examples) of each set. kit: the kit's folder; data: what `coco` paths are relative to; cache: for the decoded
    pictures, which makes a step a tenth faster."""
    out: list[tuple[float, Sequence[Example]]] = []
    for entry in config.sets:
        samples = _read(entry, kit, data, report)
        side = SCENE_SIDE_PX if entry.kind == "scenes" else LONG_SIDE_PX
        found = examples(pack(samples, side, cache=cache).samples if cache and samples else samples, keypoints=config.known)
        if config.part < 1:
            found = [found[i] for i in np.random.default_rng(0).permutation(len(found))[: int(len(found) * config.part)]]
        if not found:
            raise TrainingError(f"set {entry.kind} {entry.path} holds nobody with keypoints; take it out of the configuration")
        out.append((entry.share, found))
    return out


def _read(entry: Set, kit: Path, data: Path, report: Report) -> list[Sample]:
    if entry.kind == "people":
        return read_crops(kit / "people", leave_out=entry.leave_out, report=report)
    if entry.kind == "lsp":
        return read_lsp(kit / "data" / "lspet", report=report)
    folder = data / entry.path
    if entry.kind == "scenes":
        return read_labelled_scenes(kit / "people", folder / "scenes.npz", report=report)
    found = sorted(folder.glob("annotations/*.json")) or sorted(folder.glob("*.json"))
    if not found:
        raise TrainingError(f"{folder} holds no COCO annotations (*.json or annotations/*.json); make it or give --data")
    pictures = next((folder / name for name in ("images", "pictures") if (folder / name).is_dir()), folder)
    return [sample for path in found for sample in read_coco(path, pictures, source=folder.name, report=report)]


def dev_set(kit: Path, report: Report) -> list[Example]:
    """The people by whom runs are compared; empty where the kit is absent."""
    annotations = sorted((kit / DEV[0]).glob("*train*.json"))
    read = (read_coco(path, kit / DEV[1], source="coco-mini", partial=True, report=report) for path in annotations)
    return examples([sample for samples in read for sample in samples], keypoints=1)
