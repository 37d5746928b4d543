"""How good are person detectors: AP on photos, and recall of people who lie on the floor? All as the service runs them.

    python -m models.tinydet.evaluate [--models tinydet-s models/tinydet/runs/x/artifact ...] [--json FILE] [--threads 2]
    python -m models.tinydet.evaluate --coco DIR [--split val2017]

Default data: the kit's coco-mini val2017 (never trained on); all of coco-mini, whose other half ours are trained on; the falls
of the kit's clips. Default models: ours and the kit's. AP is COCO's, people only, over all pictures, also those without people;
`ap50_with_people` leaves those out. Recall of who lies: IoU .5 at the service's threshold, no second look, against hand-read
boxes of the clips; with --coco, of people whose `posture` is lying, or whose keypoints say so (models/evaluation/postures.py).
JSON: {model: {ap50, ap, lying_recall, n, ms, ...}}; `ms` is the engine's time for one picture, `ms_frame` with all around it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from common.config import DetectorSettings
from common.geometry import iou_matrix
from models.evaluation import command, official
from models.evaluation.bootstrap import bootstrap
from models.evaluation.coco import DataError, People, Picture, read_coco
from models.evaluation.coco_ap import ALL_SIZES, MAX_BOXES, SIZES, Found, Matched, average_precision, match_boxes
from models.evaluation.floor import OVERLAP, recall_on_floor
from models.evaluation.scores import known
from models.evaluation.timing import Timed, TimedEngine, measure_times
from models.evaluation.variants import Variant, chosen
from services.detector.detect import PersonDetector

OURS = ("tinydet-s", "tinydet-m")
KIT = ("rtmdet-nano", "picodet-s-320", "yolox-nano", "movenet-multipose")
SCORE_MIN = 0.01  # average precision wants weak boxes too, down to where they change nothing
TIMED_PICTURES = 40


def match_all(found: Sequence[Found], pictures: Sequence[Picture], size: tuple[float, float] = ALL_SIZES) -> list[Matched]:
    """What became of each box of each picture, for people of a size."""
    return [
        match_boxes(each.values, each.scores, picture.boxes, picture.areas, picture.crowd, size)
        for each, picture in zip(found, pictures, strict=True)
    ]


def box_scores(found: Sequence[Found], people: People) -> dict[str, Any]:
    """AP50, AP and how many people there are, of all and by size."""
    row = _ap(match_all(found, people.pictures))
    return {**row, "by_size": {name: _ap(match_all(found, people.pictures, size)) for name, size in SIZES.items()}}


def _ap(matched: Sequence[Matched]) -> dict[str, Any]:
    values = average_precision(matched)
    return {"ap50": known(values[0]), "ap": known(float(values.mean())), "n": sum(each.counted for each in matched)}


def ap50_interval(matched: Sequence[Matched], seed: int) -> list[float | None]:
    """95 % interval of AP50, by drawing pictures."""
    at_half = [Matched(each.scores, each.hit[:1], each.ignored[:1], each.counted) for each in matched]

    def ap50(rows: Any) -> float:
        return float(average_precision(at_half, np.bincount(rows, minlength=len(at_half)))[0])

    return [known(end) for end in bootstrap(np.arange(len(at_half)), ap50, seed)]


def recall_by_posture(found: Sequence[Found], people: People, settings: DetectorSettings) -> dict[str, Any]:
    """Of everybody in each posture the share with a box on them, IoU .5, as the service with these settings publishes boxes."""
    seen: dict[str, list[bool]] = {}
    for each, picture in zip(found, people.pictures, strict=True):
        boxes = each.values[each.scores >= settings.score_min][: settings.max_people]  # best first
        best = iou_matrix(picture.boxes, boxes).max(axis=1, initial=0.0)
        for i in np.flatnonzero(~picture.crowd).tolist():
            seen.setdefault(picture.postures[i], []).append(bool(best[i] >= OVERLAP))
    return {name: {"recall": known(float(np.mean(hits))), "n": len(hits)} for name, hits in sorted(seen.items())}


def evaluate(detector: PersonDetector, sets: Sequence[People], settings: DetectorSettings, *, seed: int) -> dict[str, Any]:
    """One row: the numbers of one network but its times, on the first set, and short ones on the second if there is one.

    detector: with SCORE_MIN and MAX_BOXES; settings: of the service, for recall.
    """
    found = [detect_all(detector, people) for people in sets]
    people, matched = sets[0], match_all(found[0], sets[0].pictures)
    judged = official.official_ap("bbox", people.pictures, found[0])
    recalls = recall_by_posture(found[0], people, settings)
    row: dict[str, Any] = {
        **box_scores(found[0], people), "ap50_95": ap50_interval(matched, seed),
        "ap50_with_people": _ap([m for m, p in zip(matched, people.pictures, strict=True) if len(p.boxes)])["ap50"],
        "ap_official": None if judged is None else known(judged["ap"]), "recall_by_posture": recalls,
        "lying_recall": recalls.get("lying", {}).get("recall"), "n_lying": recalls.get("lying", {}).get("n", 0),
        "data": people.name, "score_min": settings.score_min,
    }  # fmt: skip
    for other, boxes in zip(sets[1:], found[1:], strict=True):
        row["all"] = {**_ap(match_all(boxes, other.pictures)), "data": other.name}
    return row


def detect_all(detector: PersonDetector, people: People) -> list[Found]:
    """Boxes in every picture."""
    found = []
    for picture in people.pictures:
        each = detector.detect(picture.read())
        found.append(Found(each.boxes, each.scores))
    return found


def tables(rows: command.Rows) -> list[command.Table]:
    """The rows for people to read: all, by size."""
    number, interval = command.number, command.interval
    sizes = {name: next(iter(rows.values()))["by_size"][name]["n"] for name in SIZES}
    return [
        command.Table(
            "People; recall of who lies",
            ("model", "file", "AP50", "95 %", "AP", "n", "AP50 all", "lying", "95 %", "IoU .3", "upright", "ms", "ms/frame"),
            tuple(
                (name, f"{row['format']} {row['precision']}", number(row["ap50"]), interval(row["ap50_95"]), number(row["ap"]),
                 str(row["n"]), number(row.get("all", {}).get("ap50")), number(row["lying_recall"]),
                 interval(row.get("lying_recall_95")), number(row.get("lying_recall_iou30")),
                 number(row.get("upright_recall")), number(row["ms"], 1), number(row["ms_frame"], 1))
                for name, row in rows.items()
            ),
        ),
        command.Table(
            "AP50 (AP) by size", ("model", *(f"{name}, n={n}" for name, n in sizes.items())),
            tuple((name, *(_pair(row["by_size"][size]) for size in sizes)) for name, row in rows.items()),
        ),
    ]  # fmt: skip


def _pair(size: dict[str, Any]) -> str:
    return f"{command.number(size['ap50'], 2)} ({command.number(size['ap'], 2)})"


def read_data(arguments: argparse.Namespace) -> list[People]:
    """The sets to evaluate on, the first in full. Raises DataError."""
    if arguments.coco is not None:
        sets = [read_coco(arguments.coco, split=arguments.split)]
    else:
        folder = command.kit_folder(arguments, "coco-mini")
        sets = [
            read_coco(folder, split="person_keypoints_val2017", name="coco-mini val2017"),
            read_coco(folder, split="person_keypoints", name="coco-mini, also the half that ours are trained on"),
        ]
    for people in sets:
        command.say_data(people, people.boxed, "people")
    if sets[0].boxed == 0:
        raise DataError(f"{sets[0].name}: nobody is annotated; needs annotations of the category person with a bbox")
    return sets


def measure(arguments: argparse.Namespace) -> tuple[command.Rows, list[str]]:
    """Rows of all networks that the arguments ask for, and a line for each that is left out."""
    variants, left_out = chosen(arguments.models, OURS + KIT, "detect", arguments.precision)
    sets = read_data(arguments)
    images = [picture.read() for picture in sets[0].pictures[:TIMED_PICTURES]]
    settings = DetectorSettings()
    rows: command.Rows = {}
    timed: dict[str, Timed] = {}
    with ExitStack() as stack:
        for variant in variants:
            command.progress(f"{variant.key}: {variant.format} {variant.precision} by {variant.runtime}")
            engine = TimedEngine(variant.load("detect", arguments.threads))
            stack.callback(engine.close)
            every = PersonDetector(engine, variant.artifact, score_min=SCORE_MIN, max_people=MAX_BOXES)
            service = PersonDetector(engine, variant.artifact, score_min=settings.score_min, max_people=settings.max_people)
            rows[variant.key] = evaluate(every, sets, settings, seed=arguments.seed)
            if arguments.coco is None and not arguments.no_floor:
                rows[variant.key] |= recall_on_floor(service, arguments.kit / "data").as_json(arguments.seed)
            timed[variant.key] = Timed(engine, [partial(service.detect, image) for image in images])
        for variant, times in zip(variants, measure_times(timed).values(), strict=True):
            rows[variant.key] |= {"ms": known(times.engine_ms, 2), "ms_frame": known(times.whole_ms, 2), "n_timed": times.n}
            rows[variant.key] |= command.conditions(variant, arguments.threads)
    _compare_precisions(rows, variants)
    return rows, left_out


def work(arguments: argparse.Namespace) -> command.Rows:
    """Measure and print."""
    rows, notes = measure(arguments)
    command.show(tables(rows), notes)
    return rows


def _compare_precisions(rows: command.Rows, variants: Sequence[Variant]) -> None:
    """Add to each further file what it loses to the artifact's default: `ap50_lost`."""
    for variant in variants[1:]:
        default = next(each for each in variants if each.artifact.folder == variant.artifact.folder)
        if variant is not default:
            rows[variant.key]["ap50_lost"] = known((rows[default.key]["ap50"] or 0.0) - (rows[variant.key]["ap50"] or 0.0))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    found = command.options(__doc__, kind="people")
    found.add_argument("--no-floor", action="store_true", help="leave the fall clips out: a minute less for each model")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    return command.run(work, parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
