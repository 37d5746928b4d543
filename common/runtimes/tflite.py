"""TensorFlow Lite on the CPU, by LiteRT or the older tflite_runtime; float and int8 networks.

XNNPACK, its fast kernels for floats and int8, is on: the interpreter's default resolver applies it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import OrderedDict
from typing import Any

from common.runtimes.base import Batch, EngineBase, Outputs, Request, RuntimeUnavailable, by_picture
from common.runtimes.contract import check_network
from common.runtimes.tflite_tensors import Pixels, network_input, read_outputs

FORMATS = ("tflite",)
HINTS = {"edgetpu": "a compiled file runs on an Edge TPU only; add the tflite file that it was compiled from"}
_PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
# Changing an interpreter's input shape plans its memory and packs its weights again (10-40 ms for MoveNet), so cameras of
# different aspects would pay that on each frame. One interpreter a shape costs 30-37 MB instead (MoveNet MultiPose, VmRSS),
# for shapes that come only. Six are two aspects of cameras and four of second looks; with two and three, runs in turn take
# 46 ms with six and 72 ms with three, for the same memory: what three let go, the allocator kept.
_MAX_SHAPES = 6


def probe() -> str | None:
    for package in _PACKAGES:
        try:
            if importlib.util.find_spec(package) is not None:
                return None
        except ImportError:
            continue
    return "neither ai-edge-litert nor tflite-runtime is installed; run `pip install posebus[tflite]`"


def devices() -> list[str]:
    return ["cpu"]


def load(request: Request) -> EngineBase:
    if request.device not in ("auto", "cpu"):
        raise RuntimeUnavailable(f"runtime 'tflite' has no device {request.device!r}; choose auto or cpu")
    return TfliteEngine(request, request.path("tflite").read_bytes())


class TfliteEngine(EngineBase):
    """Interpreters of one network, one for each input shape in use.

    The network is held in memory, not mapped: a file that changes on disk cannot crash a running service.
    """

    def __init__(self, request: Request, model: bytes) -> None:
        super().__init__("tflite", "cpu", request, format="tflite")
        self._content = model
        self._threads = request.threads
        self._interpreters: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._spare: Any = self._open()  # the first shape takes it
        check_network(self._model, self._input, network_input(self._spare, self._model))
        self._pixels = Pixels(self._input, self._spare.get_input_details()[0], self._model)

    def _infer(self, batch: Batch) -> Outputs:
        return by_picture(batch, self._invoke, at_once=None if self._input.batch else 1)

    def _invoke(self, batch: Batch) -> Outputs:
        interpreter = self._interpreter(batch.shape)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], self._pixels(batch))
        interpreter.invoke()
        return read_outputs(interpreter)

    def _interpreter(self, shape: tuple[int, ...]) -> Any:
        if shape in self._interpreters:
            self._interpreters.move_to_end(shape)
            return self._interpreters[shape]
        interpreter, self._spare = self._spare or self._open(), None
        (source,) = interpreter.get_input_details()
        planned = shape if self._input.layout == "NHWC" else (shape[0], shape[3], shape[1], shape[2])
        if tuple(source["shape"]) != planned:
            interpreter.resize_tensor_input(source["index"], planned, strict=True)
        interpreter.allocate_tensors()
        self._interpreters[shape] = interpreter
        if len(self._interpreters) > _MAX_SHAPES:
            self._interpreters.popitem(last=False)
        return interpreter

    def _open(self) -> Any:
        return interpreter_module().Interpreter(model_content=self._content, num_threads=self._threads)

    def _free(self) -> None:
        self._interpreters.clear()
        self._content, self._spare = b"", None


def interpreter_module() -> Any:
    """The module with `Interpreter` and `load_delegate`. Raises RuntimeUnavailable when neither package can be imported."""
    reasons = []
    for package in _PACKAGES:
        try:
            return importlib.import_module(package)
        except ImportError as error:
            reasons.append(f"{package}: {error}")
    raise RuntimeUnavailable(f"runtime 'tflite': {probe() or 'cannot be imported: ' + '; '.join(reasons)}")
