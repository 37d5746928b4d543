"""`posebus models show NAME`: everything that a manifest says, for people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from common import model_store
from common.artifact import Artifact, find_artifact
from common.config import default_models
from common.manifest import FILENAME, InputSpec, KitSource, ModelFile, PypiSource, Source, UrlSource
from common.runtimes import candidates

SHORT = 12  # hex digits of a SHA-256: enough to compare by eye


def show(name: Annotated[str, typer.Argument(help="name or folder of an artifact", show_default=False)]) -> None:
    """Show one network: files, input, decoders, licence, origin, and what was measured."""
    artifact = find_artifact(name)
    console = wide_console()
    manifest = artifact.manifest
    console.print(f"[bold]{manifest.name}[/] {manifest.version}", highlight=False)
    facts = _grid()
    for key, value in (
        ("tasks", ", ".join(manifest.tasks) + (f" ({manifest.keypoints})" if manifest.keypoints else "")),
        ("input", spell_input(manifest.input)),
        *((task, spell_table(getattr(manifest, task))) for task in manifest.tasks),
        ("default of", default_of(artifact.name) or "nothing"),
        ("runtime: auto", spell_order(artifact)),
        ("licence", manifest.licence),
        ("trained on", manifest.training_data),
        ("provenance", manifest.provenance),
        ("manifest", str(artifact.folder / FILENAME)),
    ):
        facts.add_row(key, value)
    console.print(facts)
    for table in (_files(artifact), _measured(artifact), _latency(artifact)):
        if table.row_count:
            console.print()
            console.print(table)
    if not manifest.file:
        console.print("it has no files: the runtime 'fake' computes its answers")


def default_of(name: str) -> str:
    """The stages that run that artifact unless the configuration names another."""
    return ", ".join(stage for stage, model in default_models().items() if model == name)


def spell_order(artifact: Artifact) -> str:
    """`tensorrt (onnx float32), tflite (tflite int8)`: what `auto` tries, in its order, with the file that each would take."""
    files = [file for file in artifact.manifest.file if file.role == "model"]
    first: dict[str, str] = {file.format: f" {file.precision}" for file in reversed(files)}
    return ", ".join(f"{runtime} ({format}{first.get(format, '')})" for runtime, format in candidates(artifact))


def wide_console() -> Console:
    """The terminal's own width; in pipes and files wide enough for tables."""
    return Console(width=None if sys.stdout.isatty() else 160)


def spell_input(spec: InputSpec) -> str:
    """`192x256 px rgb, NCHW float32, (pixel - mean) / std with mean 1 2 3, std 4 5 6, one picture at a time`."""
    size = f"{spec.width_px}x{spec.height_px} px" if spec.multiple_px is None else f"any size in steps of {spec.multiple_px} px"
    parts = [f"{size} {spec.colour}", f"{spec.layout} {spec.dtype}"]
    if spec.mean is not None and spec.std is not None:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
        parts.append(f"(pixel - mean) / std with mean {mean}, std {std}")
    parts.append("batches" if spec.batch else "one picture at a time")
    return ", ".join(parts)


def spell_table(table: BaseModel) -> str:
    """`decoder heatmaps, width_px 192, ...`: all keys of [detect], [pose] or [bottom_up], defaults too."""
    return ", ".join(f"{key} {value}" for key, value in table.model_dump().items())


def spell_source(source: Source) -> str:
    """Where a file comes from, in a few words."""
    if isinstance(source, PypiSource):
        inside = source.member if source.inner is None else f"{source.member}: {source.inner}"
        return f"PyPI {source.package} {source.version} ({inside})"
    if isinstance(source, KitSource):
        return f"kit {source.path}"
    return source.url if isinstance(source, UrlSource) else "the artifact's folder"


def where(file: ModelFile, folder: Path) -> str:
    """Path of a file that is here, else `no`."""
    place = model_store.here(file, folder=folder)
    return "no" if place is None else str(place)


def _files(artifact: Artifact) -> Table:
    table = _table("files", "file", "format", "precision", "size", "sha256", "from", "here")
    for file in artifact.manifest.file:
        kind = file.format if file.role == "model" else f"{file.format} {file.role}"
        table.add_row(file.path, kind, file.precision, f"{file.size_bytes / 2**20:.1f} MB", file.sha256[:SHORT],
                      ", else ".join(map(spell_source, file.source)), where(file, artifact.folder))  # fmt: skip
    return table


def _measured(artifact: Artifact) -> Table:
    table = _table("measured", "task", "metric", "value", "on", "n", "runtime", "precision", "device", "note")
    for entry in artifact.manifest.measured:
        times = ", ".join(f"{threads} thread{'s' * (threads != '1')}: {ms:g} ms" for threads, ms in entry.threads_ms.items())
        table.add_row(entry.task, entry.metric, f"{entry.value:g}", entry.dataset, str(entry.n), entry.runtime, entry.precision,
                      entry.device, "; ".join(part for part in (times, entry.note) if part))  # fmt: skip
    return table


def _latency(artifact: Artifact) -> Table:
    table = _table(
        "latency of the engine alone", "task", "runtime", "precision", "threads", "batch", "p50 ms", "p99 ms", "MiB", "device",
        "date", "commit",
    )  # fmt: skip
    for entry in artifact.manifest.latency:
        memory = "" if entry.memory_mib is None else f"{entry.memory_mib:.0f}"
        table.add_row(entry.task, entry.runtime, entry.precision, str(entry.threads), str(entry.batch), f"{entry.p50_ms:.2f}",
                      f"{entry.p99_ms:.2f}", memory, entry.device, entry.date, entry.commit)  # fmt: skip
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
