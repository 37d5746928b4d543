"""TensorFlow Lite on the CPU, by LiteRT or the older tflite_runtime; float and int8 networks."""

from __future__ import annotations

import importlib
import importlib.util
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.runtimes.base import (
    Batch,
    EngineBase,
    Outputs,
    Request,
    RuntimeUnavailable,
    pixel_table,
    stack,
    to_network,
)

FORMAT = "tflite"
_PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
# Changing an interpreter's input shape plans its memory and packs its weights again (10-40 ms for MoveNet), so cameras of
# different aspects would pay that on each frame. One interpreter a shape costs 10-20 MB instead.
_MAX_SHAPES = 3


def probe() -> str | None:
    for package in _PACKAGES:
        try:
            if importlib.util.find_spec(package) is not None:
                return None
        except ImportError:
            continue
    return "neither ai-edge-litert nor tflite-runtime is installed; run `pip install posebus[tflite]`"


def load(request: Request) -> EngineBase:
    if request.device not in ("auto", "cpu"):
        raise RuntimeUnavailable(f"runtime 'tflite' has no device {request.device!r}; choose auto or cpu")
    return TfliteEngine(request, request.path(FORMAT).read_bytes())


class TfliteEngine(EngineBase):
    """Interpreters of one network, one for each input shape in use.

    The network is held in memory, not mapped: a file that changes on disk cannot crash a running service.
    """

    def __init__(self, request: Request, model: bytes) -> None:
        super().__init__("tflite", "cpu", request, format=FORMAT)
        self._content = model
        self._threads = request.threads
        self._table: NDArray[Any] | None = None
        self._interpreters: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def _infer(self, batch: Batch) -> Outputs:
        size = len(batch) if self._input.batch else 1
        parts = [self._invoke(batch[start : start + size]) for start in range(0, len(batch), size)]
        return stack(parts)

    def _invoke(self, batch: Batch) -> Outputs:
        interpreter = self._interpreter(batch.shape)
        (source,) = interpreter.get_input_details()
        interpreter.set_tensor(source["index"], self._pixels(batch, source))
        interpreter.invoke()
        return {
            output["name"]: _dequantise(interpreter.get_tensor(output["index"]), output)
            for output in interpreter.get_output_details()
        }

    def _interpreter(self, shape: tuple[int, ...]) -> Any:
        if shape in self._interpreters:
            self._interpreters.move_to_end(shape)
            return self._interpreters[shape]
        interpreter = _interpreter_class()(model_content=self._content, num_threads=self._threads)
        (source,) = interpreter.get_input_details()
        planned = shape if self._input.layout == "NHWC" else (shape[0], shape[3], shape[1], shape[2])
        if tuple(source["shape"]) != planned:
            interpreter.resize_tensor_input(source["index"], planned, strict=True)
        interpreter.allocate_tensors()
        self._interpreters[shape] = interpreter
        if len(self._interpreters) > _MAX_SHAPES:
            self._interpreters.popitem(last=False)
        return interpreter

    def _pixels(self, batch: Batch, source: dict[str, Any]) -> NDArray[Any]:
        if source["dtype"] == np.uint8 and self._input.mean is None and self._input.layout == "NHWC":
            return batch
        if self._table is None:
            self._table = _quantise(pixel_table(self._input), source)
        return to_network(batch, self._table, self._input.layout)

    def _free(self) -> None:
        self._interpreters.clear()
        self._content = b""


def _quantise(values: NDArray[np.float32], tensor: dict[str, Any]) -> NDArray[Any]:
    if not np.issubdtype(tensor["dtype"], np.integer):
        return values.astype(tensor["dtype"])
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    quantised: NDArray[Any] = np.clip(np.rint(values / (scale or 1.0) + zero), limits.min, limits.max)
    return quantised.astype(tensor["dtype"])


def _dequantise(values: NDArray[Any], output: dict[str, Any]) -> NDArray[Any]:
    scale, zero = output["quantization"]
    if scale and np.issubdtype(values.dtype, np.integer):
        return (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return values


def _interpreter_class() -> Any:
    for package in _PACKAGES:
        try:
            return importlib.import_module(package).Interpreter
        except ImportError:
            continue
    raise RuntimeUnavailable(f"runtime 'tflite': {probe() or 'cannot be imported'}")
