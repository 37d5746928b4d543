"""What all benchmarks share: options, tables, targets, JSON, and the machine, without which a number is worth nothing."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.console import Console
from rich.table import Table as RichTable

REPO = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
Sense = Literal["<=", ">="]
STOLEN_NOTABLE = 0.02


@dataclass(frozen=True)
class Target:
    """One number that is to be reached. passed: None where it was not judged (`--quick`)."""

    name: str
    value: float
    sense: Sense
    limit: float
    unit: str
    passed: bool | None


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--save", action="store_true", help="write JSON and Markdown into benchmarks/results")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; runs everything, judges no speed")
    parser.add_argument("--commit", default=None, help="the commit to name in the results; default: the one checked out")
    return parser


class Report:
    """Collects tables, numbers and targets of one benchmark, and says at the end how it went."""

    def __init__(self, name: str, arguments: argparse.Namespace, *, label: str = "") -> None:
        self.name = f"{name}-{label}" if label else name
        self._arguments = arguments
        self._console = Console(width=None if sys.stdout.isatty() else 150)
        self.tables: list[Table] = []
        self.targets: list[Target] = []
        self.notes: list[str] = []
        self.data: dict[str, Any] = {
            "benchmark": name,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": arguments.commit or commit(),
            "quick": bool(arguments.quick),
            "device": device(),
            "load_before": load_before(),
        }
        self._stolen_before = stolen()

    def say(self, text: str) -> None:
        """One line of progress."""
        self._console.print(text, style="dim", highlight=False)

    def table(self, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Print a table and keep it for the Markdown; the first column is left-aligned, the others right."""
        self.tables.append(Table(title, columns, tuple(rows)))
        shown = RichTable(title=title, title_justify="left")
        for i, column in enumerate(columns):
            shown.add_column(column, justify="left" if i == 0 else "right")
        for row in rows:
            shown.add_row(*row)
        self._console.print(shown)

    def note(self, text: str) -> None:
        """A sentence that belongs to the numbers."""
        self.notes.append(text)
        self._console.print(text, highlight=False)

    def target(self, name: str, value: float, sense: Sense, limit: float, unit: str = "") -> None:
        """Compare a number with what it is to be; a number that is missing (not finite) has failed."""
        reached = value <= limit if sense == "<=" else value >= limit
        self.targets.append(Target(name, round(value, 4), sense, limit, unit, None if self._arguments.quick else reached))

    def finish(self) -> int:
        """Print the targets, write the files, return the exit code: 1 when a target was judged and missed."""
        self.table("Targets", ("target", "measured", "limit", "verdict"), [_row(target) for target in self.targets])
        passed = all(target.passed is not False for target in self.targets)
        before_s, now_s = self._stolen_before, stolen()
        share = (now_s[0] - before_s[0]) / max((now_s[1] - before_s[1]) * self.data["device"]["cores"], 1e-9)
        self.data["stolen_share"] = round(share, 4)
        if share > STOLEN_NOTABLE:
            self.note(f"The host took {share:.0%} of the processors' time away from this virtual machine: measure again.")
        self.data |= {"targets": [asdict(target) for target in self.targets], "notes": self.notes, "passed": passed}
        text = json.dumps(self.data, indent=1, allow_nan=True) + "\n"
        if self._arguments.json:
            self._arguments.json.write_text(text, encoding="utf-8")
        if self._arguments.save:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{self.name}.json").write_text(text, encoding="utf-8")
            (RESULTS / f"{self.name}.md").write_text(self._markdown(), encoding="utf-8")
        return 0 if passed else 1

    def _markdown(self) -> str:
        machine, load = self.data["device"], self.data["load_before"]
        lines = [
            f"# {self.name}",
            "",
            f"{self.data['date']}, commit `{self.data['commit']}`, {machine['cpu']}, {machine['cores']} cores, "
            f"{machine['system']}, Python {machine['python']}. Before the run other programs kept "
            f"{load['busy_cores']} cores busy (load average {load['load_average_1min']}); "
            f"this one ran at {load['priority']} priority.",
        ]
        for table in self.tables:
            lines += ["", f"## {table.title}", "", _line(table.columns), _line(("---", *["---:"] * (len(table.columns) - 1)))]
            lines += [_line(row) for row in table.rows]
        lines += ["", *[f"* {note}" for note in self.notes]] if self.notes else []
        return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(target: Target) -> tuple[str, ...]:
    verdict = {True: "reached", False: "MISSED", None: "not judged"}[target.passed]
    unit = f" {target.unit}" if target.unit else ""
    return target.name, f"{target.value:.4g}{unit}", f"{target.sense} {target.limit:g}{unit}", verdict


def device() -> dict[str, Any]:
    """What ran it: processor, cores, memory, system, Python."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def load_before(seconds: float = 1.0) -> dict[str, float | str]:
    """How busy other programs keep the machine before we start; timings on a busy machine are those of a smaller one."""
    busy_percent = psutil.cpu_percent(interval=seconds, percpu=True)
    is_real_time = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    return {
        "busy_cores": round(sum(busy_percent) / 100, 2),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "priority": "real-time (chrt)" if is_real_time else "normal",
    }


def stolen() -> tuple[float, float]:
    """Seconds that the host of a virtual machine gave to others so far, of all cores, and the time now."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0)), time.monotonic()


def commit() -> str:
    """The commit that is checked out, with `+` when files differ from it; `unknown` outside a checkout."""
    command = ["git", "-C", str(REPO), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
