"""Google's edgetpu_compiler, where it is on PATH: run, its report read, and compared with the prediction.

The compiler only exists for x86-64 Linux and was not available here: the reading is written after published logs, and the
running is tested with a stand-in.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from common.manifest import ModelError
from models.edgetpu.graph import COMPILED_OP, Model
from models.edgetpu.placement import Placement
from models.edgetpu.reader import read_model
from models.edgetpu.status import MAPPED

EXECUTABLE = "edgetpu_compiler"
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = r"([\d.]+)(B|KiB|MiB|GiB)"
_ROW = re.compile(r"^([A-Z][A-Z0-9_]*)\s+(\d+)\s+(\S.*?)\s*$")
_COMPLAINT = re.compile(r"ERROR:|Compilation failed|Invalid model|Internal compiler error|Model could not")


@dataclass(frozen=True)
class Report:
    """What the compiler said. counts: (operator, status) -> how many; sizes in bytes, None where it did not say.

    failure: why there is no compiled file; empty where there is one.
    """

    version: str
    counts: dict[tuple[str, str], int]
    on_chip_used_bytes: int | None
    on_chip_free_bytes: int | None
    streamed_bytes: int | None
    runs: int | None
    total: int | None
    failure: str = ""

    @property
    def placed(self) -> int:
        return sum(count for (_, status), count in self.counts.items() if status == MAPPED)

    @property
    def fully_placed(self) -> bool:
        return not self.failure and 0 < self.placed == sum(self.counts.values())


@dataclass(frozen=True)
class Difference:
    """Where prediction and compiler disagree: operators of one kind on the Edge TPU, or one operator by its tensor's name."""

    kind: str
    predicted: str
    compiled: str


def parse_report(text: str) -> Report:
    """Reads the compiler's output, or its .log file."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in text.splitlines():
        if row := _ROW.match(line.strip()):
            counts[row[1], row[3]] += int(row[2])
    version = re.search(r"Edge TPU Compiler version (\S+)", text)
    return Report(
        version=version[1] if version else "",
        counts=dict(counts),
        on_chip_used_bytes=_bytes(text, "On-chip memory used for caching model parameters"),
        on_chip_free_bytes=_bytes(text, "On-chip memory remaining for caching model parameters"),
        streamed_bytes=_bytes(text, "Off-chip memory used for streaming uncached model parameters"),
        runs=_number(text, "Number of Edge TPU subgraphs"),
        total=_number(text, "Total number of operations"),
        failure=_failure(text),
    )


def _bytes(text: str, name: str) -> int | None:
    found = re.search(re.escape(name) + r":\s*" + _SIZE, text)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


def _number(text: str, name: str) -> int | None:
    found = re.search(re.escape(name) + r":\s*(\d+)", text)
    return int(found[1]) if found else None


def _failure(text: str) -> str:
    if re.search(r"[Cc]ompil\w+ succeeded|compiled successfully", text):
        return ""
    told = [line.strip() for line in text.splitlines() if _COMPLAINT.match(line.strip())]
    return "; ".join(dict.fromkeys(told))


def find_compiler() -> Path | None:
    found = shutil.which(EXECUTABLE)
    return Path(found) if found else None


def compile_model(
    path: Path, executable: Path, *, every_run: bool = False, timeout_s: float = 600
) -> tuple[Report, Model | None]:
    """Runs the compiler on a file, into a folder that is removed afterwards.

    Answers its report and the compiled network, None where it refused. Raises ModelError where it cannot be run or takes
    longer than timeout_s.
    """
    with tempfile.TemporaryDirectory(prefix="posebus-edgetpu-") as folder:
        command = [str(executable), "-s", "-o", folder, *(["-a"] if every_run else []), str(path)]
        code, output = _run(command, timeout_s)
        log = Path(folder) / f"{path.stem}_edgetpu.log"
        report = parse_report(output)
        if sum(report.counts.values()) != report.total and log.is_file():  # the table is in the file only
            table = parse_report(log.read_text(errors="replace"))
            report = replace(report, counts=table.counts)
        made = Path(folder) / f"{path.stem}_edgetpu.tflite"
        compiled = read_model(made) if code == 0 and made.is_file() and made.stat().st_size else None
    if compiled is None and not report.failure:
        last = (output.strip().splitlines() or ["it said nothing"])[-1]
        report = replace(report, failure=f"exit code {code}: {last}")
    return report, compiled


def _run(command: list[str], timeout_s: float) -> tuple[int, str]:
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
        )
    except OSError as error:
        raise ModelError(f"{command[0]} cannot be run: {error.strerror or error}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)  # it compiles in a child of its own
            process.communicate()
            raise ModelError(f"{command[0]} took longer than {timeout_s:g} s; give more with --timeout") from error
    return process.returncode, output


def compare_counts(placement: Placement, report: Report) -> list[Difference]:
    """Where the compiler's table has other numbers of operators on the Edge TPU than were predicted."""
    predicted = Counter(op.op.kind for op in placement.ops if op.placed)
    compiled: Counter[str] = Counter()
    said: dict[str, list[str]] = {}
    for (kind, status), count in report.counts.items():
        if status == MAPPED:
            compiled[kind] += count
        else:
            said.setdefault(kind, []).append(f"{count}: {status}")
    return [
        Difference(kind, f"{predicted[kind]} placed", "; ".join([f"{compiled[kind]} placed", *said.get(kind, [])]))
        for kind in sorted(predicted | compiled)
        if predicted[kind] != compiled[kind]
    ]


def compare_compiled(placement: Placement, compiled: Model) -> list[Difference]:
    """Operator by operator: what a compiled file left on the CPU, by the names of the tensors, against the prediction."""
    graph = compiled.subgraphs[0]
    left = {graph.name_of(op) for op in graph.ops if op.custom != COMPILED_OP}
    return [
        Difference(f"{op.kind} {op.name!r}", _where(op.placed), _where(op.name not in left))
        for op in placement.ops
        if op.subgraph == 0 and op.placed == (op.name in left)
    ]


def _where(placed: bool) -> str:
    return "Edge TPU" if placed else "CPU"
