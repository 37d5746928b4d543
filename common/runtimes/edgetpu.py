"""Coral's Edge TPU: TFLite with the delegate of libedgetpu, by pycoral where it is installed, else by LiteRT itself.

Several Edge TPUs take one engine each, by name: usb:0, usb:1, pci:0. Never run on an Edge TPU by us: networks are tested on the
CPU's int8 kernels, which give the same numbers, with the delegate left out.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import time
from collections.abc import Callable
from typing import Any

from common.manifest import ArtifactError, ModelError
from common.runtimes.base import Batch, EngineBase, Outputs, Request, RuntimeUnavailable, by_picture
from common.runtimes.contract import check_network
from common.runtimes.edgetpu_devices import candidates, list_edge_tpus
from common.runtimes.tflite import interpreter_module
from common.runtimes.tflite import probe as probe_tflite
from common.runtimes.tflite_tensors import Pixels, network_input, read_outputs

log = logging.getLogger(__name__)

FORMATS = ("edgetpu",)
HINTS = {
    "tflite": "compile the int8 tflite file (`edgetpu_compiler FILE.tflite`) and add the result with format = \"edgetpu\"; "
    "runtime: tflite runs it as it is on the CPU",
}
LIBRARY = "libedgetpu.so.1"
CUSTOM_OP = b"edgetpu-custom-op"  # the operator that edgetpu_compiler puts into a file
BACKOFF_S, BACKOFF_MAX_S = 0.5, 10.0

# (content of the file, device) -> an interpreter whose tensors are allocated
OpenInterpreter = Callable[[bytes, str], Any]


def probe() -> str | None:
    reason = probe_tflite()
    if reason is not None and importlib.util.find_spec("pycoral") is None:
        return reason
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return (
            f"{LIBRARY} cannot be loaded ({error}); add Coral's apt repository (https://coral.ai/software) and run "
            "`sudo apt install libedgetpu1-std`"
        )
    try:
        candidates("auto", list_edge_tpus())
    except RuntimeUnavailable as error:
        return str(error)
    return None


def devices() -> list[str]:
    return [f"{tpu.name} ({tpu.what})" for tpu in list_edge_tpus() if tpu.problem is None]


def load(request: Request) -> EngineBase:
    content = request.path("edgetpu").read_bytes()
    return EdgetpuEngine(request, content, lambda: candidates(request.device, list_edge_tpus()), open_interpreter)


def open_interpreter(content: bytes, device: str) -> Any:
    """An interpreter on that Edge TPU. Raises ValueError or RuntimeError, as pycoral and TFLite do."""
    if importlib.util.find_spec("pycoral") is not None:
        interpreter = importlib.import_module("pycoral.utils.edgetpu").make_interpreter(content, device=device)
    else:
        module = interpreter_module()
        delegate = module.load_delegate(LIBRARY, {"device": device})
        interpreter = module.Interpreter(model_content=content, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    return interpreter


class EdgetpuEngine(EngineBase):
    """One interpreter on one Edge TPU, opened again after it was lost: after 0.5 s, then doubling up to 10 s.

    devices: names those to try, first come, first served; asked each time, as a stick may come back in another port.
    """

    def __init__(
        self,
        request: Request,
        content: bytes,
        devices: Callable[[], list[str]],
        open_interpreter: OpenInterpreter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("edgetpu", request.device, request, format="edgetpu")
        if CUSTOM_OP not in content:
            raise ArtifactError(
                f"artifact {self._model!r}: its edgetpu file was not compiled for the Edge TPU; give it to "
                "`edgetpu_compiler`, or call its format tflite"
            )
        self._content, self._devices, self._open_on, self._clock = content, devices, open_interpreter, clock
        self._backoff_s = BACKOFF_S
        self._next_try_s = -float("inf")
        self._why = ""
        self._interpreter: Any = self._open()
        check_network(self._model, self._input, network_input(self._interpreter, self._model))
        self._pixels = Pixels(self._input, self._interpreter.get_input_details()[0], self._model)

    def _infer(self, batch: Batch) -> Outputs:
        return by_picture(batch, self._invoke, at_once=1)

    def _invoke(self, batch: Batch) -> Outputs:
        if self._interpreter is None:
            self._reopen()
        try:
            self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], self._pixels(batch))
            self._interpreter.invoke()
            outputs = read_outputs(self._interpreter)
        except (RuntimeError, ValueError, OSError) as error:
            raise self._lost(f"Edge TPU {self.device} failed: {error}") from error
        self._backoff_s = BACKOFF_S
        return outputs

    def _reopen(self) -> None:
        wait_s = self._next_try_s - self._clock()
        if wait_s > 0:
            raise ModelError(f"{self._why}; it is opened again in {wait_s:.1f} s")
        try:
            self._interpreter = self._open()
        except ModelError as error:
            raise self._lost(str(error)) from error
        log.warning("event=edgetpu_back model=%s device=%s", self._model, self.device)

    def _open(self) -> Any:
        reasons = []
        for device in self._devices():
            try:
                interpreter = self._open_on(self._content, device)
            except (RuntimeError, ValueError, OSError) as error:
                reasons.append(f"Edge TPU {device} cannot be opened: {error}")
                continue
            self.device = device
            return interpreter
        raise RuntimeUnavailable(
            f"{'; '.join(reasons)}; another process may hold it (one process an Edge TPU), it may have lost power, or "
            f"{LIBRARY} may be older than the compiler of the file: unplug it, plug it in, update libedgetpu1-std"
        )

    def _lost(self, why: str) -> ModelError:
        """Let the interpreter go and plan the next try."""
        self._interpreter = None
        self._why = why
        self._next_try_s = self._clock() + self._backoff_s
        error = ModelError(f"{why}; it is opened again in {self._backoff_s:.1f} s")
        log.warning("event=edgetpu_lost model=%s device=%s again_in_s=%.1f", self._model, self.device, self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)
        return error

    def _free(self) -> None:
        self._interpreter = None
        self._content = b""
