"""TensorRT on NVIDIA GPUs, as JetPack 5, 6 and 7 ship it (8.5 to 10).

The engine is built from the artifact's ONNX file on the device itself and kept (`tensorrt_cache.py`). Never run on a GPU by
us: the build is tested with the real builder of TensorRT-RTX, the rest against memory of the host.
"""

from __future__ import annotations

import importlib
import logging
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from common.artifact import file_for, input_of
from common.manifest import ArtifactError, ModelError
from common.model_store import default_cache
from common.runtimes.base import Batch, EngineBase, Outputs, Request, RuntimeUnavailable, by_picture, pixel_table, to_network
from common.runtimes.contract import NetworkInput, check_network, sizes
from common.runtimes.cuda import Cuda, cuda_error, import_bindings, open_cuda, probe_cuda
from common.runtimes.tensorrt_buffers import Buffer, bytes_of, known, make_allocator
from common.runtimes.tensorrt_build import BuildRequest, Mode, build_engine, dtype_name, make_logger
from common.runtimes.tensorrt_cache import cached_engine, engine_path

log = logging.getLogger(__name__)

FORMATS = ("onnx",)
HINTS = {
    "tflite": "TensorRT builds from ONNX only: add an onnx file (`posebus models convert`), or use runtime: tflite",
    "edgetpu": "TensorRT builds from ONNX only: add an onnx file (`posebus models convert`), or use runtime: edgetpu",
}
MIN_VERSION = (8, 5)  # the first with named tensors and execute_async_v3
_INSTALL = (
    "on a Jetson `apt install python3-libnvinfer` and let the virtual environment see it (--system-site-packages), on a PC "
    "`pip install tensorrt`"
)


def probe() -> str | None:
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        return f"tensorrt cannot be imported ({error}); {_INSTALL}"
    except (OSError, RuntimeError) as error:  # PyPI's wheels load their libraries from elsewhere
        return f"tensorrt is installed without its libraries ({error}); {_INSTALL}"
    return check_version(str(getattr(trt, "__version__", "0"))) or probe_cuda()


def devices() -> list[str]:
    cuda = open_cuda(0, *import_bindings())
    _let_go(cuda)
    return [f"gpu:0 ({cuda.name}, compute capability {'.'.join(map(str, cuda.capability))})"]


def check_version(version: str) -> str | None:
    """Why that TensorRT is too old; None: it is not."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers >= MIN_VERSION:
        return None
    return f"TensorRT {version} is too old: 8.5 or newer is needed, which JetPack 5.1 and later have; {_INSTALL}"


def load(request: Request) -> EngineBase:
    trt = importlib.import_module("tensorrt")
    binding, driver = import_bindings()
    return open_engine(request, trt, lambda index: open_cuda(index, binding, driver))


def open_engine(request: Request, trt: Any, open_device: Callable[[int], Cuda]) -> EngineBase:
    """The artifact's engine, from the cache or built now. trt: the module; open_device(index): the GPU."""
    index = gpu_index(request.device)
    request, plan = build_request(request)
    cuda = open_device(index)
    logger = make_logger(trt)
    held = Held()
    try:
        with cuda.active():
            held.runtime = trt.Runtime(logger)
            path = engine_path(
                request.cache or default_cache(), plan.onnx, version=trt.__version__, gpu=cuda.name,
                capability=cuda.capability, mode=plan.mode, profile=plan.profile, calibration=plan.calibration,
            )  # fmt: skip
            held.engine = cached_engine(
                path, read=lambda content: held.runtime.deserialize_cuda_engine(content),
                build=lambda: build_engine(trt, logger, plan),
            )  # fmt: skip
            return TensorrtEngine(request, f"gpu:{index}", trt, logger, cuda, held)
    except BaseException as error:
        _let_go(cuda, partial(_drop, held, error))
        raise


@dataclass
class Held:
    """TensorRT's objects of an engine. They free memory of the GPU when they go, so they go before it is closed."""

    runtime: Any = None
    engine: Any = None
    context: Any = None

    def drop(self) -> None:
        self.context = self.engine = self.runtime = None  # in this order


def _drop(held: Held, error: BaseException) -> None:
    """Drop what a load held that failed; the frames that the error remembers hold builder, parser and network too."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    held.drop()


def gpu_index(device: str) -> int:
    """auto, gpu, gpu:1, cuda:1 -> the GPU's number."""
    found = re.fullmatch(r"auto|(?:gpu|cuda)(?::(\d+))?", device)
    if found is None:
        raise RuntimeUnavailable(f"runtime 'tensorrt' has no device {device!r}; choose auto or gpu:0")
    return int(found[1] or 0)


def build_request(asked: Request) -> tuple[Request, BuildRequest]:
    """What to build from which file, pulled and checked; the request comes back with that file's precision.

    auto: the artifact's first ONNX file, in float16, which all GPUs of TensorRT 8.5 and newer can. A precision that no file
    has, TensorRT makes of the float32 file: int8 then needs the calibration cache `{file}.calib` beside the manifest.
    """
    if asked.precision == "dynamic_int8":
        raise RuntimeUnavailable("runtime 'tensorrt' has no dynamic int8; set precision: int8, float16 or auto")
    try:
        file = file_for(asked.artifact, "onnx", precision=asked.precision)
    except ArtifactError:
        if asked.precision not in ("float16", "int8"):
            raise
        file = file_for(asked.artifact, "onnx", precision="float32")
    modes: dict[str, Mode] = {"float32": "float32", "int8": "int8"}
    mode = modes.get(asked.precision, "float16")
    request = replace(asked, precision=file.precision)
    path = asked.artifact.folder / PurePosixPath(file.path).with_suffix(".calib")
    return request, BuildRequest(
        model=asked.artifact.name,
        onnx=request.path("onnx").read_bytes(),
        spec=input_of(asked.artifact, "onnx", file.precision),
        size_px=asked.size_px,
        mode=mode,
        strict=asked.precision == "float16",
        calibration=path.read_bytes() if mode == "int8" and file.precision != "int8" and path.is_file() else None,
        calibration_path=path,
    )


class TensorrtEngine(EngineBase):
    """One execution context, its buffers, and a stream, on one GPU."""

    def __init__(self, request: Request, device: str, trt: Any, logger: Any, cuda: Cuda, held: Held) -> None:
        super().__init__("tensorrt", device, request, format="onnx")
        self._cuda, self._logger, self._held = cuda, logger, held
        engine = held.engine
        held.context = engine.create_execution_context()
        if held.context is None:
            raise ModelError(f"TensorRT has no memory for {self._model!r}: {'; '.join(logger.errors[-2:])}; run fewer services")
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        sources = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        if len(sources) != 1:
            raise ModelError(f"artifact {self._model!r} has inputs {', '.join(sources)}; one input is supported")
        found = NetworkInput(
            sources[0], sizes(tuple(engine.get_tensor_shape(sources[0]))), dtype_name(trt, engine.get_tensor_dtype(sources[0]))
        )
        check_network(self._model, self._input, found)
        self._raw = found.dtype == "uint8" and self._input.layout == "NHWC"
        self._table = pixel_table(self._input).astype(found.dtype)
        self._shape: tuple[int, ...] | None = None  # that was set last
        self._dtypes = {name: dtype_name(trt, engine.get_tensor_dtype(name)) for name in names}
        self._make_buffers(trt, found, [name for name in names if name != found.name])

    def _make_buffers(self, trt: Any, found: NetworkInput, outputs: list[str]) -> None:
        dynamic = None in found.shape
        engine, context = self._held.engine, self._held.context
        most = engine.get_tensor_profile_shape(found.name, 0)[2] if dynamic else engine.get_tensor_shape(found.name)
        most = known(most, found.name)
        self._at_once = most[0]
        self._source = Buffer(self._cuda, found.name, found.dtype, bytes_of(most, found.dtype))
        context.set_tensor_address(found.name, self._source.address)
        self._set_shape(most)
        self._outputs: dict[str, Buffer] = {}
        self._allocator = make_allocator(trt, self._outputs)
        for name in outputs:
            shape = tuple(context.get_tensor_shape(name))
            depends_on_data = any(size < 0 for size in shape)
            size = context.get_max_output_size(name) if depends_on_data else bytes_of(shape, self._dtypes[name])
            self._outputs[name] = Buffer(self._cuda, name, self._dtypes[name], max(int(size), 1))
            if depends_on_data:
                context.set_output_allocator(name, self._allocator)
            else:
                context.set_tensor_address(name, self._outputs[name].address)

    def _infer(self, batch: Batch) -> Outputs:
        return by_picture(batch, self._invoke, at_once=self._at_once)

    def _invoke(self, batch: Batch) -> Outputs:
        values = np.ascontiguousarray(batch) if self._raw else to_network(batch, self._table, self._input.layout)
        with self._cuda.active():
            self._set_shape(values.shape)
            self._source.upload(values)
            self._logger.errors.clear()
            self._allocator.error = None
            if not self._held.context.execute_async_v3(self._cuda.stream):
                if self._allocator.error is not None:
                    raise self._allocator.error
                raise cuda_error("TensorRT refused the inference", "; ".join(self._logger.errors[-3:]) or "no reason given")
            shapes = self._output_shapes()
            for name, shape in shapes.items():
                self._outputs[name].download(shape)
            self._cuda.synchronize()
            return {name: self._outputs[name].read(shape) for name, shape in shapes.items()}

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return  # setting it again would plan the memory anew
        self._shape = None
        if not self._held.context.set_input_shape(self._source.name, shape):
            raise ModelError(
                f"the engine takes no input {shape}: it was built for {self._size_px[0]}x{self._size_px[1]} pixels and batches "
                f"up to {self._at_once}; choose that size in the manifest, or another runtime"
            )
        self._shape = shape

    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {name: tuple(self._held.context.get_tensor_shape(name)) for name in self._outputs}
        if all(size >= 0 for shape in shapes.values() for size in shape):
            return shapes
        self._cuda.synchronize()  # only now are the others known
        return {
            name: known(self._allocator.shapes.get(name, shape) if min(shape, default=0) < 0 else shape, name)
            for name, shape in shapes.items()
        }

    def _free(self) -> None:
        _let_go(self._cuda, self._held.drop)


def _let_go(cuda: Cuda, before: Callable[[], None] = lambda: None) -> None:
    """Free what an engine holds. A GPU that was lost refuses even that, and may not keep the service from going on."""
    try:
        with cuda.active():
            before()
            cuda.close()
    except ModelError as error:
        log.warning("event=cuda_not_freed reason=%s", error)
