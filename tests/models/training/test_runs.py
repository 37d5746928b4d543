"""A run's log survives resuming, new columns and a full disk."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from models.training.errors import TrainingError
from models.training.runs import RunLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_row_is_on_the_disk_at_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path, {"name": "x"})
    log.add(step=10, loss=0.5)
    assert rows(tmp_path) == [{"step": "10", "loss": "0.5"}]
    log.add(step=20, loss=0.25, dev_oks=0.7)
    assert rows(tmp_path)[-1] == {"step": "20", "loss": "0.25", "dev_oks": "0.7"}


def test_a_resumed_log_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    log = RunLog(tmp_path, {})
    for step in (10, 20, 30):
        log.add(step=step, loss=step / 100)
    again = RunLog(tmp_path, {}, resume_at=20)
    again.add(step=30, loss=0.9)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("10", "0.1"), ("20", "0.2"), ("30", "0.9")]


def test_a_new_run_starts_a_new_log(tmp_path: Path) -> None:
    RunLog(tmp_path, {}).add(step=10, loss=1)
    RunLog(tmp_path, {}).add(step=5, loss=2)
    assert [row["step"] for row in rows(tmp_path)] == ["5"]


def test_a_full_disk_is_told_and_the_old_log_stays(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    log = RunLog(tmp_path, {})
    log.add(step=10, loss=1)
    os.symlink("/dev/full", tmp_path / "log.csv.part")
    with pytest.raises(TrainingError, match=r"log\.csv cannot be written"):
        log.add(step=20, loss=1)
    assert [row["step"] for row in rows(tmp_path)] == ["10"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="file/runs cannot be written"):
        RunLog(tmp_path / "file" / "runs", {})
