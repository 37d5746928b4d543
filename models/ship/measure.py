"""Measure the files of an artifact as they are shipped, and write what was found beside them.

    python -m models.ship.measure tinypose-s tinydet-m        # on a machine that does nothing else, for the times

`evaluation.json`, the manifest's [[measured]] and MODEL_CARD.md come from one run, with the kit's networks beside ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from common.artifact import Artifact, find_artifact, read_artifact
from common.manifest import FILENAME, ModelError, read_manifest
from models.convert.publish import Value
from models.convert.report import device
from models.ship.card import CARD, card
from models.ship.tables import table
from models.tinydet import evaluate as tinydet
from models.tinypose import evaluate as tinypose

EVALUATION = "evaluation.json"
BESIDE = {"pose": ("movenet-lightning", "pp-tinypose-128x96", "pp-tinypose-256x192"),
          "detect": ("rtmdet-nano", "picodet-s-320", "yolox-nano")}  # fmt: skip
METRICS = {"pose": {"AP~": "ap_tilde", "OKS": "oks", "AP": "ap_own"},
           "detect": {"AP50": "ap50", "AP": "ap", "recall lying": "lying_recall"}}  # fmt: skip
_COMMAND = "python -m models.ship.measure"
Rows = dict[str, dict[str, Any]]


def evaluate(
    folder: Path, *, kit: Path, coco: Path | None = None, beside: Sequence[str] | None = None, threads: int = 2
) -> Rows:
    """The numbers of every file of the artifact, and of other networks in the same run. coco: data, instead of the kit's.

    Raises ModelError where the evaluation fails; it says why on stderr.
    """
    task = read_artifact(folder).tasks[0]
    names = BESIDE[task] if beside is None else beside
    part = folder / f"{EVALUATION}.new"
    arguments = ["--models", str(folder), *names, "--json", str(part), "--threads", str(threads), "--kit", str(kit)]
    arguments += [] if coco is None else ["--coco", str(coco)]
    try:
        code = (tinypose if task == "pose" else tinydet).main(arguments)
        if code:
            raise ModelError(f"{folder}: the evaluation ended with code {code}; see above")
        rows: Rows = json.loads(part.read_text(encoding="utf-8"))
    finally:
        part.unlink(missing_ok=True)
    return rows


def write(folder: Path, rows: Rows) -> None:
    """evaluation.json, the measured rows of the manifest (instead of those of an earlier measurement), and the card."""
    artifact = read_artifact(folder)
    _replace(folder / EVALUATION, json.dumps(rows, indent=1) + "\n")
    text = (folder / FILENAME).read_text(encoding="utf-8")
    head, *old = text.split("\n[[measured]]\n")
    kept = [f"\n[[measured]]\n{each.rstrip()}\n" for each in old if _COMMAND not in each]
    _replace(folder / FILENAME, "".join([head.rstrip() + "\n", *kept, *_measured(artifact, rows)]))
    read_manifest(folder / FILENAME)
    _replace(folder / CARD, card(folder))


def _measured(artifact: Artifact, rows: Rows) -> list[str]:
    task = artifact.tasks[0]
    texts = []
    for key, row in rows.items():
        if key != artifact.name and not key.startswith(f"{artifact.name}:"):
            continue
        for metric, name in METRICS[task].items():
            if (value := row.get(name)) is None:
                continue
            count = row["n_lying"] if metric == "recall lying" else row["n"]
            if not count:
                continue
            entry: dict[str, Value] = {
                "task": task, "metric": metric, "value": value, "n": count, "runtime": row["runtime"],
                "dataset": "fall clips" if metric == "recall lying" and "n_clips" in row else row["data"],
                "precision": row["precision"], "device": device(), "note": f"{_COMMAND}, load average {row['load_average']}",
            }  # fmt: skip
            if row.get("ms") and metric == next(iter(METRICS[task])):
                entry["threads_ms"] = {str(row["threads"]): row["ms"]}  # type: ignore[assignment]
            texts.append("\n" + table("[[measured]]", entry))
    return texts


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def main(
    names: Annotated[list[str], typer.Argument(help="artifacts, by name or folder")],
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT")] = Path("../shared/kit"),
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    for name in names:
        folder = find_artifact(name).folder
        write(folder, evaluate(folder, kit=kit, threads=threads))


if __name__ == "__main__":
    typer.run(main)
