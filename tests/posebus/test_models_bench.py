from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from common.artifact import read_artifact
from common.manifest import ArtifactError, Latency, read_manifest
from posebus import models_bench
from posebus.cli import app
from posebus.models_bench import plan, run_case
from posebus.models_bench_case import Case, best_round, pictures
from posebus.models_latency import write_latencies
from tests.model_parts import tiny_artifact

runner = CliRunner()
REPO = Path(__file__).resolve().parents[2]
PLAIN = Latency(task="detect", runtime="onnx", device="a board", threads=2, batch=4, p50_ms=1.5, p99_ms=2.25, memory_mib=12.5)


def bench(*arguments: str) -> tuple[int, str]:
    done = runner.invoke(app, ["models", "bench", *arguments])
    return done.exit_code, done.output + str(done.exception or "")


@pytest.fixture
def tiny(tmp_path: Path) -> Any:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is absent: install the extra onnx")
    return tiny_artifact(tmp_path / "tiny", "onnx")


def test_each_case_gives_times_memory_and_rate(tiny, tmp_path):
    file = tmp_path / "numbers.json"
    code, said = bench(str(tiny.folder), "--runtime", "onnx", "--batch", "1,4", "--seconds", "0", "--no-accuracy",
                       "--json", str(file))  # fmt: skip
    assert code == 0, said
    numbers = json.loads(file.read_text())
    assert [row["batch"] for row in numbers["rows"]] == [1, 4]
    for row in numbers["rows"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["runs"] >= 5
        assert 1 < row["memory_mib"] < 1000, "ONNX Runtime itself takes some megabytes"
    assert numbers["device"]
    assert numbers["commit"]
    assert "images/s" in said


def test_runtimes_that_cannot_run_it_are_listed_with_the_reason(tiny):
    cases, passed = plan([tiny], "auto", "auto")
    assert "onnx" in {case.runtime for case in cases}
    reasons = {entry.runtime: entry.reason for entry in passed}
    assert reasons["tflite"] == "needs a file of the format tflite; there is onnx"
    assert "edgetpu" in reasons
    assert "fake" not in reasons


def test_a_precision_that_no_file_has_is_said(tiny):
    cases, passed = plan([tiny], "onnx", "int8")
    assert not cases
    assert [entry.reason for entry in passed] == ["has no onnx file in int8; there is float32"]
    code, said = bench(str(tiny.folder), "--runtime", "onnx", "--precision", "int8")
    assert code != 0
    assert "nothing can be measured: tiny-onnx by onnx: has no onnx file in int8" in said


def test_a_network_that_fails_is_said_and_does_not_end_the_others(tiny):
    broken = Case(str(tiny.folder), "detect", "onnx", "float32", "nowhere", 1, 1, 0.0)
    row = run_case(broken)
    assert row.error is not None
    assert "nowhere" in row.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch", "1,x"), "--batch '1,x' is no list of sizes; give for example 1,4,8"),
        (("--batch", "0"), "--batch '0' is no list of sizes"),
        (("--runtime", "onyx"), "runtime 'onyx' does not exist; choose auto"),
        (("--write", "yolox-nano"), "--write: yolox-nano: built in; give the folder of an artifact of your own"),
        (("--write",), "--write: no artifact was given"),
    ],
)
def test_wrong_options_are_named(arguments, words, tiny):
    names = [] if "--write" in arguments else [str(tiny.folder)]
    code, said = bench(*names, *arguments)
    assert code != 0
    assert words in said


def test_accuracy_without_the_kit_is_refused(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("POSEBUS_KIT", str(tmp_path / "no-kit"))
    code, said = bench(str(tiny.folder), "--accuracy")
    assert code != 0
    assert "has no data/coco-mini; set POSEBUS_KIT" in said


@pytest.mark.kit
def test_accuracy_is_measured_on_the_kit_with_the_number_of_people(kit, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is absent: install the extra tflite")
    monkeypatch.setenv("POSEBUS_KIT", str(kit))
    row = run_case(Case("movenet-lightning", "pose", "tflite", "int8", "auto", 1, 0, 0.0, str(kit)))
    assert row.error is None
    value, n = row.answer["metrics"]["OKS"]
    assert n == 154
    assert value == pytest.approx(0.515, abs=0.02), "the number in its manifest"


def test_write_puts_latencies_into_the_manifest_and_leaves_the_rest_as_it_is(tiny):
    path = tiny.folder / "manifest.toml"
    before = "# mine: do not lose\n" + path.read_text()
    path.write_text(before)
    code, said = bench(str(tiny.folder), "--runtime", "onnx", "--batch", "1", "--seconds", "0", "--no-accuracy", "--write")
    assert code == 0, said
    assert path.read_text().startswith(before.rstrip("\n"))
    (latency,) = read_artifact(tiny.folder).manifest.latency
    assert (latency.runtime, latency.batch, latency.threads, latency.task) == ("onnx", 1, 1, "detect")
    assert latency.device
    assert latency.date
    assert latency.commit


def test_a_new_latency_takes_the_place_of_the_same_case_only(tiny):
    path = tiny.folder / "manifest.toml"
    head = path.read_text().rstrip("\n")
    other = PLAIN.model_copy(update={"batch": 8, "device": 'a "quoted" board'})
    write_latencies(path, [PLAIN, other])
    text = path.read_text().replace("[[latency]]", "# why this board\n[[latency]]", 1)
    path.write_text(text)
    faster = PLAIN.model_copy(update={"p50_ms": 1.0})
    write_latencies(path, [faster])
    assert read_manifest(path).latency == (other, faster)
    assert path.read_text().startswith(head)
    assert "# why this board" in path.read_text()
    assert not list(tiny.folder.glob(".manifest*"))


def test_a_manifest_that_is_wrong_is_not_touched(tiny):
    path = tiny.folder / "manifest.toml"
    path.write_text("name = 'x'\n")
    with pytest.raises(ArtifactError, match="Field required"):
        write_latencies(path, [PLAIN])
    assert path.read_text() == "name = 'x'\n"


def test_the_best_of_three_rounds_counts():
    took_s = iter([9.0] * 2 + [4.0] * 5 + [1.0, 1.0, 1.0, 30.0, 1.0] + [8.0] * 5)
    now_s = [0.0]

    def work() -> None:
        now_s[0] += next(took_s)

    assert best_round(work, 0.0, lambda: now_s[0]) == [1e3, 1e3, 1e3, 30e3, 1e3], "the second: the lowest median, peak and all"


def test_made_up_pictures_fit_the_network_and_are_the_same_each_time(tiny):
    first = pictures(tiny, "detect", 3)
    assert first.shape == (3, 4, 6, 3)
    assert first.dtype.name == "uint8"
    assert (first == pictures(tiny, "detect", 3)).all()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_child_is_left(ending, tiny):
    """A case of a minute is under way when the command is ended."""
    command = [sys.executable, "-m", "posebus", "models", "bench", str(tiny.folder), "--runtime", "onnx", "--batch", "1",
               "--seconds", "60", "--no-accuracy"]  # fmt: skip
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child = wait_for_case(process.pid)
        process.send_signal(ending)
        process.wait(20)
        child.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not child.is_running()


def wait_for_case(pid: int) -> psutil.Process:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process(pid).children(recursive=True):
            if "posebus.models_bench_case" in " ".join(child.cmdline()):
                return child
        time.sleep(0.05)
    raise AssertionError("no case was started")


def test_a_case_names_only_plain_values():
    """It travels to the child as JSON."""
    case = Case("x", "pose", "onnx", "float32", "auto", 1, 1, 1.0)
    assert Case(**json.loads(json.dumps(dataclasses.asdict(case)))) == case
    assert models_bench.TIMEOUT_S > 60
