"""The Edge TPU's engine without an Edge TPU: the same network on the CPU, and a delegate that can be lost."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.artifact import Artifact, ArtifactError
from common.manifest import ModelError
from common.runtimes import RuntimeUnavailable, edgetpu, load
from common.runtimes.base import Request
from common.runtimes.edgetpu import CUSTOM_OP, EdgetpuEngine
from common.runtimes.edgetpu_devices import EdgeTpu
from common.runtimes.tflite import interpreter_module
from tests.model_parts import SIZE, expected_int8, file_text, manifest_text, tiny_artifact, write_tiny_tflite


def picture(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


class Sticks:
    """Edge TPUs that can be pulled out. Each runs its network on the CPU."""

    def __init__(self, *names: str) -> None:
        self.plugged = list(names)
        self.busy: set[str] = set()
        self.opened: list[str] = []
        self.now_s = 100.0

    def clock(self) -> float:
        return self.now_s

    def open(self, content: bytes, device: str) -> Any:
        self.opened.append(device)
        if device in self.busy or device not in self.plugged:
            raise ValueError(f"Failed to load delegate from libedgetpu.so.1 with options {{'device': {device!r}}}")
        interpreter = interpreter_module().Interpreter(model_content=content)
        interpreter.allocate_tensors()
        return _OnStick(self, device, interpreter)


class _OnStick:
    def __init__(self, sticks: Sticks, device: str, interpreter: Any) -> None:
        self._sticks, self._device, self._interpreter = sticks, device, interpreter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interpreter, name)

    def invoke(self) -> None:
        if self._device not in self._sticks.plugged:
            raise RuntimeError("Encountered unresolved custom op: edgetpu-custom-op. USB transfer error 5 [Libusb]")
        self._interpreter.invoke()


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    return tiny_artifact(tmp_path / "tiny", "edgetpu")


def opened(artifact: Artifact, sticks: Sticks, *, content: bytes | None = None, device: str = "auto") -> EdgetpuEngine:
    content = (artifact.folder / "tiny.tflite").read_bytes() if content is None else content
    request = Request(artifact, "detect", device, 1, (6, 4))
    return EdgetpuEngine(request, content, lambda: ["usb:0", "usb:1"], sticks.open, sticks.clock)


def runs(engine: EdgetpuEngine) -> bool:
    (answer,) = engine.run(picture(3)).values()
    np.testing.assert_allclose(answer, expected_int8(picture(3)), atol=0.25 + 1e-5)
    return True


def test_engines_of_several_processes_take_one_stick_each(artifact):
    sticks = Sticks("usb:0", "usb:1")
    first = opened(artifact, sticks)
    sticks.busy.add("usb:0")  # a stick belongs to one process
    second = opened(artifact, sticks)
    assert (first.device, second.device) == ("usb:0", "usb:1")
    assert runs(first)
    assert runs(second)


def test_a_machine_whose_sticks_are_all_taken_says_so(artifact):
    sticks = Sticks("usb:0", "usb:1")
    sticks.busy = {"usb:0", "usb:1"}
    with pytest.raises(RuntimeUnavailable, match=r"usb:0 cannot be opened: .*usb:1 cannot be .*another process may hold"):
        opened(artifact, sticks)


def test_a_lost_stick_is_a_model_error_with_the_time_of_the_next_try(artifact):
    sticks = Sticks("usb:0")
    engine = opened(artifact, sticks)
    assert runs(engine)
    sticks.plugged.clear()
    with pytest.raises(ModelError, match=r"Edge TPU usb:0 failed: .*USB transfer error 5.*; it is opened again in 0.5 s"):
        engine.run(picture())
    with pytest.raises(ModelError, match=r"usb:0 failed: .*; it is opened again in 0.5 s"):
        engine.run(picture())


def test_it_is_not_opened_before_its_time_and_then_once_a_frame(artifact):
    sticks = Sticks("usb:0")
    engine = opened(artifact, sticks)
    sticks.plugged.clear()
    sticks.opened.clear()
    with pytest.raises(ModelError):
        engine.run(picture())
    sticks.now_s += 0.49
    with pytest.raises(ModelError):
        engine.run(picture())
    assert sticks.opened == []
    sticks.now_s += 0.02
    with pytest.raises(ModelError, match=r"cannot be opened: .*opened again in 1.0 s"):
        engine.run(picture())
    assert sticks.opened == ["usb:0", "usb:1"]


def test_the_wait_doubles_up_to_ten_seconds(artifact):
    sticks = Sticks("usb:0")
    engine = opened(artifact, sticks)
    sticks.plugged.clear()
    waits = []
    for _ in range(8):
        with pytest.raises(ModelError) as caught:
            engine.run(picture())
        waits.append(float(str(caught.value).rsplit("again in ", 1)[1].removesuffix(" s")))
        sticks.now_s += waits[-1]
    assert waits == [0.5, 1, 2, 4, 8, 10, 10, 10]


def test_a_stick_that_comes_back_is_used_again_and_the_wait_starts_anew(artifact):
    sticks = Sticks("usb:0")
    engine = opened(artifact, sticks)
    for again in range(2):
        sticks.plugged.clear()
        for _ in range(3):
            with pytest.raises(ModelError):
                engine.run(picture())
            sticks.now_s += 20
        sticks.plugged.append("usb:0")
        assert runs(engine), again
        sticks.plugged.clear()
        with pytest.raises(ModelError, match=r"again in 0.5 s"):
            engine.run(picture())
        sticks.plugged.append("usb:0")
        sticks.now_s += 20
        assert runs(engine)


def test_a_stick_that_comes_back_in_another_port_is_found(artifact):
    sticks = Sticks("usb:0")
    engine = opened(artifact, sticks)
    sticks.plugged[:] = ["usb:1"]
    with pytest.raises(ModelError):
        engine.run(picture())
    sticks.now_s += 1
    assert runs(engine)
    assert engine.device == "usb:1"


def test_an_engine_closed_while_its_stick_is_lost_stays_closed(artifact):
    sticks = Sticks("usb:0")
    engine = opened(artifact, sticks)
    sticks.plugged.clear()
    with pytest.raises(ModelError):
        engine.run(picture())
    engine.close()
    sticks.plugged.append("usb:0")
    sticks.now_s += 60
    with pytest.raises(ModelError, match="was closed"):
        engine.run(picture())


def test_a_file_that_was_not_compiled_is_refused(artifact, tmp_path):
    write_tiny_tflite(tmp_path / "plain.tflite", quantised=True)
    with pytest.raises(ArtifactError, match="not compiled for the Edge TPU; give it to `edgetpu_compiler`"):
        opened(artifact, Sticks("usb:0"), content=(tmp_path / "plain.tflite").read_bytes())


@pytest.mark.kit
def test_the_kits_compiled_file_is_known_as_such(kit):
    folder = kit / "models/coral"
    assert CUSTOM_OP in (folder / "movenet_single_pose_lightning_ptq_edgetpu.tflite").read_bytes()
    assert CUSTOM_OP not in (folder / "movenet_single_pose_lightning_ptq.tflite").read_bytes()


def test_a_manifest_that_promises_batches_is_refused(tmp_path):
    write_tiny_tflite(tmp_path / "tiny.tflite", quantised=True, description="edgetpu-custom-op")
    files = file_text(tmp_path / "tiny.tflite", "edgetpu", precision="int8")
    (tmp_path / "manifest.toml").write_text(manifest_text("many", files, layout="NHWC", size=SIZE, batch=True))
    from common.artifact import read_artifact

    with pytest.raises(ArtifactError, match="takes exactly 1 at a time; set `batch = false`"):
        opened(read_artifact(tmp_path), Sticks("usb:0"))


def test_without_the_library_the_package_to_install_is_named(artifact):
    reason = edgetpu.probe()
    if reason is None:
        pytest.skip("libedgetpu and an Edge TPU are here")
    if "cannot be loaded" not in reason:
        pytest.skip("libedgetpu is here")
    assert "sudo apt install libedgetpu1-std" in reason
    with pytest.raises(RuntimeUnavailable, match=r"'edgetpu': libedgetpu.so.1 cannot be loaded .*apt install libedgetpu1-std"):
        load(artifact, runtime="edgetpu")


def with_library(monkeypatch: pytest.MonkeyPatch, *here: EdgeTpu) -> None:
    """Let libedgetpu be installed and these devices be there."""
    monkeypatch.setattr(edgetpu.ctypes, "CDLL", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr(edgetpu, "list_edge_tpus", lambda: list(here))


def test_with_the_library_but_no_device_the_ids_to_look_for_are_named(monkeypatch):
    with_library(monkeypatch)
    assert "no Edge TPU is connected: `lsusb` shows 1a6e:089a or 18d1:9302" in str(edgetpu.probe())
    with_library(monkeypatch, EdgeTpu("usb", 0, "USB 18d1:9302", "no permission for /dev/bus/usb/001/004; add the user"))
    assert "Edge TPU usb:0 (USB 18d1:9302): no permission" in str(edgetpu.probe())
    with_library(monkeypatch, EdgeTpu("usb", 0, "USB 18d1:9302"))
    assert edgetpu.probe() is None


@pytest.mark.parametrize("package", ["pycoral", "the delegate"])
@pytest.mark.parametrize("device", ["auto", "usb:0"])
def test_pycoral_opens_it_where_installed_and_else_the_delegate(artifact, monkeypatch, package, device):
    with_library(monkeypatch, EdgeTpu("usb", 0, "USB 18d1:9302"))
    module = interpreter_module()
    asked: list[Any] = []

    def make_interpreter(content: bytes, *, device: str) -> Any:
        asked.append(device)
        return module.Interpreter(model_content=content)

    def load_delegate(library: str, options: dict[str, str]) -> str:
        asked.append((library, options))
        return "delegate"

    def with_delegate(*, model_content: bytes, experimental_delegates: list[str]) -> Any:
        assert experimental_delegates == ["delegate"]
        return module.Interpreter(model_content=model_content)

    real = edgetpu.importlib.util.find_spec
    there = object() if package == "pycoral" else None
    monkeypatch.setattr(edgetpu.importlib.util, "find_spec", lambda name: there if name == "pycoral" else real(name))
    for name in ("pycoral", "pycoral.utils"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setitem(sys.modules, "pycoral.utils.edgetpu", SimpleNamespace(make_interpreter=make_interpreter))
    fake = SimpleNamespace(load_delegate=load_delegate, Interpreter=with_delegate)
    monkeypatch.setattr(edgetpu, "interpreter_module", lambda: fake)
    engine = load(artifact, runtime="edgetpu", device=device)
    assert asked == (["usb:0"] if package == "pycoral" else [("libedgetpu.so.1", {"device": "usb:0"})])
    assert (engine.name, engine.device) == ("edgetpu", "usb:0")
    engine.close()


def test_a_device_that_is_not_there_is_named_with_those_that_are(artifact, monkeypatch):
    with_library(monkeypatch, EdgeTpu("usb", 0, "USB 18d1:9302"), EdgeTpu("pci", 0, "/dev/apex_0"))
    with pytest.raises(RuntimeUnavailable, match=r"no device 'pci:1' here; choose one of: usb:0 \(USB 18d1:9302\), pci:0"):
        load(artifact, runtime="edgetpu", device="pci:1")
