"""Engines kept between starts: found again, not taken from another machine, built once, built anew when damaged."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from common.artifact import Artifact
from common.manifest import ArtifactError, ModelError
from common.runtimes.cuda_host import HostCuda
from common.runtimes.tensorrt_cache import cached_engine
from tests.common.tensorrt_parts import FakeTrt, opened
from tests.model_parts import expected, tiny_artifact


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


@pytest.fixture
def trt() -> FakeTrt:
    return FakeTrt(HostCuda())


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    return tiny_artifact(tmp_path / "tiny", "onnx")


def test_the_engine_is_built_once_and_found_again(artifact, trt, tmp_path):
    opened(artifact, trt, tmp_path).close()
    again = opened(artifact, FakeTrt(HostCuda()), tmp_path)
    assert len(trt.built) == 1
    (answer,) = again.run(picture(2)).values()
    np.testing.assert_allclose(answer.transpose(0, 2, 3, 1), expected(picture(2)), rtol=1e-5, atol=1e-5)
    again.close()


@pytest.mark.parametrize(
    "other",
    [
        FakeTrt(HostCuda(), "10.4.0"),
        FakeTrt(HostCuda(name="Other GPU")),
        FakeTrt(HostCuda(capability=(8, 9))),
    ],
    ids=["another TensorRT", "another GPU", "another capability"],
)
def test_an_engine_of_another_machine_is_not_taken(artifact, trt, tmp_path, other):
    opened(artifact, trt, tmp_path).close()
    opened(artifact, other, tmp_path).close()
    assert len(other.built) == 1
    assert len(list((tmp_path / "tensorrt").rglob("*.engine"))) == 2


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_the_mode_is_part_of_an_engines_name(artifact, trt, tmp_path, precision):
    opened(artifact, trt, tmp_path, precision=precision).close()
    (path,) = (tmp_path / "tensorrt").rglob("*.engine")
    mode = "float32" if precision == "float32" else "float16"
    assert path.name == f"trt10.3.0_Host-GPU_sm87_{mode}_b1-8-6x4.engine"


@pytest.mark.parametrize("damage", [b"", b"not an engine"])
def test_a_damaged_engine_is_built_again(artifact, trt, tmp_path, damage, caplog):
    opened(artifact, trt, tmp_path).close()
    (path,) = (tmp_path / "tensorrt").rglob("*.engine")
    good = path.read_bytes()
    path.write_bytes(damage)
    opened(artifact, FakeTrt(HostCuda()), tmp_path).close()
    assert path.read_bytes() == good
    assert "engine_damaged" in caplog.text
    assert list(path.parent.glob(".part-*")) == []


def test_two_that_want_the_same_engine_at_once_build_it_once(tmp_path):
    path = tmp_path / "net" / "a.engine"
    second: list[bytes] = []
    done = threading.Event()

    def open_too() -> None:
        second.append(cached_engine(path, read=lambda content: content, build=lambda: b"built twice"))
        done.set()

    other = threading.Thread(target=open_too)

    def build() -> bytes:
        other.start()
        assert not done.wait(0.3), "the second did not wait for the first"
        return b"built once"

    assert cached_engine(path, read=lambda content: content, build=build) == b"built once"
    other.join(10)
    assert second == [b"built once"]


def test_a_build_that_fails_leaves_nothing_and_lets_the_next_try(tmp_path):
    path = tmp_path / "net" / "a.engine"

    def fail() -> bytes:
        raise ModelError("no tactic")

    with pytest.raises(ModelError, match="no tactic"):
        cached_engine(path, read=lambda content: content, build=fail)
    assert not path.exists()
    assert cached_engine(path, read=lambda content: content, build=lambda: b"built") == b"built"


def test_what_a_killed_build_left_behind_goes_with_the_next_start(tmp_path):
    path = tmp_path / "net" / "a.engine"
    path.parent.mkdir()
    for name in (".part-x1", ".part-x2"):
        (path.parent / name).write_bytes(b"half an engine")
    (path.parent / "b.engine").write_bytes(b"of another mode")
    cached_engine(path, read=lambda content: content, build=lambda: b"built")
    assert sorted(file.name for file in path.parent.iterdir()) == [".lock", "a.engine", "b.engine"]


def test_a_cache_that_cannot_be_written_names_the_fix(artifact, trt, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ArtifactError, match=r"cannot be kept: .*; free some space there, or set POSEBUS_CACHE"):
        opened(artifact, trt, tmp_path / "cache")
    assert not trt.gpu.is_open
