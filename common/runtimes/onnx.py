"""ONNX Runtime on the CPU.

A network whose graph takes normalised floats gets them from a table look-up in the engine (`to_network`): folding the
normalisation into the graph would need the package `onnx` on every node. Networks exported with uint8 NHWC input get the
pixels as they are.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from common.runtimes.base import Batch, EngineBase, Outputs, Request, RuntimeUnavailable, pixel_table, stack, to_network

FORMAT = "onnx"


def probe() -> str | None:
    if importlib.util.find_spec("onnxruntime") is not None:
        return None
    return "onnxruntime is not installed; run `pip install posebus[onnx]`"


def load(request: Request) -> EngineBase:
    if request.device not in ("auto", "cpu"):
        raise RuntimeUnavailable(f"runtime 'onnx' has no device {request.device!r}; choose auto or cpu")
    return OnnxEngine(request, request.path(FORMAT).read_bytes())


class OnnxEngine(EngineBase):
    """One session; batches of any size and, for dynamic networks, any input size."""

    def __init__(self, request: Request, model: bytes) -> None:
        super().__init__("onnx", "cpu", request, format=FORMAT)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = request.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # its warnings are about its own optimiser; errors are raised
        # Spinning threads burn a core between frames: the load of an idle camera must stay low.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (source,) = self._session.get_inputs()
        self._source = source.name
        self._raw = source.type == "tensor(uint8)" and self._input.layout == "NHWC" and self._input.mean is None
        self._table = pixel_table(self._input)
        if source.type == "tensor(uint8)":
            self._table = self._table.astype(np.uint8)
        self._names = [output.name for output in self._session.get_outputs()]

    def _infer(self, batch: Batch) -> Outputs:
        size = len(batch) if self._input.batch else 1
        return stack([self._invoke(batch[start : start + size]) for start in range(0, len(batch), size)])

    def _invoke(self, batch: Batch) -> Outputs:
        values = np.ascontiguousarray(batch) if self._raw else to_network(batch, self._table, self._input.layout)
        return dict(zip(self._names, self._session.run(None, {self._source: values}), strict=True))

    def _free(self) -> None:
        self._session = None
