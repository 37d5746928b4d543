"""How good are pose networks, given each person's true box? No flip test; all as the pose service runs them.

    python -m models.tinypose.evaluate [--models tinypose-s models/tinypose/runs/x/artifact ...] [--json FILE] [--threads 2]
    python -m models.tinypose.evaluate --coco DIR [--split val2017]

Default data: the kit's coco-mini val2017 (never trained on) and val.zip of LSP-extended (extreme poses, PCK@0.2). Default
models: ours and the kit's. AP~ is the mean share of people whose OKS is at least .50:.05:.95, over people with a labelled
keypoint, by the annotation's area; AP is COCO's, with the mean keypoint score as the person's. Needs no PyTorch.
JSON: {model: {ap_tilde, oks, ap, n, ms, ...}}; `ms` is the engine's time for one person, `ms_person` with crop and decoding.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats, Image
from models.evaluation import command, official
from models.evaluation.bootstrap import bootstrap
from models.evaluation.coco import DataError, People, Picture, read_coco
from models.evaluation.coco_ap import Found, average_precision, match_keypoints
from models.evaluation.lsp import pck, pck_counts, read_lsp, torso_px
from models.evaluation.oks import Values
from models.evaluation.scores import Scores, known, score_keypoints
from models.evaluation.timing import Timed, TimedEngine, measure_times
from models.evaluation.variants import Variant, chosen
from services.pose.estimate import PoseEstimator

OURS = ("tinypose-s", "tinypose-m")
KIT = ("movenet-lightning", "pp-tinypose-128x96", "pp-tinypose-256x192", "movenet-multipose")
TIMED_PEOPLE = 60
PRECISIONS = ("float32", "float16", "dynamic_int8", "int8")  # most exact first


def labelled_only(picture: Picture) -> Floats:
    """(n, 4) boxes of the people who count."""
    return picture.boxes[picture.labelled]


def estimate_all(estimator: PoseEstimator, pictures: Sequence[Picture]) -> list[Found]:
    """Keypoints of everybody who counts, a batch for each picture; a person's score is the mean of their keypoints'."""
    found = []
    for picture in pictures:
        boxes = labelled_only(picture)
        keypoints = estimator.estimate(picture.read(), boxes) if len(boxes) else np.empty((0, 17, 3), np.float32)
        found.append(Found(keypoints, keypoints[:, :, 2].mean(axis=1)))
    return found


def score(found: Sequence[Found], pictures: Sequence[Picture], seed: int) -> Scores:
    """OKS of everybody who counts and what follows from it."""
    postures = [p for picture in pictures for p, counts in zip(picture.postures, picture.labelled, strict=True) if counts]
    return score_keypoints(
        np.concatenate([each.values for each in found]),
        np.concatenate([picture.keypoints[picture.labelled] for picture in pictures]),
        np.concatenate([picture.areas[picture.labelled] for picture in pictures]), postures, seed=seed,
    )  # fmt: skip


def coco_ap(found: Sequence[Found], pictures: Sequence[Picture]) -> dict[str, Any]:
    """AP of keypoints: the official code's as `ap`, null where it is not installed; `ap_own` is ours and the same."""
    judged = official.official_ap("keypoints", pictures, found)
    own = average_precision([
        match_keypoints(each.values, each.scores, picture.keypoints, picture.areas, picture.boxes, picture.crowd)
        for each, picture in zip(found, pictures, strict=True)
    ])  # fmt: skip
    if judged is None:
        return {"ap": None, "ap_own": known(float(own.mean())), "ap_by": None}
    named = {"ap": "ap", "ap50": "ap50", "ap75": "ap75", "medium": "ap_medium", "large": "ap_large"}
    row: dict[str, Any] = {name: known(judged[stat]) for stat, name in named.items()}
    return {**row, "ap_own": known(float(own.mean())), "ap_by": f"pycocotools {official.version()}"}


def some_people(pictures: Sequence[Picture]) -> list[tuple[Image, Floats]]:
    """The first TIMED_PEOPLE, to be timed one at a time: the picture and the box (1, 4) of each."""
    some: list[tuple[Image, Floats]] = []
    for picture in pictures:
        boxes = labelled_only(picture)[: TIMED_PEOPLE - len(some)]
        if len(boxes):
            image = picture.read()
            some += [(image, boxes[i : i + 1]) for i in range(len(boxes))]
    return some


def evaluate(estimator: PoseEstimator, people: People, lsp: People | None, *, seed: int) -> tuple[dict[str, Any], Values]:
    """One row: the numbers of one network but its times, and the OKS of each person. Raises ModelError, DataError."""
    found = estimate_all(estimator, people.pictures)
    scores = score(found, people.pictures, seed)
    row: dict[str, Any] = {
        **scores.people.as_json(), **coco_ap(found, people.pictures),
        "by_posture": {name: group.as_json() for name, group in scores.by_posture.items()},
        "by_size": {name: group.as_json() for name, group in scores.by_size.items()}, "data": people.name,
    }  # fmt: skip
    if lsp is not None:
        row["lsp"] = _lsp(estimator, lsp, seed)
    return row, scores.values


def _lsp(estimator: PoseEstimator, lsp: People, seed: int) -> dict[str, Any]:
    """PCK@0.2 of all and by posture; n counts people whose torso is labelled. AP~ beside it, to compare postures."""
    found = estimate_all(estimator, lsp.pictures)
    truth = np.concatenate([picture.keypoints[picture.labelled] for picture in lsp.pictures])
    words = np.array([word for picture in lsp.pictures if picture.labelled[0] for word in picture.postures])
    counts = pck_counts(np.concatenate([each.values for each in found]), truth, torso_px(truth))

    def summary(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        some = counts[chosen & (counts[:, 1] > 0)]
        return {"pck": known(pck(some)), "pck_95": [known(end) for end in bootstrap(some, pck, seed)], "n": len(some)}

    scores = score(found, lsp.pictures, seed)
    return {
        **summary(np.ones(len(counts), np.bool_)), "ap_tilde": known(scores.people.ap_tilde),
        "by_posture": {
            word: {**summary(words == word), "ap_tilde": known(each.ap_tilde)} for word, each in scores.by_posture.items()
        },
        "data": f"{lsp.name}, PCK@0.2 of the torso",
    }  # fmt: skip


def compare_precisions(rows: command.Rows, values: dict[str, Values], variants: Sequence[Variant], seed: int) -> None:
    """Add to each file what it loses to the artifact's most precise one, on the same people: `oks_lost`, `ap_tilde_lost`."""
    best: dict[Path, Variant] = {}
    for variant in sorted(variants, key=lambda variant: PRECISIONS.index(variant.precision)):  # stable: the default comes first
        if variant.key in values:
            best.setdefault(variant.artifact.folder, variant)
    for variant in variants:
        exact = best.get(variant.artifact.folder, variant)
        if variant.key in values and variant is not exact:
            counts = ~np.isnan(values[exact.key])
            lost = (values[exact.key] - values[variant.key])[counts]
            rows[variant.key]["oks_lost"] = known(float(lost.mean()))
            rows[variant.key]["oks_lost_95"] = [known(end) for end in bootstrap(lost, lambda x: float(np.mean(x)), seed)]
            rows[variant.key]["ap_tilde_lost"] = known(rows[exact.key]["ap_tilde"] - rows[variant.key]["ap_tilde"])


def tables(rows: command.Rows) -> list[command.Table]:
    """The rows for people to read: all, by posture, by size, LSP."""
    number, interval = command.number, command.interval
    found = [command.Table(
        "Poses, true boxes",
        ("model", "file", "AP~", "95 %", "OKS", "95 %", "AP", "n", "ms", "ms/person", "PCK@.2", "OKS lost"),
        tuple(
            (name, f"{row['format']} {row['precision']}", number(row["ap_tilde"]), interval(row["ap_tilde_95"]),
             number(row["oks"]), interval(row["oks_95"]), number(row["ap"]), str(row["n"]), number(row["ms"], 1),
             number(row["ms_person"], 1), number(row["lsp"]["pck"]) if "lsp" in row else "-", number(row.get("oks_lost")))
            for name, row in rows.items()
        ),
    )]  # fmt: skip
    for key, by in (("by_posture", "posture"), ("by_size", "size")):
        groups = {name: row["n"] for name, row in next(iter(rows.values()))[key].items() if row["n"]}
        found.append(command.Table(
            f"AP~ (OKS) by {by}", ("model", *(f"{name}, n={n}" for name, n in groups.items())),
            tuple((name, *(_pair(row[key][group], "ap_tilde", "oks") for group in groups)) for name, row in rows.items()),
        ))  # fmt: skip
    if all("lsp" in row for row in rows.values()):
        words = {word: each["n"] for word, each in next(iter(rows.values()))["lsp"]["by_posture"].items()}
        found.append(command.Table(
            "LSP-extended: PCK@.2 (AP~) by posture", ("model", *(f"{word}, n={n}" for word, n in words.items())),
            tuple(
                (name, *(_pair(row["lsp"]["by_posture"][word], "pck", "ap_tilde") for word in words))
                for name, row in rows.items()
            ),
        ))  # fmt: skip
    return found


def _pair(group: dict[str, Any], first: str, second: str) -> str:
    return f"{command.number(group[first], 2)} ({command.number(group[second], 2)})"


def read_data(arguments: argparse.Namespace) -> tuple[People, People | None]:
    """The data set in COCO layout, and LSP where the kit's data are asked for. Raises DataError."""
    lsp = None
    if arguments.coco is not None:
        people = read_coco(arguments.coco, split=arguments.split)
    else:
        people = read_coco(command.kit_folder(arguments, "coco-mini"), split="val2017", name="coco-mini val2017")
        if not arguments.no_lsp:
            folder = command.kit_folder(arguments, "lspet")
            lsp = read_lsp(folder / "val.zip", folder / "labels.npz")
    command.say_data(people, people.labelled, "people with a labelled keypoint")
    if people.labelled == 0:
        raise DataError(f"{people.name}: nobody has a labelled keypoint; needs annotations as COCO's person_keypoints_*.json")
    if lsp is not None:
        command.say_data(lsp, lsp.labelled, "people")
    return people, lsp


def measure(arguments: argparse.Namespace) -> tuple[command.Rows, list[str]]:
    """Rows of all networks that the arguments ask for, and a line for each thing that is left out."""
    variants, left_out = chosen(arguments.models, OURS + KIT, "pose", arguments.precision)
    people, lsp = read_data(arguments)
    rows: command.Rows = {}
    values: dict[str, Values] = {}
    timed: dict[str, Timed] = {}
    some = some_people(people.pictures)
    with ExitStack() as stack:
        for variant in variants:
            command.progress(f"{variant.key}: {variant.format} {variant.precision} by {variant.runtime}")
            engine = TimedEngine(variant.load("pose", arguments.threads))
            stack.callback(engine.close)
            estimator = PoseEstimator(engine, variant.artifact)
            rows[variant.key], values[variant.key] = evaluate(estimator, people, lsp, seed=arguments.seed)
            timed[variant.key] = Timed(engine, [partial(estimator.estimate, image, box) for image, box in some])
        for variant, times in zip(variants, measure_times(timed).values(), strict=True):
            rows[variant.key] |= {"ms": known(times.engine_ms, 2), "ms_person": known(times.whole_ms, 2), "n_timed": times.n}
            rows[variant.key] |= command.conditions(variant, arguments.threads)
    compare_precisions(rows, values, variants, arguments.seed)
    return rows, [*left_out, *([] if official.version() else [official.MISSING])]


def work(arguments: argparse.Namespace) -> command.Rows:
    """Measure and print."""
    rows, notes = measure(arguments)
    command.show(tables(rows), notes)
    return rows


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    found = command.options(__doc__, kind="poses")
    found.add_argument("--no-lsp", action="store_true", help="leave LSP-extended out: a minute less")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    return command.run(work, parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
