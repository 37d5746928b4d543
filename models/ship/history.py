"""What is said of the training of a shipped network: runs, steps, time, data. Taken from what the runs have left behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from models.data.readers.people import NONE_STATED, sources
from models.ship.trained import Trained
from models.training.runs import CONFIG, LOG

STARTS = ("imagenet", "random")


def history(trained: Trained, kit: Path, data: Path) -> dict[str, Any]:
    """runs: of the one that gave the weights and those that it went on from, first one first. data: folder of rendered sets."""
    runs = _chain(trained.runs.parent, trained.config.name)
    if trained.quantised:
        runs.append(_run(trained.runs / "int8") | {"name": f"{trained.config.name}/int8"})
    return {
        "kind": trained.kind, "network": trained.settings, "runs": runs,
        "parameters": sum(p.numel() for p in trained.network.parameters()),
        "seconds": sum(run["seconds"] or 0 for run in runs), "sources": _sources(trained, runs, kit, data),
    }  # fmt: skip


def _chain(folder: Path, name: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    seen = set()
    while name not in STARTS and name not in seen:
        seen.add(name)
        run = _run(folder / name)
        runs.insert(0, run)
        name = str((run["config"] or {}).get("start", "random"))
    return runs


def _run(folder: Path) -> dict[str, Any]:
    """The run's configuration and the last row of its log; None for what it has not left."""
    config, rows = None, []
    if (folder / CONFIG).is_file():
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if (folder / LOG).is_file():
        with (folder / LOG).open(newline="", encoding="utf-8") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    last = rows[-1] if rows else {}
    steps, seconds = int(last.get("step", 0)), last.get("seconds")
    return {"name": folder.name, "config": config, "steps": steps, "seconds": seconds, "last": last}


def _sources(trained: Trained, runs: list[dict[str, Any]], kit: Path, data: Path) -> list[dict[str, Any]]:
    """Each source that any of the runs drew from, with its licence, and how many pictures it has."""
    sets = [entry for run in runs for entry in (run["config"] or {}).get("sets", ())]
    kinds = {entry["kind"] for entry in sets}
    rows: list[dict[str, Any]] = []
    if kinds & {"people", "crops", "scenes"}:
        rows += _people(kit / "people", _left_out(trained.settings))
    if kinds & {"lsp", "lspet"} and (labels := kit / "data" / "lspet" / "labels.npz").is_file():
        with np.load(labels) as file:
            count = sum(str(name).startswith("train") for name in file["names"])
        rows.append({"name": "Leeds Sports Pose extended, train0 and train1", "licence": "research use", "pictures": count})
    for path in sorted({entry["path"] for entry in sets if entry.get("path")}):
        files = [*(data / path).glob("annotations/*.json"), *(data / path).glob("*.json")]
        count = sum(len(json.loads(file.read_text(encoding="utf-8"))["images"]) for file in files)
        rows.append({"name": f"rendered people, {path}", "licence": "made by models/data, CC0-1.0", "pictures": count})
    return rows


def _people(folder: Path, left_out: Collection[str]) -> list[dict[str, Any]]:
    licences = {name: text for name, text in sources(folder).items() if name not in left_out}
    if NONE_STATED in left_out:
        licences = {name: text for name, text in licences.items() if not text.startswith(NONE_STATED)}
    with (folder / "SOURCES.csv").open(encoding="utf-8", newline="") as file:
        return [
            {"name": row["repo"], "licence": licences[row["repo"]], "pictures": int(row["crops"]) + int(row["scenes"]),
             "commit": row["commit"]}
            for row in csv.DictReader(file) if row["repo"] in licences
        ]  # fmt: skip


def _left_out(settings: dict[str, Any]) -> list[str]:
    of_sets = (name for entry in settings.get("sets", ()) for name in entry.get("leave_out", ()))
    return [*settings.get("leave_out", ()), *of_sets]
