"""What every runtime promises, one suite for all. Those that need a device run on memory of the host, and on the device where
there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from common.artifact import Artifact, ArtifactError, read_artifact
from common.manifest import ModelError
from common.runtimes import load, probe
from common.runtimes.base import Engine, EngineBase, Request
from common.runtimes.cuda_host import HostCuda
from common.runtimes.edgetpu import EdgetpuEngine
from common.runtimes.fake import FakeEngine
from common.runtimes.tensorrt import open_engine
from common.runtimes.tflite import interpreter_module
from tests.common.cuda_parts import fake_cuda_python, fake_pycuda
from tests.common.tensorrt_parts import FakeTrt
from tests.model_parts import SIZE, expected, expected_int8, file_text, manifest_text, tiny_artifact

WRONG_SIZE = "width_px = 8\nheight_px = 4"


@dataclass(frozen=True)
class Kit:
    """What a case may need."""

    tmp_path: Path
    monkeypatch: pytest.MonkeyPatch


@dataclass(frozen=True)
class Case:
    """A way to run a tiny network. expect: what it answers, NHWC."""

    network: str
    make: Callable[[Artifact, Kit], Engine]
    expect: Callable[[np.ndarray], np.ndarray] = expected
    tolerance: float = 1e-5


def _by(runtime: str) -> Callable[[Artifact, Kit], Engine]:
    return lambda artifact, kit: load(artifact, runtime=runtime, cache=kit.tmp_path / "cache")


def _fake(artifact: Artifact, kit: Kit) -> Engine:
    engine = FakeEngine(Request(artifact, "detect", "auto", 1, (6, 4)), lambda batch: {"answer": expected(batch)})
    engine.warm_up()
    return engine


def _tensorrt_on_host(artifact: Artifact, kit: Kit) -> Engine:
    gpu = HostCuda()
    request = Request(artifact, "detect", "auto", 1, (6, 4), kit.tmp_path / "cache")
    engine = open_engine(request, FakeTrt(gpu), lambda index: gpu)
    engine.warm_up()
    return engine


def _tensorrt_by(binding: str) -> Callable[[Artifact, Kit], Engine]:
    """All the way through `load`, with the packages that a device would have."""

    def make(artifact: Artifact, kit: Kit) -> Engine:
        gpu = HostCuda()
        kit.monkeypatch.setitem(sys.modules, "tensorrt", FakeTrt(gpu))
        for name in ("pycuda", "pycuda.driver", "cuda", "cuda.bindings", "cuda.bindings.driver"):
            kit.monkeypatch.setitem(sys.modules, name, None)
        if binding == "pycuda":
            kit.monkeypatch.setitem(sys.modules, "pycuda", type(sys)("pycuda"))
            kit.monkeypatch.setitem(sys.modules, "pycuda.driver", fake_pycuda(gpu))
        else:
            kit.monkeypatch.setitem(sys.modules, "cuda", type(sys)("cuda"))
            kit.monkeypatch.setitem(sys.modules, "cuda.bindings", type(sys)("cuda.bindings"))
            kit.monkeypatch.setitem(sys.modules, "cuda.bindings.driver", fake_cuda_python(gpu))
        return load(artifact, runtime="tensorrt", cache=kit.tmp_path / "cache")

    return make


def _edgetpu_on_cpu(artifact: Artifact, kit: Kit) -> Engine:
    """The int8 network itself, with no delegate: the same numbers from the CPU's kernels."""
    content = (artifact.folder / "tiny.tflite").read_bytes()

    def on_cpu(content: bytes, device: str) -> object:
        assert device == "usb:0"
        interpreter = interpreter_module().Interpreter(model_content=content)
        interpreter.allocate_tensors()
        return interpreter

    engine = EdgetpuEngine(Request(artifact, "detect", "auto", 1, (6, 4)), content, lambda: ["usb:0"], on_cpu)
    engine.warm_up()
    return engine


def _edgetpu(artifact: Artifact, kit: Kit) -> Engine:
    folder = kit.tmp_path / "compiled"
    folder.mkdir(exist_ok=True)
    subprocess.run(["edgetpu_compiler", "-o", str(folder), str(artifact.folder / "tiny.tflite")], check=True)
    files = file_text(folder / "tiny_edgetpu.tflite", "edgetpu", precision="int8")
    text = manifest_text("tiny-compiled", files, layout="NHWC", size=SIZE, batch=False)
    (folder / "manifest.toml").write_text(text)
    return load(read_artifact(folder), runtime="edgetpu")


CASES: dict[str, Case] = {
    "onnx": Case("onnx", _by("onnx")),
    "onnx-uint8": Case("onnx-uint8", _by("onnx")),
    "openvino": Case("openvino", _by("openvino")),
    "openvino-of-onnx": Case("onnx", _by("openvino")),
    "openvino-of-onnx-uint8": Case("onnx-uint8", _by("openvino")),
    "tflite": Case("tflite", _by("tflite")),
    "tflite-dynamic": Case("tflite-dynamic", _by("tflite")),
    "tflite-int8": Case("tflite-int8", _by("tflite"), expected_int8, 0.25 + 1e-5),
    "fake": Case("fake", _fake),
    "tensorrt-on-host": Case("onnx", _tensorrt_on_host),
    "tensorrt-on-host-uint8": Case("onnx-uint8", _tensorrt_on_host),
    "tensorrt-pycuda-on-host": Case("onnx", _tensorrt_by("pycuda")),
    "tensorrt-cuda-python-on-host": Case("onnx", _tensorrt_by("cuda-python")),
    "edgetpu-on-cpu": Case("edgetpu", _edgetpu_on_cpu, expected_int8, 0.25 + 1e-5),
}
DEVICES: dict[str, Case] = {
    "tensorrt": Case("onnx", lambda artifact, kit: load(artifact, runtime="tensorrt", precision="float32")),
    "edgetpu": Case("tflite-int8", _edgetpu, expected_int8, 0.25 + 1e-5),
}


def why_not(device: str) -> str | None:
    """What is missing to run the suite on that device."""
    if device == "edgetpu" and probe(device) is None and shutil.which("edgetpu_compiler") is None:
        return "edgetpu_compiler is not installed"
    return probe(device)


CASES.update({name: device for name, device in DEVICES.items() if why_not(name) is None})
WITH_FILES = [name for name in CASES if name != "fake"]

Make = Callable[[], Engine]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def make(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """make() -> a new engine of the case's network, closed at the end of the test."""
    artifact = tiny_artifact(tmp_path / "tiny", case.network)
    made: list[Engine] = []

    def make() -> Engine:
        made.append(case.make(artifact, Kit(tmp_path, monkeypatch)))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def engine(make: Make) -> Engine:
    return make()


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


def assert_answers(engine: Engine, case: Case, batch: np.ndarray) -> np.ndarray:
    """Run, and compare with what is expected; returns the answer."""
    (answer,) = engine.run(batch).values()
    assert_equal(answer, case, batch)
    return answer


def assert_equal(answer: np.ndarray, case: Case, batch: np.ndarray) -> None:
    nhwc = answer if answer.shape[-1] == 3 else answer.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(nhwc, case.expect(batch), rtol=1e-5, atol=case.tolerance)


@pytest.mark.parametrize("device", DEVICES)
def test_this_suite_runs_on_the_device_too(device):
    reason = why_not(device)
    if reason is not None:
        pytest.skip(f"no {device} here: {reason}")
    assert device in CASES


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 17])
def test_it_takes_pixels_and_gives_one_answer_per_picture(engine, case, count):
    answer = assert_answers(engine, case, picture(count))
    assert answer.dtype == np.float32
    assert len(answer) == count


def test_batches_of_changing_size_do_not_mix(engine, case):
    for seed, count in enumerate((9, 1, 8, 2, 1, 5)):
        assert_answers(engine, case, picture(count, seed))


def test_an_answer_is_not_overwritten_by_the_next_inference(engine, case):
    (first,) = engine.run(picture(2, seed=1)).values()
    engine.run(picture(2, seed=2))
    assert_equal(first, case, picture(2, seed=1))


def test_an_answer_can_be_written_to(engine, case):
    (first,) = engine.run(picture()).values()
    first[:] = 0
    assert_answers(engine, case, picture())


def test_pictures_are_left_as_they_are_contiguous_or_not(engine, case):
    batch = np.ascontiguousarray(picture(2)[:, :, ::-1])[:, :, ::-1]
    assert not batch.flags.c_contiguous
    assert_answers(engine, case, batch)
    np.testing.assert_array_equal(batch, picture(2))


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (np.zeros((1, 4, 6, 3), np.float32), "uint8 pixels, not float32"),
        (np.zeros((4, 6, 3), np.uint8), r"\(N >= 1, H, W, 3\), not \(4, 6, 3\)"),
        (np.zeros((0, 4, 6, 3), np.uint8), r"not \(0, 4, 6, 3\)"),
        (np.zeros((1, 4, 6, 4), np.uint8), r"not \(1, 4, 6, 4\)"),
        (np.zeros((1, 6, 4, 3), np.uint8), "takes 6x4 pixels, not 4x6"),
    ],
)
def test_a_wrong_batch_is_refused_and_the_engine_works_on(engine, case, batch, words):
    with pytest.raises(ValueError, match=words):
        engine.run(batch)
    assert_answers(engine, case, picture())


def test_it_closes_twice_says_so_and_refuses_to_run(engine):
    assert repr(engine).endswith("open>")
    engine.close()
    engine.close()
    assert repr(engine).endswith("closed>")
    with pytest.raises(ModelError, match="was closed; load the artifact again"):
        engine.run(picture())


def test_it_can_be_loaded_again_after_it_was_closed(make, case):
    make().close()
    assert_answers(make(), case, picture(3))


def test_it_is_warm_when_it_is_loaded(make, monkeypatch):
    ran = []
    run = EngineBase.run
    monkeypatch.setattr(EngineBase, "run", lambda self, batch: ran.append(batch.shape) or run(self, batch))
    together = [(2, 4, 6, 3)] if make()._input.batch else []
    assert ran == [*together, (1, 4, 6, 3)]


def test_it_runs_and_closes_on_another_thread_than_it_was_loaded_on(engine, case):
    errors: list[Exception] = []

    def work() -> None:
        try:
            assert_answers(engine, case, picture(3))
            engine.close()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert errors == []
    assert repr(engine).endswith("closed>")


def test_two_engines_of_one_network_do_not_disturb_each_other(make, case):
    first, second = make(), make()
    (answer,) = first.run(picture(2, seed=1)).values()
    assert_answers(second, case, picture(3, seed=2))
    assert_equal(answer, case, picture(2, seed=1))
    second.close()
    assert_answers(first, case, picture(2, seed=3))


def test_threads_that_take_turns_each_get_their_own_answer(engine, case):
    errors: list[Exception] = []

    def work(seed: int) -> None:
        try:
            for count in (1, 3, 2):
                assert_answers(engine, case, picture(count, seed))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


@pytest.mark.parametrize("case", [pytest.param(CASES[name], id=name) for name in WITH_FILES])
def test_a_manifest_that_lies_about_the_size_is_named_with_both_sizes(case, tmp_path, monkeypatch):
    artifact = tiny_artifact(tmp_path / "tiny", case.network, size=WRONG_SIZE)
    with pytest.raises(ArtifactError, match="the manifest says 8x4, the network takes 6x4 pixels"):
        case.make(artifact, Kit(tmp_path, monkeypatch))
