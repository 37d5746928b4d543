"""Each benchmark runs from end to end, seconds long, and writes what it promises. No speed is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
COMMON = {
    "benchmark", "date", "commit", "quick", "device", "load_before", "stolen_share", "settings", "targets", "notes", "passed",
}  # fmt: skip


def run_quick(name: str, folder: Path) -> dict[str, Any]:
    """The numbers of `python -m benchmarks.{name} --quick`."""
    file = folder / "numbers.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(file)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Targets" in done.stdout
    numbers: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return numbers


def check_common(numbers: dict[str, Any], name: str) -> None:
    assert numbers.keys() >= COMMON
    assert numbers["benchmark"] == name
    assert numbers["quick"] is True
    assert numbers["device"].keys() >= {"cpu", "cores", "memory_gib", "system", "python"}
    assert numbers["targets"]
    for target in numbers["targets"]:
        assert target.keys() == {"name", "value", "sense", "limit", "unit", "passed"}
        assert target["passed"] is None, "quick runs judge no speed"


def test_scheduling_does_each_frame_once_whatever_happens_to_a_worker(tmp_path: Path) -> None:
    numbers = run_quick("scheduling", tmp_path)
    check_common(numbers, "scheduling")
    rows = {row["variant"]: row for row in numbers["rows"]}
    assert rows.keys() == {"shared subscription", "claims + hold-back", "third worker: kill", "third worker: join"}
    for row in rows.values():
        assert row.keys() >= {"sent", "done", "age_p50_ms", "age_p99_ms", "age_max_ms", "longest_silence_ms", "by_worker"}
        assert row["most_doubled"] == 0
        assert row["done"] > 0
    assert set(rows["shared subscription"]["by_worker"]) == {"fast", "slow"}


@pytest.fixture(scope="module")
def movenet() -> None:
    """The model is pulled once from where `posebus models pull` gets it."""
    from common.artifact import ArtifactError, find_artifact, path_for

    try:
        path_for(find_artifact("movenet-multipose"), "tflite", cache=None)
    except ArtifactError as error:
        pytest.skip(f"MoveNet is not to be had: {error}")


@pytest.mark.usefixtures("movenet")
def test_overhead_splits_a_frame_into_its_parts(tmp_path: Path) -> None:
    numbers = run_quick("overhead", tmp_path)
    check_common(numbers, "overhead")
    assert [row["people"] for row in numbers["rows"]] == [1, 3, 6]
    for row in numbers["rows"]:
        assert row.keys() >= {"parts_ms", "engine_ms", "beside_engine_ms", "share", "crop_parse_ms"}
        assert len(row["parts_ms"]) == 16
        assert min(row["parts_ms"].values()) > 0
        assert row["engine_ms"] + row["beside_engine_ms"] == pytest.approx(sum(row["parts_ms"].values()), abs=0.01)


def test_overload_watches_ages_memory_and_alerts(tmp_path: Path) -> None:
    numbers = run_quick("overload", tmp_path)
    check_common(numbers, "overload")
    assert numbers["ages_ms"].keys() == {"frame", "people", "poses", "tracks"}
    processes = {"camera", "detector-1", "detector-2", "pose", "analytics", "broker", "frames-store", "state-store"}
    assert processes <= numbers["memory"].keys()
    for memory in numbers["memory"].values():
        assert memory.keys() == {"first_mib", "last_mib", "max_mib", "slope_mib_per_min"}
    assert numbers["alerts"].keys() == {"ms", "entered", "raised"}
    assert numbers["alerts"]["raised"] > 0


def test_idle_measures_every_process(tmp_path: Path) -> None:
    numbers = run_quick("idle", tmp_path)
    check_common(numbers, "idle")
    processes = {"camera", "detector", "pose", "analytics", "broker", "frames-store", "state-store"}
    assert {row["process"] for row in numbers["rows"]} == processes
    assert numbers["rates_hz"]["tracks"] > 0
