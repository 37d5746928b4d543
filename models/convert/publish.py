"""Artifact folders as a conversion leaves them: the manifest's text, and a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.manifest import FILENAME, Format, ModelError, Precision, read_manifest
from common.model_store import sha256_of
from models.convert.source import ConversionError, Source

REPORT = "report.json"
MARK = ".conversion"  # of a folder that a conversion wrote: the SHA-256 that its manifest had then
LOCK = ".lock"  # in a folder that is being written; the system frees it when the writer dies
Value = str | float | int | bool | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """A model file of the new artifact."""

    format: Format
    precision: Precision
    path: Path
    batch: bool | None = None


def manifest_text(source: Source, files: Iterable[Written], measured: Iterable[Mapping[str, Value]], *, decoder: str) -> str:
    """The manifest.toml of a converted network: pixels in, as all files have the normalisation inside."""
    top: dict[str, Value] = {"name": source.name, "version": "1", "tasks": (source.task,)}
    if source.task != "detect":
        top["keypoints"] = "coco17"
    top |= {"licence": source.licence, "training_data": source.training_data, "provenance": source.provenance}
    task: dict[str, Value] = {"decoder": decoder}
    if source.task == "pose":
        task |= {"width_px": source.width_px, "height_px": source.height_px, "padding": source.padding}
    task |= dict(source.options)
    shape = {"width_px": source.width_px, "height_px": source.height_px}
    parts = [
        _table("", top),
        _table("[input]", {**shape, "layout": "NHWC", "dtype": "uint8", "colour": source.colour}),
        _table(f"[{source.task}]", task),
        *(_file(file) for file in files),
        *(_table("[[measured]]", row) for row in measured),
    ]
    return "\n".join(parts)


def _file(file: Written) -> str:
    entry: dict[str, Value] = {"format": file.format, "precision": file.precision, "path": file.path.name}
    entry |= {"bytes": file.path.stat().st_size, "sha256": sha256_of(file.path)}
    if file.batch is not None:
        entry["batch"] = file.batch
    return _table("[[file]]", entry) + _table("[[file.source]]", {"kind": "file"})


def _table(head: str, rows: Mapping[str, Value]) -> str:
    lines = [head] if head else []
    # JSON's strings, numbers, arrays and booleans are TOML's too.
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in rows.items()]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write an artifact into; it becomes `out` when the block ends well, and vanishes when it does not.

    What was at `out` stays as it was until then. Raises ConversionError where `out` is a file, or a folder with anything in
    it that no conversion has written, or whose manifest was changed since: nothing else is ever deleted.
    """
    out = out.expanduser().absolute()
    try:
        _recover(out)
        _check_replaceable(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        with (
            tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-", ignore_cleanup_errors=True) as temporary,
            _locked(Path(temporary)),
        ):
            folder = Path(temporary) / out.name
            folder.mkdir()
            yield folder
            (folder / MARK).write_text(sha256_of(folder / FILENAME), encoding="ascii")
            _swap(folder, out)
    except OSError as error:
        where = error.filename or out
        raise ConversionError(
            f"{where} cannot be written: {error.strerror or error}; free some space there or choose another --out"
        ) from error


def _swap(folder: Path, out: Path) -> None:
    """Two renames; between them `out` does not exist, and _recover mends a crash just there."""
    before = _before(out)
    if not out.exists():
        os.replace(folder, out)
        return
    _check_replaceable(out)  # again: conversions take minutes
    os.replace(out, before)
    try:
        os.replace(folder, out)
    except OSError:
        os.replace(before, out)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _before(out: Path) -> Path:
    return out.with_name(f".{out.name}.before")


def _recover(out: Path) -> None:
    before = _before(out)
    if not (before / MARK).is_file():
        return
    if not out.exists():
        os.replace(before, out)
    else:
        shutil.rmtree(before, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Show that somebody is writing there. Without flock (Windows) nobody looks either."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(out: Path) -> None:
    """Remove what killed conversions of the same folder have left."""
    try:
        import fcntl
    except ImportError:
        return
    for left in out.parent.glob(f".{glob.escape(out.name)}-*/{LOCK}"):
        with left.open("r+") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ConversionError(f"{out} is a file; give a folder with --out")
    names = {file.name for file in out.iterdir()}
    if not names:
        return
    known = set()
    if {FILENAME, REPORT, MARK} <= names:
        if (out / MARK).read_text(encoding="ascii") != sha256_of(out / FILENAME):
            raise ConversionError(
                f"{out / FILENAME} was changed since its conversion, and that would be lost; give a new or empty folder with "
                "--out"
            )
        known = {FILENAME, REPORT, MARK}
        with contextlib.suppress(ModelError):
            known |= {file.filename for file in read_manifest(out / FILENAME).file}
    others = sorted(names - known)
    if others:
        raise ConversionError(
            f"{out} holds {', '.join(others[:3])}, which no conversion has written and which would be lost; give a new or "
            "empty folder with --out"
        )
