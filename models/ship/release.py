"""From a run's weights to an artifact of the zoo: converted, compared, checked against its devices, put in place at once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.artifact import read_artifact
from common.manifest import FILENAME, ModelError, ModelFile, read_manifest
from common.model_store import sha256_of
from models.convert.data import Data
from models.convert.pipeline import FileKind, Options, Watch, convert
from models.convert.publish import MARK, REPORT
from models.convert.report import Report
from models.convert.source import ConversionError, Source, load_source
from models.edgetpu.placement import check_tflite
from models.ship.trained import Trained
from models.ship.weights import FILE, save_weights
from models.tensorrt.check import check_onnx

MAX_BYTES = 4_000_000  # of a file: above it, weights are stored as float16
TRAINING = "training.json"
# For those that take the first file of a format: int8 is half the time of float, and is refused where it loses too much.
FIRST = ("int8", "float16", "float32", "dynamic_int8")


def source_of(trained: Trained, weights: Path, name: str) -> Source:
    """The run's network as the converter takes it, under the name that it gets in the zoo."""
    source = load_source(weights, trained.kind, name)
    return replace(source, provenance=f"make train MODEL={name} (run {trained.config.name})")


def formats_for(source: Source) -> tuple[FileKind, ...]:
    """ONNX, float TFLite and int8 TFLite, with float16 weights where float32 would be larger than MAX_BYTES."""
    size = 4 * sum(p.numel() for p in source.module.parameters())
    return ("onnx", "tflite", "tflite-int8") if size <= MAX_BYTES else ("onnx-float16", "tflite-float16", "tflite-int8")


def build(
    trained: Trained, source: Source, data: Data, folder: Path, told: Mapping[str, Any], *, threads: int = 2,
    trial: bool = False, watch: Watch | None = None,
) -> Report:  # fmt: skip
    """Make the artifact in `folder`, which must not exist.

    told: what is said of the training, for the model card. trial: files may differ more than those of a shipped network may.

    Raises ConversionError where a file lost its accuracy, or cannot run as a whole on an Edge TPU or by TensorRT.
    """
    report = convert(source, folder, data, Options(formats_for(source), threads=threads, trial=trial), watch=watch)
    if not report.passed:
        lines = [f"{s.file}: {reason}" for s in report.steps for reason in s.comparison.verdict.reasons]
        advice = "if int8 is the reason, run models.ship.qat first"
        raise ConversionError(f"{source.name} is not fit to ship; {advice}\n" + "\n".join(lines))
    (folder / MARK).unlink()
    artifact = read_artifact(folder)
    for file in artifact.manifest.file:
        _check_devices(folder / file.path, file)
    save_weights(folder / FILE, trained.network.state_dict(), trained.settings)
    (folder / TRAINING).write_text(json.dumps(dict(told), indent=1) + "\n", encoding="utf-8")
    _order(folder)
    return report


def _check_devices(path: Path, file: ModelFile) -> None:
    if file.format == "tflite" and file.precision == "int8":
        placement = check_tflite(path)
        if not placement.fully_placed:
            off = placement.off[0]
            raise ConversionError(f"{path.name}: {off.kind} {off.name} would not run on an Edge TPU: {off.reason}; {off.fix}")
    if file.format == "onnx":
        errors = [item for item in check_onnx(path).findings if item.level == "error"]
        if errors:
            raise ConversionError(f"{path.name}: TensorRT refuses {errors[0].subject}: {errors[0].text}; {errors[0].fix}")


def _order(folder: Path) -> None:
    """Rewrite the manifest with its files in the order of FIRST, and the table [training]."""
    path = folder / FILENAME
    before, *files = path.read_text(encoding="utf-8").split("[[file]]\n")
    last, *measured = files[-1].split("[[measured]]\n")
    files = sorted([*files[:-1], last], key=lambda text: next(i for i, p in enumerate(FIRST) if f'precision = "{p}"' in text))
    training = (
        f'[training]\npath = "{FILE}"\nbytes = {(folder / FILE).stat().st_size}\nsha256 = "{sha256_of(folder / FILE)}"\n\n'
        '[[training.source]]\nkind = "file"\n'
    )
    parts = [before, *(f"[[file]]\n{text.rstrip()}\n\n" for text in files), training]
    path.write_text("".join([*parts, *(f"\n[[measured]]\n{text.rstrip()}\n" for text in measured)]), encoding="utf-8")
    read_manifest(path)


def install(folder: Path, out: Path) -> None:
    """Put a complete artifact in the place of the one at `out`, which only another of the same name may be.

    Two renames: a crash between them leaves the old one beside, under a name that says so.
    """
    name = read_artifact(folder).name
    if out.exists() and (not (out / FILENAME).is_file() or read_artifact(out).name != name):
        raise ModelError(f"{out} is not an earlier {name}; give another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}-", ignore_cleanup_errors=True) as temporary:
        fresh, old = Path(temporary) / name, Path(temporary) / f"{name}-before"
        shutil.copytree(folder, fresh)
        if out.exists():
            os.replace(out, old)
        os.replace(fresh, out)


__all__ = ["FIRST", "MAX_BYTES", "REPORT", "TRAINING", "build", "formats_for", "install", "source_of"]
