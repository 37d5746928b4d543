"""The example configurations for Edge TPU and TensorRT: they load, and name networks that have what those runtimes need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common import runtimes
from common.artifact import find_artifact, list_artifacts, read_artifact, verify, zoo_folder
from common.config import default_models, load
from tests.model_parts import tiny_artifact

REPO = Path(__file__).resolve().parents[2]
COMPILE = REPO / "deploy/coral/compile.sh"
COMPILER = """#!/bin/sh
# Stands in for Google's compiler: the same arguments and names of files.
[ "$1 $2" = "-s -o" ] || exit 3
cp "$4" "$3/$(basename "$4" .tflite)_edgetpu.tflite"
"""


def of_the_defaults(path: Path) -> Any:
    """The example's settings, where the networks that it names are in the zoo."""
    there = {artifact.name for artifact in list_artifacts()}
    if missing := {"tinydet-m", "tinypose-m"} - there:
        pytest.skip(f"not in the zoo yet: {', '.join(sorted(missing))}; the example is for them")
    return load(path)


def test_the_jetson_example_runs_the_defaults_from_their_onnx_files() -> None:
    settings = of_the_defaults(REPO / "deploy/jetson/posebus.yaml")
    for stage, name in default_models().items():
        chosen = getattr(settings, stage)
        assert (chosen.model, chosen.runtime) == (name, "tensorrt")
        assert set(runtimes.formats("tensorrt")) & set(find_artifact(name).formats)


def test_the_coral_example_runs_the_defaults_as_the_script_compiles_them() -> None:
    settings = of_the_defaults(REPO / "deploy/coral/posebus.yaml")
    assert settings.detector.device != settings.pose.device, "two networks in one chip's memory push each other out"
    for stage, name in default_models().items():
        chosen = getattr(settings, stage)
        assert (chosen.model, chosen.runtime) == (f"artifacts/{name}-edgetpu", "edgetpu")
        assert ("tflite", "int8") in {(file.format, file.precision) for file in find_artifact(name).manifest.file}


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """An environment with a compiler, and a zoo with one int8 network."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/edgetpu_compiler").write_text(COMPILER)
    (tmp_path / "bin/edgetpu_compiler").chmod(0o755)
    own = tiny_artifact(tmp_path / "zoo/tiny", "tflite-int8")
    before = own.manifest.file[0].path
    (own.folder / before).rename(own.folder / "model_int8.tflite")
    manifest = own.folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(before, "model_int8.tflite"))
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "POSEBUS_ZOO": str(tmp_path / "zoo"), "PYTHON": sys.executable}


def compile_for_coral(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(COMPILE), *map(str, arguments)]
    return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_compiled_network_is_an_artifact_for_edge_tpu_and_cpu(tools: dict[str, str], tmp_path: Path) -> None:
    done = compile_for_coral(tools, tmp_path / "artifacts", "tiny")
    assert done.returncode == 0, done.stderr
    artifact = read_artifact(tmp_path / "artifacts/tiny-edgetpu")
    assert [(file.format, file.precision) for file in artifact.manifest.file] == [("tflite", "int8"), ("edgetpu", "int8")]
    assert [runtime for runtime, _ in runtimes.candidates(artifact)] == ["edgetpu", "tflite"]
    assert verify(artifact) == 2
    runtimes.load(artifact, runtime="tflite").close()


def test_an_earlier_result_is_kept(tools: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "artifacts/tiny-edgetpu").mkdir(parents=True)
    done = compile_for_coral(tools, tmp_path / "artifacts", "tiny")
    assert (done.returncode, "exists; delete it" in done.stderr) == (1, True)


def test_what_is_missing_is_named(tools: dict[str, str], tmp_path: Path) -> None:
    done = compile_for_coral(tools, tmp_path / "artifacts", "no-such")
    assert "no-such has no model_int8.tflite" in done.stderr
    (tmp_path / "bin/edgetpu_compiler").unlink()
    done = compile_for_coral(tools, tmp_path / "artifacts", "tiny")
    assert "edgetpu_compiler is not installed" in done.stderr
    assert compile_for_coral(tools).returncode == 2


def test_the_zoo_that_the_script_takes_is_the_real_one() -> None:
    assert (REPO / "models/zoo").samefile(zoo_folder())
