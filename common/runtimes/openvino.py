"""OpenVINO on CPUs, Intel GPUs and NPUs. Cast, layout, mean and std are compiled into the network, which then takes pixels.

It reads its own format (.xml and .bin) and, where the artifact has none, ONNX.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from common.manifest import InputSpec, ModelError
from common.runtimes.base import Batch, EngineBase, Outputs, Request, RuntimeUnavailable, by_picture
from common.runtimes.contract import NetworkInput, check_network

FORMATS = ("openvino", "onnx")
_DTYPES = {"u8": "uint8", "i8": "int8", "f16": "float16", "f32": "float32"}


def probe() -> str | None:
    if importlib.util.find_spec("openvino") is not None:
        return None
    return "openvino is not installed; run `pip install posebus[openvino]`"


def devices() -> list[str]:
    import openvino

    core = openvino.Core()
    names = {name: name.lower().replace(".", ":") for name in core.available_devices}
    return [f"{ours} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name, ours in names.items()]


def load(request: Request) -> EngineBase:
    import openvino

    core = openvino.Core()
    device = _device(request.device, core.available_devices)
    format = request.format(FORMATS)
    if format == "openvino":
        model = core.read_model(request.path(format), request.path(format, "weights"))
    else:
        model = core.read_model(request.path(format))
    return OpenvinoEngine(request, core, model, device, format)


def _device(asked: str, here: list[str]) -> str:
    """OpenVINO's name of the device: `gpu` and `gpu:0` are GPU where there is one, GPU.0 where there are several."""
    if asked in ("auto", "cpu"):
        return "CPU"
    name = asked.upper().replace(":", ".")
    if name.endswith(".0") and name not in here:
        name = name.removesuffix(".0")
    elif name not in here and f"{name}.0" in here:
        name = f"{name}.0"
    if name not in here:
        raise RuntimeUnavailable(
            f"runtime 'openvino' has no device {asked!r} here; choose one of: {', '.join(name.lower() for name in here)}; "
            "an Intel GPU or NPU needs its driver (intel-opencl-icd, intel-driver-compiler-npu) and /dev/dri or /dev/accel"
        )
    return name


class OpenvinoEngine(EngineBase):
    """One compiled network and one infer request."""

    def __init__(self, request: Request, core: Any, model: Any, device: str, format: str) -> None:
        super().__init__("openvino", device.lower(), request, format=format)
        import openvino

        if len(model.inputs) != 1:
            names = ", ".join(str(source.get_any_name()) for source in model.inputs)
            raise ModelError(f"artifact {self._model!r} has inputs {names}; one input is supported")
        found = _input(model.inputs[0])
        check_network(self._model, self._input, found, resizable=True)
        _take_pixels(openvino, model, self._input, found.dtype)
        self._at_once = None if self._input.batch and device != "NPU" else 1
        # An NPU compiles for one shape only.
        _free_sizes(model, self._input, request.size_px if device == "NPU" else None, batch=self._at_once is None)
        # Not pinned: several services share the machine, and OpenVINO would pin each to the same first core.
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "ENABLE_CPU_PINNING": False}
        if device == "CPU":
            config["INFERENCE_NUM_THREADS"] = request.threads
        else:
            config = {"PERFORMANCE_HINT": "LATENCY"}
        if request.precision == "float32":
            # Else CPUs with bf16 and GPUs with fp16 use that: 1.3 to 1.5 times as fast on the kit's networks, boxes 0.5 px off.
            config["INFERENCE_PRECISION_HINT"] = "f32"
        self._request: Any = core.compile_model(model, device, config).create_infer_request()
        self._names = [_name(output, i) for i, output in enumerate(model.outputs)]

    def _infer(self, batch: Batch) -> Outputs:
        return by_picture(batch, self._invoke, at_once=self._at_once)

    def _invoke(self, batch: Batch) -> Outputs:
        results = self._request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        # The results live in the request's own buffers, which the next inference overwrites.
        return {name: np.array(results[i]) for i, name in enumerate(self._names)}

    def _free(self) -> None:
        self._request = None


def _input(source: Any) -> NetworkInput:
    name = _name(source, 0)
    kind = source.get_element_type().get_type_name()
    if source.get_partial_shape().rank.is_dynamic:
        raise ModelError(f"the input {name!r} has an unknown number of axes; export it with four")
    shape = tuple(None if axis.is_dynamic else int(axis.get_length()) for axis in source.get_partial_shape())
    return NetworkInput(name, shape, _DTYPES.get(kind, kind))


def _take_pixels(openvino: Any, model: Any, spec: InputSpec, dtype: str) -> None:
    """Make the model take uint8 NHWC and do the rest itself."""
    steps = openvino.preprocess.PrePostProcessor(model)
    source = steps.input(0)
    source.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    source.model().set_layout(openvino.Layout(spec.layout))
    if dtype != "uint8":
        source.preprocess().convert_element_type(openvino.Type.f32)
    if spec.mean is not None and spec.std is not None:
        source.preprocess().mean(list(spec.mean)).scale(list(spec.std))
    steps.build()


def _free_sizes(model: Any, spec: InputSpec, size_px: tuple[int, int] | None, *, batch: bool) -> None:
    """Make batch and, where the manifest allows, height and width dynamic; size_px: fix them to that."""
    width, height = size_px or (spec.width_px or -1, spec.height_px or -1)
    model.reshape([-1 if batch else 1, height, width, 3])


def _name(port: Any, index: int) -> str:
    names = port.get_names()
    return sorted(names)[0] if names else f"output_{index}"
