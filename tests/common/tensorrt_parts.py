"""TensorRT played on the host: networks really run (ONNX Runtime), memory is really copied, misuse really fails.

`FakeTrt` has TensorRT's names and rules as far as our code uses them: version 8 wants explicit batches, 11 has no precision
flags, addresses must be set, shapes must lie in the profile, outputs whose size depends on the data need an allocator.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from common.artifact import Artifact
from common.runtimes.base import Request
from common.runtimes.cuda_host import HostCuda
from common.runtimes.tensorrt import TensorrtEngine, open_engine

_TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 10: "HALF"}
_NUMPY = {"FLOAT": "float32", "UINT8": "uint8", "INT8": "int8", "INT32": "int32", "INT64": "int64", "HALF": "float16"}


class Logger:
    """Base class of loggers, as trt.ILogger."""

    Severity = SimpleNamespace(**{name: name for name in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")})


class Allocator:
    """Base class, as trt.IOutputAllocator."""


class Calibrator:
    """Base class, as trt.IInt8EntropyCalibrator2."""


class FakeTrt:
    """The module. gpu: whose memory the addresses belong to. no_memory: contexts cannot be created."""

    ILogger = Logger
    IOutputAllocator = Allocator
    IInt8EntropyCalibrator2 = Calibrator
    DataType = SimpleNamespace(**{name: name for name in _NUMPY})
    TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
    LayerType = SimpleNamespace(QUANTIZE="QUANTIZE", CONSTANT="Constant")

    def __init__(self, gpu: HostCuda, version: str = "10.3.0", *, no_memory: bool = False) -> None:
        self.gpu = gpu
        self.__version__ = version
        self.no_memory = no_memory
        self.fails_to_build = ""
        self.built: list[Config] = []
        self.contexts: list[Context] = []
        major = int(version.split(".")[0])
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1, **({"EXPLICIT_BATCH": 0} if major < 11 else {}))
        self.BuilderFlag = SimpleNamespace(FP16="FP16", INT8="INT8") if major < 11 else SimpleNamespace(TF32="TF32")

    def Builder(self, logger: Any) -> Builder:  # noqa: N802
        return Builder(self, logger)

    def OnnxParser(self, network: Network, logger: Any) -> Parser:  # noqa: N802
        return Parser(network)

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802
        return Runtime(self, logger)


class NoMemory(Exception):
    """An allocator answered with no address."""


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.model: Any = None
        self.content = b""

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    def get_input(self, index: int) -> Any:
        return _tensor(self.model.graph.input[index])

    @property
    def num_layers(self) -> int:
        return len(self.model.graph.node)

    def get_layer(self, index: int) -> Any:
        node = self.model.graph.node[index]
        halves = node.op_type != "Cast" and any(tensor.data_type == 10 for tensor in self.model.graph.initializer)
        output = SimpleNamespace(dtype="HALF" if halves else "FLOAT")
        kind = "QUANTIZE" if node.op_type == "QuantizeLinear" else node.op_type
        return SimpleNamespace(type=kind, num_outputs=1, get_output=lambda k: output)


def _tensor(value: Any) -> Any:
    kind = value.type.tensor_type
    shape = tuple(axis.dim_value or -1 for axis in kind.shape.dim)
    return SimpleNamespace(name=value.name, shape=shape, dtype=_TYPES[kind.elem_type])


class Parser:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._errors: list[Any] = []

    def parse(self, content: bytes) -> bool:
        try:
            model = onnx.load_model_from_string(content)
        except Exception:
            self._errors.append(_parser_error(-1, "", "", "Failed to parse the ONNX model."))
            return False
        self._network.model, self._network.content = model, content
        for i, node in enumerate(model.graph.node):
            if node.domain == "custom":
                self._errors.append(_parser_error(i, node.name, node.op_type, "Plugin not found"))
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]


def _parser_error(node: int, name: str, operator: str, text: str) -> Any:
    return SimpleNamespace(node=lambda: node, node_name=lambda: name, node_operator=lambda: operator, desc=lambda: text)


class Config:
    def __init__(self) -> None:
        self.flags: list[str] = []
        self.profiles: list[dict[str, list[list[int]]]] = []
        self.pools: dict[str, int] = {}
        self.network_flags = 0
        self.int8_calibrator: Any = None

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def add_optimization_profile(self, profile: Profile) -> None:
        self.profiles.append(profile.shapes)


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, low: Any, usual: Any, high: Any) -> None:
        self.shapes[name] = [list(low), list(usual), list(high)]


class Builder:
    def __init__(self, trt: FakeTrt, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def create_network(self, flags: int) -> Network:
        if int(self._trt.__version__.split(".")[0]) < 10:
            assert flags & 1, "implicit batches: the ONNX parser of TensorRT 8 refuses them"
        return Network(flags)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        source = network.get_input(0)
        if self._trt.fails_to_build:
            self._logger.log("ERROR", self._trt.fails_to_build)
            return None
        assert -1 not in source.shape or config.profiles, "a dynamic network needs a profile"
        config.network_flags = network.flags
        self._trt.built.append(config)
        head = json.dumps(config.profiles[0] if config.profiles else {source.name: [list(source.shape)] * 3})
        return head.encode() + b"\n" + network.content


class Runtime:
    def __init__(self, trt: FakeTrt, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        try:
            head, network = content.split(b"\n", 1)
            return Engine(self._trt, json.loads(head), onnx.load_model_from_string(network), network)
        except Exception as error:
            self._logger.log("ERROR", f"deserialization failed: {error}")
            return None


class Engine:
    def __init__(self, trt: FakeTrt, profile: dict[str, list[list[int]]], model: Any, content: bytes) -> None:
        self.trt, self.profile = trt, profile
        self.inputs = [_tensor(value) for value in model.graph.input]
        self.outputs = [_tensor(value) for value in model.graph.output]
        self.symbols = {axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim if axis.dim_param}
        self.free = {
            value.name: [axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in model.graph.output
        }
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.num_io_tensors = len(self.inputs) + len(self.outputs)

    def _tensor(self, name: str) -> Any:
        return next(tensor for tensor in (*self.inputs, *self.outputs) if tensor.name == name)

    def get_tensor_name(self, index: int) -> str:
        return str((*self.inputs, *self.outputs)[index].name)

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if any(tensor.name == name for tensor in self.inputs) else "OUTPUT"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name).shape)

    def get_tensor_dtype(self, name: str) -> str:
        return str(self._tensor(name).dtype)

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        assert index == 0
        return [tuple(shape) for shape in self.profile[name]]

    def create_execution_context(self) -> Context | None:
        if self.trt.no_memory:
            return None
        self.trt.contexts.append(Context(self))
        return self.trt.contexts[-1]


class Context:
    """`shape_calls` and `runs` say how often the engine was asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._shape: tuple[int, ...] = ()
        self._answers: dict[tuple[int, ...], dict[str, tuple[int, ...]]] = {}
        self.shape_calls: list[tuple[int, ...]] = []
        self.runs = 0

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert isinstance(address, int)
        self._addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        assert isinstance(allocator, Allocator)
        self._allocators[name] = allocator
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape_calls.append(tuple(shape))
        low, _, high = self._engine.profile[name]
        if not all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
            return False
        self._shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """As TensorRT 10 does: -1 where the size depends on the data, also after the inference."""
        if self._engine.get_tensor_mode(name) == "INPUT":
            return self._shape
        if self._shape not in self._answers:
            zeros = np.zeros(self._shape, _NUMPY[self._engine.inputs[0].dtype])
            values = self._engine.session.run(None, {self._engine.inputs[0].name: zeros})
            self._answers[self._shape] = {
                output.name: value.shape for output, value in zip(self._engine.outputs, values, strict=True)
            }
        symbols = self._engine.free[name]
        return tuple(
            -1 if symbol and symbol not in self._engine.symbols else size
            for symbol, size in zip(symbols, self._answers[self._shape][name], strict=True)
        )

    def get_max_output_size(self, name: str) -> int:
        return 16  # less than is needed, so that the allocator is asked for more

    def execute_async_v3(self, stream: int) -> bool:
        engine, gpu = self._engine, self._engine.trt.gpu
        assert stream == gpu.stream
        source = engine.inputs[0]
        count = int(np.prod(self._shape)) * np.dtype(_NUMPY[source.dtype]).itemsize
        pixels = gpu.view(self._addresses[source.name], count)
        shape = self._shape

        def kernel() -> None:
            self.runs += 1
            values = engine.session.run(None, {source.name: pixels.view(_NUMPY[source.dtype]).reshape(shape)})
            for output, value in zip(engine.outputs, values, strict=True):
                target = gpu.view(self._target(output.name, value), value.nbytes)
                target[:] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)

        try:
            gpu.enqueue(kernel)
            if self._allocators:
                gpu.synchronize()  # sizes are known only after the kernels that find them
        except NoMemory:
            return False
        return True

    def _target(self, name: str, value: np.ndarray) -> int:
        if name not in self._allocators:
            return self._addresses[name]
        allocator = self._allocators[name]
        address = allocator.reallocate_output_async(name, 0, value.nbytes, 256, 1)
        if not address:
            raise NoMemory
        allocator.notify_shape(name, value.shape)
        return int(address)


def opened(artifact: Artifact, trt: FakeTrt, cache: Path, *, size: tuple[int, int] = (6, 4), **more: str) -> TensorrtEngine:
    """The artifact's engine for the task detect; more: of the Request."""
    request = Request(artifact, "detect", more.pop("device", "auto"), 1, size, cache, **more)
    engine = open_engine(request, trt, lambda index: trt.gpu)
    assert isinstance(engine, TensorrtEngine)
    return engine
