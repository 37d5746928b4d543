"""What a training run leaves behind: its configuration, a row of numbers for each evaluation, and their curves."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.training.errors import TrainingError

LOG, CURVES, CONFIG = "log.csv", "curves.png", "config.json"


class RunLog:
    """Writes `log.csv` and `curves.png` into `folder`. A resumed run goes on after the last row not later than its step."""

    def __init__(self, folder: Path, config: Mapping[str, Any], *, resume_at: int = 0) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise TrainingError(f"{folder} cannot be written ({error}); free space or give another --out") from error
        if resume_at and (folder / LOG).is_file():
            with (folder / LOG).open(newline="", encoding="utf-8") as file:
                rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["step"] <= resume_at]

    def add(self, **values: float) -> None:
        """One row; `step` is a must. Raises TrainingError where the disk is full; the file is then as before."""
        self.rows.append(values)
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        part = self.folder / f"{LOG}.part"
        try:
            with part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names, lineterminator="\n")
                writer.writeheader()
                writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in self.rows)
            part.replace(self.folder / LOG)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise TrainingError(f"{self.folder / LOG} cannot be written ({error}); free space, then --resume") from error

    def draw(self) -> None:
        """All columns over the steps, one small plot each. Without matplotlib the curves are left out: the CSV has it all."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        names = [name for name in dict.fromkeys(name for row in self.rows for name in row) if name not in ("step", "seconds")]
        figure = Figure(figsize=(3.6 * min(3, len(names)), 2.6 * -(-len(names) // 3)), dpi=80, layout="constrained")
        for i, name in enumerate(names):
            axes = figure.add_subplot(-(-len(names) // 3), min(3, len(names)), i + 1)
            points = [(row["step"], row[name]) for row in self.rows if name in row]
            axes.plot(*zip(*points, strict=True), linewidth=1.2)
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelsize=7)
            axes.grid(alpha=0.3)
        figure.savefig(self.folder / CURVES)
