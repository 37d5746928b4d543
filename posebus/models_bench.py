"""`posebus models bench`: latency, memory and accuracy of networks on this machine, by each runtime that can run them."""

from __future__ import annotations

import datetime
import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from common.artifact import Artifact, find_artifact, is_here, list_artifacts, pull
from common.manifest import ArtifactError, Latency, Task
from common.runtimes import RUNTIMES, probe
from posebus.errors import SetupError
from posebus.models_bench_case import Case
from posebus.models_latency import device_name, revision, write_latencies
from posebus.models_show import wide_console

TIMEOUT_S = 600.0  # of one case: a network that takes minutes a picture is of no use here


@dataclass(frozen=True)
class Passed:
    """A runtime that cannot run an artifact here, and why."""

    artifact: str
    runtime: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One line of the table: a case and what it gave."""

    case: Case
    answer: dict[str, Any]

    @property
    def error(self) -> str | None:
        found: str | None = self.answer.get("error")
        return found


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="names or folders of artifacts", show_default="all here")] = None,
    runtime: Annotated[str, typer.Option(help="only this runtime")] = "auto",
    device: Annotated[str, typer.Option(help="as the runtime names it")] = "auto",
    precision: Annotated[str, typer.Option(help="only files of this precision")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="threads of the runtime")] = 1,
    batch: Annotated[str, typer.Option(help="batch sizes")] = "1,4,8",
    seconds: Annotated[float, typer.Option(min=0.0, help="measured time of each case")] = 3.0,
    accuracy: Annotated[bool | None, typer.Option(help="on coco-mini; by default where the kit is", show_default=False)] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="write the numbers there")] = None,
    write: Annotated[bool, typer.Option("--write", help="put the latencies into the manifests of the folders given")] = False,
) -> None:
    """Measure networks on this machine: the engine alone, each case in a process of its own.

    A case runs in three rounds and the best counts, as other load only ever adds; memory is what the process grows by.
    """
    if json_file is not None and not os.access(json_file.parent, os.W_OK):
        raise SetupError(f"--json {json_file}: {json_file.parent} is no folder that can be written; give another file")
    artifacts = _artifacts(names, write)
    kit = _kit(accuracy)
    cases, passed = plan(artifacts, runtime, precision)
    full = [
        replace(case, device=device, threads=threads, batch=size, seconds=seconds, kit=kit)
        for case in cases
        for size in [*_sizes(batch), *([0] if kit and case.task != "bottom_up" else [])]
    ]
    if not full:
        raise SetupError("nothing can be measured: " + "; ".join(f"{p.artifact} by {p.runtime}: {p.reason}" for p in passed))
    rows = _run_all(full)
    _show(rows, passed)
    if json_file is not None:
        json_file.write_text(json.dumps(_numbers(rows, passed), indent=1) + "\n", encoding="utf-8")
    if write:
        for artifact in artifacts:
            _write(artifact, rows)
    if all(row.error for row in rows):
        raise typer.Exit(1)


def plan(artifacts: list[Artifact], runtime: str, precision: str) -> tuple[list[Case], list[Passed]]:
    """Each artifact on each runtime and precision that can run it here, and those that cannot, with the reason."""
    if runtime != "auto" and runtime not in RUNTIMES:
        raise SetupError(f"runtime {runtime!r} does not exist; choose auto, {', '.join(RUNTIMES)}")
    cases: list[Case] = []
    passed: list[Passed] = []
    for artifact in artifacts:
        for name, path in RUNTIMES.items():
            if runtime not in ("auto", name):
                continue
            module = importlib.import_module(path)
            format = next((format for format in module.FORMATS if format in artifact.formats), None)
            if format is None:
                needs = " or ".join(module.FORMATS)
                reason: str | None = f"needs a file of the format {needs}; there is {', '.join(artifact.formats)}"
            else:
                reason = probe(name)
            if reason is not None:
                if name != "fake":
                    passed.append(Passed(artifact.name, name, reason))
                continue
            kinds = _precisions(artifact, format)
            chosen = [kind for kind in kinds if precision in ("auto", kind)]
            if chosen and (problem := _lacks(artifact, format)) is not None:
                passed.append(Passed(artifact.name, name, problem))
                continue
            if not chosen:
                passed.append(Passed(artifact.name, name, f"has no {format} file in {precision}; there is {', '.join(kinds)}"))
            folder = str(artifact.folder)
            for kind in chosen:
                asked = "auto" if precision == "auto" and kind in kinds[:1] else kind
                cases += [Case(folder, task, name, kind, "auto", 1, 1, 0.0, asked=asked) for task in artifact.tasks]
    return cases, passed


def _lacks(artifact: Artifact, format: str | None) -> str | None:
    """Why the files of that format cannot be had; None: they are here now, checked."""
    try:
        pull(artifact, formats=(format,) if format else ())
    except ArtifactError as error:
        return str(error)
    return None


def _precisions(artifact: Artifact, format: str | None) -> list[str]:
    """Of the files of that format, in the manifest's order; a network without files computes in float32."""
    files = artifact.manifest.file
    return [file.precision for file in files if file.format == format and file.role == "model"] or ["float32"]


def run_case(case: Case) -> Row:
    """Measure in a child process. It ends when the pipe to us closes, so whatever ends us, even while it starts, ends it."""
    ours, theirs = reversed(os.pipe())
    command = [sys.executable, "-m", "posebus.models_bench_case", json.dumps(asdict(case)), str(theirs)]
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, pass_fds=(theirs,),
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(timeout=TIMEOUT_S)
            except BaseException as error:
                process.kill()
                if isinstance(error, subprocess.TimeoutExpired):
                    return Row(case, {"error": f"did not end within {TIMEOUT_S:.0f} s"})
                raise
    finally:
        os.close(ours)
        os.close(theirs)
    last = out.strip().splitlines()[-1:] or [""]
    if process.returncode == 0 and last[0].startswith('{"case"'):
        answer = json.loads(last[0])
        del answer["case"]
        return Row(case, answer)
    told = (err.strip().splitlines() or ["no message"])[-1]
    return Row(case, {"error": f"the process ended with code {process.returncode}: {told}"})


def _artifacts(names: list[str] | None, write: bool) -> list[Artifact]:
    chosen = [find_artifact(name) for name in names or []]
    built_in = [artifact.name for name, artifact in zip(names or [], chosen, strict=True) if not _is_path(name)]
    if write and (built_in or not chosen):
        what = f"{', '.join(built_in)}: built in" if built_in else "no artifact was given"
        raise SetupError(f"--write: {what}; give the folder of an artifact of your own, whose manifest may be changed")
    if not chosen:
        chosen = [artifact for artifact in list_artifacts() if artifact.manifest.file and _has_some(artifact)]
        if not chosen:
            raise SetupError("no model files are here yet; run `posebus models pull`, or name an artifact")
    return chosen


def _has_some(artifact: Artifact) -> bool:
    """Whether the files of at least one format are here."""
    return any(is_here(artifact, formats=(format,)) for format in artifact.formats)


def _is_path(name: str) -> bool:
    return "/" in name or (Path(name) / "manifest.toml").is_file()


def _kit(wanted: bool | None) -> str:
    """The kit's folder where accuracy is to be measured, else nothing."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "kit"
    folder = Path(os.environ.get("POSEBUS_KIT") or beside).expanduser()
    present = (folder / "data" / "coco-mini").is_dir()
    if wanted and not present:
        raise SetupError(f"--accuracy needs the kit: {folder} has no data/coco-mini; set POSEBUS_KIT")
    return str(folder.resolve()) if present and wanted is not False else ""


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise SetupError(f"--batch {text!r} is no list of sizes; give for example 1,4,8")
    return sizes


def _run_all(cases: list[Case]) -> list[Row]:
    rows: list[Row] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(cases))
        for case in cases:
            progress.update(bar, description=f"{Path(case.artifact).name} by {case.runtime}, {_what(case)}")
            rows.append(run_case(case))
            progress.advance(bar)
    return rows


def _show(rows: list[Row], passed: list[Passed]) -> None:
    console = wide_console()
    table = Table(title=f"{device_name()}: the engine alone, best of three rounds", title_justify="left")
    for column in ("artifact", "task", "runtime", "precision", "threads", "batch"):
        table.add_column(column, overflow="fold", justify="right" if column in ("threads", "batch") else "left")
    for column in ("p50 ms", "p99 ms", "images/s", "MiB"):
        table.add_column(column, justify="right")
    table.add_column("on coco-mini")
    scores = {_key(row.case): row for row in rows if not row.case.batch}
    for row in rows:
        if row.case.batch:
            table.add_row(*_cells(row, scores.pop(_key(row.case), None)))
    console.print(table)
    for row in rows:
        if row.error:
            name = Path(row.case.artifact).name
            console.print(f"{name} by {row.case.runtime}, {_what(row.case)}: {row.error}", style="red", highlight=False)
    for entry in passed:
        console.print(f"not measured: {entry.artifact} by {entry.runtime}: {entry.reason}", style="dim", highlight=False)


def _what(case: Case) -> str:
    return f"{case.task} {case.precision}, " + (f"batch {case.batch}" if case.batch else "accuracy")


def _key(case: Case) -> tuple[str, str, str, str]:
    return case.artifact, case.task, case.runtime, case.precision


def _cells(row: Row, score: Row | None) -> list[str]:
    case, answer = row.case, row.answer
    cells = [Path(case.artifact).name, case.task, case.runtime, case.precision, str(case.threads), str(case.batch)]
    if row.error:
        cells += ["-"] * 4
    else:
        rate = case.batch / answer["p50_ms"] * 1e3
        cells += [f"{answer['p50_ms']:.2f}", f"{answer['p99_ms']:.2f}", f"{rate:.0f}", f"{answer['memory_mib']:.0f}"]
    metrics = {} if score is None else score.answer.get("metrics", {})
    return [*cells, ", ".join(f"{name} {value:.3f} (n={n})" for name, (value, n) in metrics.items())]


def _numbers(rows: list[Row], passed: list[Passed]) -> dict[str, Any]:
    return {
        "device": device_name(),
        "date": datetime.date.today().isoformat(),
        "commit": revision(),
        "rows": [{**asdict(row.case), **row.answer} for row in rows],
        "not_measured": [asdict(entry) for entry in passed],
    }


def _write(artifact: Artifact, rows: list[Row]) -> None:
    """Put what was measured of this artifact into its manifest."""
    tasks: dict[str, Task] = {task: task for task in artifact.tasks}
    found = [
        Latency(
            task=tasks[row.case.task],
            runtime=row.case.runtime,
            precision=row.case.precision,
            device=device_name(row.answer["engine_device"]),
            threads=row.case.threads,
            batch=row.case.batch,
            p50_ms=round(row.answer["p50_ms"], 2),
            p99_ms=round(row.answer["p99_ms"], 2),
            memory_mib=row.answer["memory_mib"],
            date=datetime.date.today().isoformat(),
            commit=revision(),
        )
        for row in rows
        if row.case.batch and not row.error and row.case.artifact == str(artifact.folder)
    ]
    path = artifact.folder / "manifest.toml"
    write_latencies(path, found)
    typer.echo(f"{path}: {len(found)} latencies written")
