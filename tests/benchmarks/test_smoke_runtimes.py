"""The table of runtimes runs from end to end on what is here, and says what is not. No speed is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import runtimes

REPO = Path(__file__).resolve().parents[2]


def run_quick(file: Path, **environment: str) -> tuple[dict[str, object], str]:
    command = [sys.executable, "-m", "benchmarks.runtimes", "--quick", "--json", str(file)]
    variables = {**os.environ, "PYTHONWARNINGS": "ignore", **environment}
    done = subprocess.run(command, cwd=REPO, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    numbers: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return numbers, done.stdout


@pytest.mark.kit
def test_each_runtime_that_is_here_gets_rows_for_each_number_of_threads(kit, tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is absent: install the extra openvino")
    numbers, said = run_quick(tmp_path / "numbers.json", POSEBUS_KIT=str(kit))
    rows = numbers["rows"]
    assert isinstance(rows, list)
    delivered = [row for row in rows if row["kind"] == "openvino, as delivered (float16)"]
    assert [row["threads"] for row in delivered] == list(runtimes.THREADS)
    for row in rows:
        assert 0 < row["batch1_best_ms"] <= row["batch1_p50_ms"] <= row["batch1_p99_ms"]
        assert 0 < row["batch6_best_ms"] <= row["batch6_p50_ms"]
        assert 0 < row["oks"] <= 1
    if len(rows) == len(delivered):
        assert "SKIPPED: onnx, tflite and int8" in said


def test_without_the_kit_it_says_so_and_measures_nothing(tmp_path):
    numbers, said = run_quick(tmp_path / "numbers.json", POSEBUS_KIT=str(tmp_path / "none"))
    assert "The kit is not at" in said
    assert "rows" not in numbers
