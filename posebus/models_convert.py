"""`posebus models convert` and `compare`: a PyTorch network to files for every device, each of them verified."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from common.artifact import Artifact, find_artifact
from common.config import DetectorSettings
from common.manifest import Precision
from common.runtimes import load
from posebus.models_show import wide_console
from posebus.quiet import quiet_native
from posebus.running import interruptible

if TYPE_CHECKING:
    from models.convert.compare import Comparison
    from models.convert.report import Report
    from models.convert.samples import Find

FORMATS = "onnx,tflite,tflite-dynamic,tflite-int8"
RENDERED = "rendered"


class ConvertTarget(str, Enum):
    tflite = "tflite"
    edgetpu = "edgetpu"


class PrecisionName(str, Enum):
    auto = "auto"
    float32 = "float32"
    float16 = "float16"
    dynamic_int8 = "dynamic_int8"
    int8 = "int8"


class IntegerKind(str, Enum):
    int8 = "int8"
    uint8 = "uint8"


CheckpointArgument = Annotated[
    Path, typer.Argument(help="a checkpoint (.pth), an .onnx, or an OpenVINO .xml", show_default=False)
]
DataOption = Annotated[
    str, typer.Option("--data", help="real pictures with people: folder, .zip or video; 'rendered': our own clip")
]
BoxesOption = Annotated[Path | None, typer.Option(help="where the people are: COCO .json, or .npz with names and boxes")]
DetectorOption = Annotated[str, typer.Option(help="artifact that finds the people in pictures without boxes, and in videos")]
ThreadsOption = Annotated[int, typer.Option(min=1, max=64, help="for running the networks")]


def convert(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(help="folder of the new artifact", show_default=False)],
    network: Annotated[str | None, typer.Option(help="kind of network; default: the one that reads the file")] = None,
    variant: Annotated[str | None, typer.Option(help="which of its configurations; default: the one that fits")] = None,
    formats: Annotated[str, typer.Option(help="what to make, separated by commas")] = FORMATS,
    calibration: Annotated[
        str, typer.Option(help="real pictures with people: folder, .zip or video; 'rendered': our own clip, for trials")
    ] = "",
    frames: Annotated[int, typer.Option(min=1, help="pictures to calibrate int8 with")] = 128,
    check: Annotated[int, typer.Option(min=8, help="further pictures, on which each file is compared")] = 48,
    boxes: BoxesOption = None,
    detector: DetectorOption = "",
    target: Annotated[ConvertTarget, typer.Option(help="whose operators the TFLite files use")] = ConvertTarget.tflite,
    io: Annotated[IntegerKind, typer.Option(help="numbers in and out of the int8 file")] = IntegerKind.int8,
    decode: Annotated[bool, typer.Option("--decode", help="keypoints instead of heatmaps; with --formats onnx")] = False,
    threads: ThreadsOption = 2,
) -> None:
    """Convert a network to ONNX and TFLite, float and int8, and compare each file with the one it was made of.

    Exit code 0: the artifact is in the folder; 1: a file lost its accuracy, the folder is as it was; 2: it cannot be done.
    """
    from models.convert.data import load_data
    from models.convert.pipeline import Options
    from models.convert.pipeline import convert as run
    from models.convert.source import load_source

    kinds: tuple[Any, ...] = tuple(part.strip() for part in formats.split(",") if part.strip())
    options = Options(kinds, decode, target.value, io.value, threads)
    # SIGTERM ends it as Ctrl-C does: what is half written goes.
    with interruptible(), _progress() as watch:
        watch("reading the network", 0.0)
        source = load_source(checkpoint, network, variant)
        watch("gathering pictures", 0.0)
        # Without pictures, float files are compared on our own clip; int8 is refused, and says what to give.
        int8 = "tflite-int8" in kinds and bool(calibration)
        with _finder(detector, threads) as find:
            data = load_data(calibration or RENDERED, frames if int8 else 0, check=check, boxes=boxes, find=find)
        report = run(source, out, data, options, watch=watch)
    _show(report)
    raise typer.Exit(0 if report.passed else 1)


def compare(
    reference: Annotated[str, typer.Argument(help="artifact, by name or folder, that is right")],
    candidate: Annotated[str, typer.Argument(help="artifact to judge; may be the same with another precision")],
    data: DataOption,
    precision_a: Annotated[PrecisionName, typer.Option(help="of the reference's file")] = PrecisionName.auto,
    precision_b: Annotated[PrecisionName, typer.Option(help="of the candidate's file")] = PrecisionName.auto,
    runtime_a: Annotated[str, typer.Option(help="runs the reference")] = "auto",
    runtime_b: Annotated[str, typer.Option(help="runs the candidate")] = "auto",
    count: Annotated[int, typer.Option(min=8, help="pictures to compare on")] = 48,
    boxes: BoxesOption = None,
    detector: DetectorOption = "",
    threads: ThreadsOption = 2,
) -> None:
    """Judge a network by another: keypoints or boxes on the same pictures, as the services compute them.

    Exit code 0: the candidate may take the reference's place; 1: it lost its accuracy; 2: they cannot be compared.
    """
    from models.convert.compare import Side
    from models.convert.compare import compare as run
    from models.convert.samples import load_samples

    artifacts = find_artifact(reference), find_artifact(candidate)
    with _progress() as watch:
        watch("gathering pictures", 0.0)
        with _finder(detector, threads) as find:
            samples = load_samples(data, count, boxes=boxes, find=find)
        watch("loading the networks", 0.0)
        sides = [
            _side(Side, artifact, runtime, precision, threads)
            for artifact, runtime, precision in zip(
                artifacts, (runtime_a, runtime_b), (precision_a.value, precision_b.value), strict=True
            )
        ]
        judged_as = _precision(artifacts[1], sides[1].engine.name, precision_b.value)
        with quiet_native():
            result = run(sides[0], sides[1], samples, judged_as, watch=lambda done, total: watch("comparing", done / total))
        for side in sides:
            side.engine.close()
    names = f"{artifacts[1]} ({sides[1].engine.name} {judged_as}) against {artifacts[0]} ({sides[0].engine.name})"
    _show_comparison(names, result)
    raise typer.Exit(0 if result.verdict.passed else 1)


def _side(side: Any, artifact: Artifact, runtime: str, precision: str, threads: int) -> Any:
    with quiet_native():
        return side(load(artifact, runtime=runtime, precision=precision, threads=threads), artifact)


def _precision(artifact: Artifact, runtime: str, wanted: str) -> Precision:
    """Of the file that the runtime has taken: its tolerances apply."""
    from common.artifact import file_for
    from common.runtimes import formats

    form = next((each for each in formats(runtime) if each in artifact.formats), None)
    return file_for(artifact, form, precision=wanted).precision if form and artifact.manifest.file else "float32"


@contextmanager
def _finder(name: str, threads: int) -> Iterator[Find | None]:
    """Finds the people of pictures that come without boxes; None where no detector is named."""
    if not name:
        yield None
        return
    from services.detector.detect import load_detector

    with quiet_native():
        detector = load_detector(DetectorSettings(model=name, threads=threads))
    yield lambda image: detector.detect(image).boxes
    detector.close()


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr. It writes to a descriptor of its own, since converters are silenced by closing the usual two."""
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as stderr:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn())
        with Progress(*columns, console=Console(file=stderr), transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            yield lambda what, share: bar.update(task, description=what, completed=share)


def _show(report: Report) -> None:
    from models.convert.pipeline import KINDS

    console = wide_console()
    table = Table(title=f"{report.name}: compared on {report.check_frames} pictures of {report.data}", title_justify="left")
    heads = ("file", "precision", "size", "made in", "compared with", "max error", "noise", "shift p95", "OKS", "Edge TPU")
    for head in (*heads, "verdict"):
        table.add_column(head, overflow="fold")
    for step in report.steps:
        on_tpu = "" if step.on_edgetpu is None else f"{step.on_edgetpu[0]} of {step.on_edgetpu[1]} ops"
        verdict = "[green]good[/]" if step.passed else "[red]refused[/]"
        table.add_row(step.file, step.precision, f"{step.size_bytes / 2**20:.2f} MB", f"{step.convert_s:.1f} s", step.reference,
                      *_numbers(step.comparison), on_tpu, verdict)  # fmt: skip
    console.print(table)
    changes = max((step.changes for step in report.steps), key=len, default=())  # of the int8 file, where it is made
    if changes:
        console.print(_summary(changes) + (" (all in report.json)" if report.passed else ""), highlight=False)
    _explain(console, {step.file: step.comparison for step in report.steps})
    if report.weak:
        console.print(f"note: {report.weak}", highlight=False)
    if report.passed:
        console.print(f"the artifact is in {report.out}; use it as `model: {report.out}`", highlight=False)
    else:
        good = ",".join(kind for kind, made in KINDS.items() if any(s.passed and s.file == made.filename for s in report.steps))
        advice = f"; --formats {good} makes those that are good" if good else ""
        console.print(f"nothing was written to {report.out}{advice}", highlight=False)


def _summary(changes: tuple[str, ...]) -> str:
    """`rewritten exactly: 53 x batch norm, 2 x pixel shuffle by 2`, of lines `path: what: how`."""
    whats = Counter(parts[1] for change in changes if len(parts := change.split(": ", 2)) == 3)
    done = ", ".join(f"{count} x {what}" for what, count in whats.most_common())
    others = [change for change in changes if change.count(": ") < 2]
    return "; ".join([*([f"rewritten exactly: {done}"] if done else []), *others])


def _numbers(comparison: Comparison) -> tuple[str, str, str, str]:
    """Largest error and noise of the raw outputs, shift of keypoints, OKS (for detectors: recall, AP50)."""
    from models.convert.agreement import PoseAgreement

    found = comparison.agreement
    error = ("", "") if found.error is None else (f"{found.error.max_of_range:.2%}", f"{found.error.noise:.2g}")
    if isinstance(found, PoseAgreement):
        return (*error, _spelt(found.shift_p95_px, "{:.2f} px"), _spelt(found.oks, "{:.4f}"))
    return (*error, _spelt(found.recall, "recall {:.3f}"), _spelt(found.ap50, "AP50 {:.3f}"))


def _spelt(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _explain(console: Console, comparisons: Mapping[str, Comparison]) -> None:
    """What speaks against each file; then what is to be known, once for all files that it is true of."""
    notes: dict[str, list[str]] = {}
    for file, comparison in comparisons.items():
        for reason in comparison.verdict.reasons:
            console.print(f"[red]{escape(file)}: {escape(reason)}[/]", highlight=False)
        for note in comparison.verdict.notes:
            notes.setdefault(note, []).append(file)
    for note, files in notes.items():
        console.print(f"{escape(', '.join(files))}: {escape(note)}", highlight=False)


def _show_comparison(names: str, comparison: Comparison) -> None:
    console = wide_console()
    console.print(names, highlight=False)
    table = Table(show_header=False)
    for key, value in vars(comparison.agreement).items():
        if key == "error":
            continue
        table.add_row(key, "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value))
    if comparison.agreement.error is not None:
        table.add_row("output noise", f"{comparison.agreement.error.noise:.3g} ({comparison.agreement.error.db:.0f} dB)")
        table.add_row("largest error of the outputs' range", f"{comparison.agreement.error.max_of_range:.3%}")
    console.print(table)
    _explain(console, {"candidate": comparison})
    console.print("[green]good[/]" if comparison.verdict.passed else "[red]refused: it is not the same network any more[/]")
