"""What both evaluation commands share: options, data of the kit, tables, JSON, errors that end with a sentence and code 2."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.manifest import ModelError
from models.evaluation.bootstrap import Interval
from models.evaluation.coco import DataError, People
from models.evaluation.variants import Variant

Rows = dict[str, dict[str, Any]]


def options(description: str | None, *, kind: str) -> argparse.ArgumentParser:
    """The options of both commands. kind: what the networks find, for the help."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, metavar="DIR", help="data in COCO layout; default: the kit's validation data")
    parser.add_argument("--split", default="", help="of --coco: only annotation files with that in their name")
    parser.add_argument("--models", nargs="+", metavar="NAME_OR_FOLDER", help=f"artifacts that find {kind}")
    parser.add_argument("--precision", help="only files of that precision, as int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write {model: numbers} there")
    parser.add_argument("--kit", type=Path, default=Path(os.environ.get("POSEBUS_KIT", "../shared/kit")))
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    return parser


def run(work: Callable[[argparse.Namespace], Rows], arguments: argparse.Namespace) -> int:
    """Do the work and write its rows; returns the exit code: 2, with a line on stderr, for what cannot be used."""
    try:
        if arguments.threads < 1:
            raise DataError(f"--threads is {arguments.threads}; needs at least 1")
        if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
            raise DataError(f"--json {arguments.json}: its folder does not exist; make it first")
        rows = work(arguments)
        if arguments.json is not None:
            write_json(arguments.json, rows)
    except (DataError, ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def kit_folder(arguments: argparse.Namespace, part: str) -> Path:
    """A folder of the kit; raises DataError where it is absent."""
    folder: Path = arguments.kit / "data" / part
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; give data with --coco DIR, or the kit's folder with --kit or POSEBUS_KIT")
    return folder


def say_data(people: People, counted: int, what: str) -> None:
    """One line on the data, and one for all that is missing."""
    print(f"{people.name}: {counted} {what} in {len(people.pictures)} pictures")
    if people.missing:
        shown = ", ".join(people.missing[:5]) + (" ..." if len(people.missing) > 5 else "")
        print(f"  {len(people.missing)} annotated pictures, {people.missing_people} people, are not there, left out: {shown}")
    if people.without_area:
        print(f"  {people.without_area} people have no area; 0.53 of their box is taken")


def progress(text: str) -> None:
    """A line for who waits; not part of the result."""
    print(text, file=sys.stderr, flush=True)


def conditions(variant: Variant, threads: int) -> dict[str, Any]:
    """What ran, and how busy the machine was: times on a busy machine are those of a smaller one."""
    return {
        "format": variant.format, "precision": variant.precision, "runtime": variant.runtime, "threads": threads,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }  # fmt: skip


def write_json(path: Path, rows: Rows) -> None:
    """Whole or not at all: who reads while we write sees the old file."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(tables: Sequence[Table], notes: Sequence[str]) -> None:
    """Print tables, then a line for each note."""
    for each in tables:
        print(f"\n{each.title}\n\n{markdown(each.columns, each.rows)}")
    print("", *notes, sep="\n")


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned for reading as text too: the first column left, numbers right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return f"| {' | '.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])} |"

    rule = [("-" * width) if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(columns), line(rule), *map(line, rows)])


def number(value: float | None, digits: int = 3) -> str:
    """For a table; a dash for what is not known."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def interval(value: Interval | Sequence[float | None] | None, digits: int = 2) -> str:
    """For a table: low-high."""
    return "-" if value is None else "-".join(number(end, digits) for end in value)
