"""From a PyTorch network to a verified artifact, in one go: export, quantise, compare with the step before, publish."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.artifact import read_artifact
from common.manifest import FILENAME, Format, Precision
from common.runtimes import load
from models.convert.compare import Side, compare
from models.convert.data import Data, network_pictures
from models.convert.engine import TorchEngine
from models.convert.halves import onnx_halves, tflite_halves
from models.convert.publish import REPORT, Value, Written, manifest_text, new_folder
from models.convert.quiet import quiet
from models.convert.report import Report, StepReport, measured
from models.convert.source import ConversionError, Source
from models.convert.tflite_io import Integers
from models.convert.to_onnx import to_onnx
from models.convert.to_tflite import float_graph, to_dynamic, to_float, to_int8

FileKind = Literal["onnx", "onnx-float16", "tflite", "tflite-float16", "tflite-dynamic", "tflite-int8"]
Target = Literal["tflite", "edgetpu"]
Watch = Callable[[str, float], None]  # what is under way, and the share of all steps that is done, 0..1


@dataclass(frozen=True)
class _Kind:
    filename: str
    format: Format
    precision: Precision
    batch: bool | None  # of the manifest's [[file]]; TFLite files hold a network for one picture
    packages: tuple[str, ...]  # that make and run it


_TFLITE = ("litert_torch", "ai_edge_litert", "flatbuffers")
KINDS: Mapping[FileKind, _Kind] = {  # in the order in which they are made: each is compared with the float one before
    "onnx": _Kind("model.onnx", "onnx", "float32", None, ("onnx", "onnxruntime")),
    "onnx-float16": _Kind("model_float16.onnx", "onnx", "float16", None, ("onnx", "onnxruntime")),
    "tflite": _Kind("model.tflite", "tflite", "float32", False, _TFLITE),
    "tflite-float16": _Kind("model_float16.tflite", "tflite", "float16", False, (*_TFLITE, "ai_edge_quantizer")),
    "tflite-dynamic": _Kind("model_dynamic.tflite", "tflite", "dynamic_int8", False, (*_TFLITE, "ai_edge_quantizer")),
    "tflite-int8": _Kind("model_int8.tflite", "tflite", "int8", False, (*_TFLITE, "ai_edge_quantizer")),
}


@dataclass(frozen=True)
class Options:
    """decode: keypoints instead of heatmaps, ONNX only. target: whose operators TFLite files use. integers: in and out of
    the int8 file. threads: for the comparison. trial: files that the gate refuses are kept, and only reported: of a network
    that is hardly trained, small differences decide where its maxima are, and it finds too few boxes to compare."""

    formats: tuple[FileKind, ...] = ("onnx", "tflite", "tflite-dynamic", "tflite-int8")
    decode: bool = False
    target: Target = "tflite"
    integers: Integers = "int8"
    threads: int = 2
    trial: bool = False

    def keeps(self, step: StepReport) -> bool:
        return step.passed or self.trial


class _Refused(Exception):
    """Leaves the new folder to be thrown away."""


@dataclass
class _Work:
    """The state of one conversion: what stands in the new folder, and what the next file is compared with."""

    source: Source
    options: Options
    data: Data
    folder: Path
    watch: Watch
    reference: Side
    reference_name: str = "PyTorch float32"
    files: list[Written] = field(default_factory=list)
    rows: list[Mapping[str, Value]] = field(default_factory=list)
    steps: list[StepReport] = field(default_factory=list)
    graph: tuple[bytes, tuple[str, ...]] | None = None


def convert(source: Source, out: Path, data: Data, options: Options | None = None, *, watch: Watch | None = None) -> Report:
    """Convert, verify and publish a network as the artifact folder `out`.

    Each file is run on `data.check` through manifest and decoder and compared with the float file before it (the first with
    PyTorch itself). Only if all are accepted does the folder appear, at once; otherwise whatever was at `out` stays, and the
    report says what was refused and why. Raises ConversionError where a step cannot be done at all.
    """
    options = options or Options()
    _check(source, data, options)
    watch = watch or (lambda what, share: None)
    try:
        with new_folder(out) as folder:
            work = _start(source, options, data, folder, watch)
            kinds = [kind for kind in KINDS if kind in options.formats]
            try:
                for i, kind in enumerate(kinds):
                    _make(work, KINDS[kind], kind, i / len(kinds), 1 / len(kinds))
            finally:
                work.reference.engine.close()
            report = _report(work, out)
            (folder / REPORT).write_text(report.text(), encoding="utf-8")
            if not report.passed:
                raise _Refused
    except _Refused:
        pass
    watch("done", 1.0)
    return report


def _check(source: Source, data: Data, options: Options) -> None:
    unknown = [kind for kind in options.formats if kind not in KINDS]
    if unknown or not options.formats:
        raise ConversionError(f"format {', '.join(unknown) or 'none'} is not known; choose from {', '.join(KINDS)}")
    for package in sorted({package for kind in options.formats for package in KINDS[kind].packages}):
        if importlib.util.find_spec(package) is None:
            raise ConversionError(
                f"{package} is not installed: run `pip install posebus[convert]` (TFLite needs Python 3.11 or newer), or "
                "choose --formats onnx"
            )
    if source.task == "bottom_up":
        raise ConversionError(f"{source.name}: networks that find all skeletons at once cannot be verified yet; not converted")
    if "tflite-int8" in options.formats and not data.calibration:
        raise ConversionError(
            f"{source.name}: full int8 needs real pictures with people, as it takes every layer's range from them; give "
            "--calibration FOLDER, ZIP or VIDEO, or --calibration rendered for a trial, or leave tflite-int8 out of --formats"
        )
    if options.decode and not {"onnx", "onnx-float16"}.issuperset(options.formats):
        raise ConversionError("keypoints decoded in the graph are for ONNX only, as a manifest has one decoder: --formats onnx")
    if not data.check:
        raise ConversionError(f"{source.name}: there are no pictures to compare on")


def _start(source: Source, options: Options, data: Data, folder: Path, watch: Watch) -> _Work:
    """With no file yet, the manifest already says how PyTorch's outputs are to be used."""
    _write_manifest(source, options, folder, [], [])
    artifact = read_artifact(folder)
    with quiet(f"{source.name}: running the network in PyTorch"):
        engine = TorchEngine(source, artifact, decode=options.decode)
        engine.warm_up()
    return _Work(source, options, data, folder, watch, Side(engine, artifact))


def _write_manifest(
    source: Source, options: Options, folder: Path, files: Sequence[Written], rows: Sequence[Mapping[str, Value]]
) -> None:
    decoder = "keypoints" if options.decode else source.decoder
    (folder / FILENAME).write_text(manifest_text(source, files, rows, decoder=decoder), encoding="utf-8")


def _make(work: _Work, kind: _Kind, name: FileKind, begun: float, share: float) -> None:
    """Make one file, compare it, and keep it in the manifest if it is good."""
    path = work.folder / kind.filename
    work.watch(f"{name}: converting", begun)
    started = time.perf_counter()
    changes = _write_model(work, name, path)
    converted = time.perf_counter()
    files = [*work.files, Written(kind.format, kind.precision, path, kind.batch)]
    _write_manifest(work.source, work.options, work.folder, files, work.rows)
    artifact = read_artifact(work.folder)

    def told(done: int, total: int) -> None:
        work.watch(f"{name}: comparing with {work.reference_name}", begun + share * (0.5 + 0.5 * done / total))

    with quiet(f"{work.source.name}: running {kind.filename}"):
        engine = load(artifact, runtime=kind.format, precision=kind.precision, threads=work.options.threads)
        candidate = Side(engine, artifact)
        result = compare(work.reference, candidate, work.data.check, kind.precision, watch=told)
    step = StepReport(
        kind.filename, kind.format, kind.precision, path.stat().st_size, converted - started,
        time.perf_counter() - converted, work.reference_name, result, changes, _placed(path, kind),
    )  # fmt: skip
    work.steps.append(step)
    if kept := work.options.keeps(step):
        work.files = files
        work.rows += measured(step, work.source.task, work.data.name)
    _write_manifest(work.source, work.options, work.folder, work.files, work.rows)
    if step.passed and kind.precision == "float32":
        work.reference.engine.close()
        work.reference, work.reference_name = candidate, f"{kind.filename} float32"
    else:
        engine.close()
    if not kept:
        path.unlink()


def _write_model(work: _Work, name: FileKind, path: Path) -> tuple[str, ...]:
    """Returns what was rewritten in the network, a line each."""
    source = work.source
    if name in ("onnx", "onnx-float16"):
        to_onnx(source, path, decode=work.options.decode)
        if name == "onnx-float16":
            path.write_bytes(onnx_halves(path.read_bytes()))
        return ()
    pictures = network_pictures(work.reference.artifact, work.data.calibration)
    if work.graph is None:
        work.graph = float_graph(source, work.options.target, pictures)
    graph, changes = work.graph
    if name == "tflite":
        path.write_bytes(to_float(source, graph))
    elif name == "tflite-float16":
        path.write_bytes(to_float(source, tflite_halves(graph, source.name)))
    elif name == "tflite-dynamic":
        path.write_bytes(to_dynamic(source, graph))
    else:
        content, chosen = to_int8(
            source, graph, pictures, integers=work.options.integers, threads=work.options.threads
        )
        path.write_bytes(content)
        return (*changes, chosen)
    return changes


def _placed(path: Path, kind: _Kind) -> tuple[int, int] | None:
    """(operators on the Edge TPU, operators) by the rules of models/edgetpu, for int8 files."""
    if kind.precision != "int8":
        return None
    from models.edgetpu.placement import check_tflite

    placement = check_tflite(path)
    return sum(op.placed for op in placement.ops), len(placement.ops)


def _report(work: _Work, out: Path) -> Report:
    return Report(
        work.source.name, out, all(map(work.options.keeps, work.steps)), work.data.name, work.data.weak,
        len(work.data.calibration), len(work.data.check), tuple(work.steps),
    )  # fmt: skip
