"""One row for each part of the people, by the same training as ever."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.tinypose.learning_curve import curve  # noqa: E402
from tests.models.tinypose.test_train import a_config, make_set  # noqa: E402


def test_more_people_are_trained_on_from_row_to_row(tmp_path: Path) -> None:
    make_set(tmp_path / "discs", count=8)
    config = a_config(steps=2, batch=2)
    curve(config, tmp_path / "no kit", tmp_path, tmp_path / "work", tmp_path / "runs")
    with (tmp_path / "runs" / "learning-curve" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 4, 8]
    assert all(float(row["loss"]) > 0 for row in rows)
