"""ONNX Runtime on the CPU, and on what else its build has: CUDA, TensorRT, OpenVINO.

A network whose graph takes normalised floats gets them from a table look-up in the engine (`to_network`): folding the
normalisation into the graph would need the package `onnx` on every node. Networks exported with uint8 NHWC input get the
pixels as they are.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import replace
from typing import Any

import numpy as np

from common.manifest import DeviceLost, ModelError
from common.model_store import default_cache
from common.runtimes.base import Batch, EngineBase, Outputs, Request, by_picture, pixel_table, to_network
from common.runtimes.contract import NetworkInput, check_network, sizes
from common.runtimes.cuda import cuda_error, is_lost
from common.runtimes.onnx_providers import (
    CPU,
    CUDA,
    TENSORRT,
    Provider,
    choose,
    device_names,
    open_session,
    tensorrt_options,
)
from common.runtimes.tensorrt_build import BATCH_MAX

log = logging.getLogger(__name__)

FORMATS = ("onnx",)
_DTYPES = {"tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(float16)": "float16", "tensor(float)": "float32"}


def probe() -> str | None:
    if importlib.util.find_spec("onnxruntime") is not None:
        return None
    return "onnxruntime is not installed; run `pip install posebus[onnx]`"


def takes_gpu() -> bool:
    """Whether `device: auto` is a GPU, as in the build for CUDA."""
    if probe() is not None:
        return False
    import onnxruntime

    return choose("auto", onnxruntime.get_available_providers()).name != CPU


def devices() -> list[str]:
    import onnxruntime

    return device_names(onnxruntime.get_available_providers())


def load(request: Request) -> EngineBase:
    import onnxruntime

    return open_engine(request, onnxruntime)


def open_engine(request: Request, ort: Any) -> EngineBase:
    """The artifact's engine on the device asked for; ort: the module.

    `auto` takes the CPU where the GPU does not start or cannot run the network once, as where this build has no kernels for
    it or its memory is full: a session alone does not show that.
    """
    model = request.path("onnx").read_bytes()
    provider = choose(request.device, ort.get_available_providers())
    if provider.name in (CUDA, TENSORRT) and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds CUDA and cuDNN where pip has put them
    if request.device != "auto" or provider.name == CPU:
        return OnnxEngine(request, model, ort, provider)
    engine: EngineBase | None = None
    try:
        engine = OnnxEngine(request, model, ort, provider)
        engine.warm_up()
        return engine
    except Exception as error:  # ONNX Runtime's own too: a session that finds no memory
        if engine is not None:
            engine.close()
        if isinstance(error, DeviceLost):
            raise
        if is_lost(error):
            raise cuda_error(f"ONNX Runtime on {provider.device}", error) from error
        log.warning("event=device_passed_over model=%s device=%s reason=%s", request.artifact.name, provider.device, error)
    return OnnxEngine(request, model, ort, choose("cpu", ort.get_available_providers()))


class OnnxEngine(EngineBase):
    """One session; batches of any size and, for dynamic networks, any input size."""

    def __init__(self, request: Request, model: bytes, ort: Any, provider: Provider) -> None:
        super().__init__("onnx", provider.device, request, format="onnx")
        self._at_once: int | None = None if self._input.batch else 1
        self._gpu = provider.name in (CUDA, TENSORRT)
        if provider.name == TENSORRT:
            provider = self._with_engines(request, model, ort, provider)
        self._session: Any = open_session(ort, model, _options(ort, request.threads), provider)
        found = _input(self._session, self._model)
        check_network(self._model, self._input, found)
        self._source = found.name
        self._raw = found.dtype == "uint8" and self._input.layout == "NHWC"
        self._table = pixel_table(self._input).astype(found.dtype)
        self._names = [output.name for output in self._session.get_outputs()]

    def _infer(self, batch: Batch) -> Outputs:
        return by_picture(batch, self._invoke, at_once=self._at_once)

    def _invoke(self, batch: Batch) -> Outputs:
        values = np.ascontiguousarray(batch) if self._raw else to_network(batch, self._table, self._input.layout)
        try:
            return dict(zip(self._names, self._session.run(None, {self._source: values}), strict=True))
        except Exception as error:
            if self._gpu and is_lost(error):
                raise cuda_error(f"ONNX Runtime on {self.device}", error) from error
            raise

    def _free(self) -> None:
        self._session = None

    def _with_engines(self, request: Request, model: bytes, ort: Any, provider: Provider) -> Provider:
        """The TensorRT provider with its cache, and a profile that needs the input's name: a look with the CPU gives it."""
        options = _options(ort, 1)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        found = _input(ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]), self._model)
        folder = (request.cache or default_cache()) / "onnx-tensorrt"
        folder.mkdir(parents=True, exist_ok=True)
        self._at_once = BATCH_MAX if self._input.batch else 1
        more = tensorrt_options(found, self._input, request.size_px, str(folder), half=request.precision != "float32")
        return replace(provider, options={**provider.options, **more})


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings are about its own optimiser; errors are raised
    # Spinning threads burn a core between frames: the load of an idle camera must stay low.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _input(session: Any, model: str) -> NetworkInput:
    sources = session.get_inputs()
    if len(sources) != 1:
        names = ", ".join(source.name for source in sources)
        raise ModelError(f"artifact {model!r} has inputs {names}; one input is supported")
    source = sources[0]
    return NetworkInput(source.name, sizes(source.shape), _DTYPES.get(source.type, source.type))
