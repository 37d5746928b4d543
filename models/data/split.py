"""Which data trains, which decides when to stop, and which judges: split by source and camera, never at random.

* validation: coco-mini val2017 and lspet `val`. Looked at in the end; nothing is chosen on it.
* development: held out of the training data for early stopping and for every choice. Human labels where there are some
  (coco-mini train2017: too few to train on, and the best likeness of validation; the last photos of lspet), and whole sources
  and cameras of teacher-labelled people, among them places that training never sees. Scenes do not name their camera, so of
  them only a whole source can be held out.
* training: the rest.

A final model may train on training and development data together, once all choices are made (`with_dev`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from models.data.readers.coco import read_coco
from models.data.readers.lsp import read_lsp
from models.data.readers.people import read_crops, read_scenes
from models.data.sample import DataError, Report, Sample

Sets = dict[str, list[Sample]]

# Groups of `people` that start with one of these are development data.
DEV_GROUPS = (
    "runtueee/PPE_detection",  # building sites, a whole source: 116 crops, 125 scenes
    "KhiemCE22/Application-PPE/192_168_11_13",  # one of 40 cameras of a plant: 48 crops
    "laifiilhem/fall-detection-yolov5-tensorrt-jetson/rgb",  # living rooms seen from a low camera: 49 crops
    "adiandrianto/YOLOv8-clinical-trial-subject-counter/2-",  # one of the clips of a clinic: 44 crops
)
# Photos of lspet from this number on (129 of 2,125): neighbours in number are often of one event, so a block, not a draw.
DEV_LSPET_FROM = 2350
# Photos with several people, of which another crop is in that block (`python -m models.data.leakage --against dev`).
COPIES_OF_DEV = frozenset({"train0/im00265.jpg", "train0/im01195.jpg"})


def kit_folder() -> Path:
    """$POSEBUS_KIT, or `../shared/kit` beside the checkout. Raises DataError where there is none."""
    folder = Path(os.environ.get("POSEBUS_KIT", "../shared/kit"))
    if not folder.is_dir():
        raise DataError(f"{folder} with the training data is absent: set POSEBUS_KIT")
    return folder


def train_sets(kit: Path, *, leave_out: Collection[str] = (), with_dev: bool = False, report: Report | None = None) -> Sets:
    """`crops` and `lspet` for poses, `scenes` for boxes; with the development data in it, and `coco`, where asked for.

    leave_out: sources of `people` by name, or `none stated`: see `readers/people.py`.
    """
    everything = _learnable(kit, leave_out, report or Report())
    if with_dev:
        return everything
    return {
        name: [sample for sample in samples if not is_dev(sample) and sample.name not in COPIES_OF_DEV]
        for name, samples in everything.items()
        if name != "coco"
    }


def dev_sets(kit: Path, *, leave_out: Collection[str] = (), report: Report | None = None) -> Sets:
    """`crops`, `lspet`, `scenes` and `coco`: disjoint in source or camera from what `train_sets` returns by default."""
    everything = _learnable(kit, leave_out, report or Report())
    return {name: [s for s in samples if is_dev(s)] for name, samples in everything.items()}


def val_sets(kit: Path, *, report: Report | None = None) -> Sets:
    """`coco` and `lspet`: the official validation data."""
    report = report or Report()
    return {"coco": _coco(kit, "val2017", report), "lspet": read_lsp(kit / "data" / "lspet", ("val",), report=report)}


def is_dev(sample: Sample) -> bool:
    if sample.source == "lspet":
        return int(sample.name[-9:-4]) >= DEV_LSPET_FROM
    return sample.source == "coco-mini/train2017" or sample.group.startswith(DEV_GROUPS)


def _learnable(kit: Path, leave_out: Collection[str], report: Report) -> Sets:
    people = kit / "people"
    return {
        "crops": read_crops(people, leave_out=leave_out, report=report),
        "scenes": read_scenes(people, leave_out=leave_out, report=report),
        "lspet": read_lsp(kit / "data" / "lspet", ("train0", "train1"), report=report),
        "coco": _coco(kit, "train2017", report),
    }


def _coco(kit: Path, split: str, report: Report) -> list[Sample]:
    root = kit / "data" / "coco-mini"
    annotations = root / "annotations" / f"person_keypoints_{split}.json"
    # The training file lists 80 pictures, of which the kit has those with labelled keypoints.
    partial = split == "train2017"
    return read_coco(annotations, root / split, source=f"coco-mini/{split}", partial=partial, report=report)


def all_of(sets: Sets) -> Sequence[Sample]:
    return [sample for samples in sets.values() for sample in samples]
