"""ONNX -> a TensorRT engine, on the device that will run it. TensorRT 8.5 to 10, and 11 and RTX as far as they allow.

What differs, and how it is handled (NVIDIA's migration guides):
* `EXPLICIT_BATCH` must be given up to TensorRT 9 and is the only, nameless way since 10.
* `FP16` and `INT8` are gone in TensorRT 11 and RTX: there a network runs in the types that its file has.
* int8 by a calibrator's cache (`IInt8EntropyCalibrator2`) is deprecated since 10.1 and gone in 11; Quantize/Dequantize nodes in
  the file work in all and are what `posebus models convert` should be asked for.
The module is an argument: `tensorrt`, or `tensorrt_rtx`, whose builder and parser run without a GPU.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.manifest import ArtifactError, InputSpec, ModelError
from common.runtimes.base import RuntimeUnavailable
from common.runtimes.contract import NetworkInput, check_network, sizes

log = logging.getLogger(__name__)

Mode = Literal["float32", "float16", "int8"]
BATCH_MAX = 8
WORKSPACE_BYTES = 1 << 30  # a Jetson shares its memory with everything else


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    mode: the least precise arithmetic that TensorRT may choose; strict: refuse where it cannot be had. size_px: (width,
    height), of a network that takes any size the largest to come. calibration: a cache written by an
    IInt8EntropyCalibrator2; int8 of a file without Q/DQ nodes needs it, and calibration_path is where it is looked for.
    """

    model: str
    onnx: bytes
    spec: InputSpec
    size_px: tuple[int, int]
    mode: Mode
    strict: bool = False
    calibration: bytes | None = None
    calibration_path: Path | None = None

    @property
    def profile(self) -> str:
        """The range of sizes that the engine takes, as text."""
        count = BATCH_MAX if self.spec.batch else 1
        return f"b1-{count}-{self.size_px[0]}x{self.size_px[1]}"


def make_logger(trt: Any) -> Any:
    """A logger for TensorRT that sends its lines to ours and keeps the errors in `errors`."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the module is an argument
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            message = " ".join(message.split())  # one line an event
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
                log.error("event=tensorrt %s", message)
            elif severity == trt.ILogger.Severity.WARNING:
                log.debug("event=tensorrt %s", message)

    return Logger()


def build_engine(trt: Any, logger: Any, request: BuildRequest) -> bytes:
    """The serialised engine. Takes minutes on a Jetson.

    Raises ArtifactError for a file that TensorRT cannot read or that is not what the manifest says, RuntimeUnavailable for
    a mode that this TensorRT does not have, ModelError when the build fails.
    """
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(request.onnx):
        raise ArtifactError(parse_errors(parser, request.model, trt.__version__))
    found = network_input(trt, network, request.model)
    check_network(request.model, request.spec, found)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    keep = _set_mode(trt, config, network, request)
    if None in found.shape:
        profile = builder.create_optimization_profile()
        profile.set_shape(found.name, *profile_shapes(found, request.spec, request.size_px))
        config.add_optimization_profile(profile)
    logger.errors.clear()
    plan = builder.build_serialized_network(network, config)
    del keep
    if plan is None:
        reason = "; ".join(logger.errors[-3:]) or "TensorRT gave no reason"
        raise ModelError(
            f"artifact {request.model!r}: TensorRT {trt.__version__} cannot build it: {reason}; "
            "`posebus models check --target tensorrt` names the layers; or run it with runtime: onnx"
        )
    return bytes(plan)


def network_input(trt: Any, network: Any, model: str) -> NetworkInput:
    """The one input of a parsed network."""
    sources = [network.get_input(i) for i in range(network.num_inputs)]
    if len(sources) != 1:
        names = ", ".join(source.name for source in sources)
        raise ArtifactError(f"artifact {model!r} has inputs {names or 'none'}; one input is supported")
    (source,) = sources
    return NetworkInput(source.name, sizes(tuple(source.shape)), dtype_name(trt, source.dtype))


def dtype_name(trt: Any, dtype: Any) -> str:
    """NumPy's name of a TensorRT type, or TensorRT's own where NumPy has none."""
    names = {"FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "UINT8": "uint8",
             "BOOL": "bool"}  # fmt: skip
    known = {getattr(trt.DataType, key): name for key, name in names.items() if hasattr(trt.DataType, key)}
    return known.get(dtype, str(dtype))


def profile_shapes(found: NetworkInput, spec: InputSpec, size_px: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """Smallest, usual and largest input shape, in the network's layout.

    One picture is the usual: a detector runs it at each frame, and a pose stage mostly. A network that takes any size gets
    sizes from its smallest multiple up to the longer side both ways, as cameras lie and stand.

    size_px: (width, height), of a network that takes any size the largest to come.
    """
    width, height = size_px
    low = (width, height) if spec.multiple_px is None else (spec.multiple_px, spec.multiple_px)
    high = (width, height) if spec.multiple_px is None else (max(width, height), max(width, height))
    most = BATCH_MAX if spec.batch else 1

    def shape(count: int, size: tuple[int, int]) -> tuple[int, ...]:
        wanted = (count, size[1], size[0], 3) if spec.layout == "NHWC" else (count, 3, size[1], size[0])
        return tuple(fixed or free for fixed, free in zip(found.shape, wanted, strict=True))

    return shape(1, low), shape(1, (width, height)), shape(most, high)


def parse_errors(parser: Any, model: str, version: str) -> str:
    """All errors of a parser in one message, each with its node. Names of nodes are known since TensorRT 10."""
    lines = []
    for i in range(parser.num_errors):
        error = parser.get_error(i)
        name = error.node_name() if hasattr(error, "node_name") else ""
        operator = error.node_operator() if hasattr(error, "node_operator") else ""
        node = " ".join(part for part in (f"node {error.node()}", name, f"({operator})" if operator else "") if part)
        lines.append(f"  {node}: {error.desc()}")
    reasons = "\n".join(lines) or "  it gave no reason"
    return (
        f"artifact {model!r}: the ONNX parser of TensorRT {version} refuses it:\n{reasons}\n"
        "export the network without these, or run it with runtime: onnx"
    )


def _network_flags(trt: Any) -> int:
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    if explicit is None or int(trt.__version__.split(".")[0]) >= 10:
        return 0
    return 1 << int(explicit)


def has_quantisers(trt: Any, network: Any) -> bool:
    """Does the file say itself, by Quantize/Dequantize nodes, what is int8?"""
    return any(network.get_layer(i).type == trt.LayerType.QUANTIZE for i in range(network.num_layers))


def _has_halves(trt: Any, network: Any) -> bool:
    """Does anything compute in float16? Weights that are only stored so, and cast when they are read, do not."""
    layers = (network.get_layer(i) for i in range(network.num_layers))
    computing = (layer for layer in layers if layer.type != trt.LayerType.CONSTANT)
    return any(layer.get_output(k).dtype == trt.DataType.HALF for layer in computing for k in range(layer.num_outputs))


def _set_mode(trt: Any, config: Any, network: Any, request: BuildRequest) -> Any:
    """Allow the mode's arithmetic. Returns what must live until the engine is built."""
    flags = trt.BuilderFlag
    quantised = has_quantisers(trt, network)
    if request.mode == "float32" and not quantised:
        return None
    if not hasattr(flags, "FP16"):  # strongly typed: TensorRT 11, RTX
        if request.mode == "int8" and not quantised:
            raise RuntimeUnavailable(
                f"artifact {request.model!r}: TensorRT {trt.__version__} takes int8 only from a file with Quantize and "
                "Dequantize nodes; convert the network to int8 ONNX, or set precision: auto"
            )
        if request.mode == "float16" and request.strict and not _has_halves(trt, network):
            raise RuntimeUnavailable(
                f"artifact {request.model!r}: TensorRT {trt.__version__} takes float16 only from a file that is float16; "
                "convert the network to float16 ONNX, or set precision: auto"
            )
        return None
    if request.mode != "float32":
        config.set_flag(flags.FP16)
    if not quantised and request.mode != "int8":
        return None
    config.set_flag(flags.INT8)
    if quantised:
        return None
    if request.calibration is None:
        raise RuntimeUnavailable(
            f"artifact {request.model!r}: int8 needs a file with Quantize and Dequantize nodes, or a calibration cache at "
            f"{request.calibration_path}; convert the network to int8 ONNX, or set precision: float16"
        )
    calibrator = _calibrator(trt, request.calibration)
    config.int8_calibrator = calibrator
    return calibrator


def _calibrator(trt: Any, cache: bytes) -> Any:
    """A calibrator that only reads a cache: it has no pictures."""

    class Calibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]  # the module is an argument
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            """None: there are no pictures; TensorRT then fails, naming the tensor that the cache lacks."""

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, content: bytes) -> None:
            """The cache stays as it is."""

    return Calibrator()
