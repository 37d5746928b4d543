"""OpenVINO on CPUs and Intel GPUs. Cast, layout, mean and std are compiled into the network, which then takes pixels."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from common.manifest import InputSpec
from common.runtimes.base import Batch, EngineBase, Outputs, Request, RuntimeUnavailable, stack

FORMAT = "openvino"


def probe() -> str | None:
    if importlib.util.find_spec("openvino") is not None:
        return None
    return "openvino is not installed; run `pip install posebus[openvino]`"


def load(request: Request) -> EngineBase:
    import openvino

    core = openvino.Core()
    device = "CPU" if request.device in ("auto", "cpu") else request.device.upper()
    if device not in core.available_devices:
        here = ", ".join(name.lower() for name in core.available_devices)
        raise RuntimeUnavailable(f"runtime 'openvino' has no device {request.device!r} here; choose one of: {here}")
    model = core.read_model(request.path(FORMAT), request.path(FORMAT, "weights"))
    return OpenvinoEngine(request, core, model, device)


class OpenvinoEngine(EngineBase):
    """One compiled network and one infer request."""

    def __init__(self, request: Request, core: Any, model: Any, device: str) -> None:
        super().__init__("openvino", device.lower(), request, format=FORMAT)
        import openvino

        if len(model.inputs) != 1:
            names = ", ".join(str(source.get_any_name()) for source in model.inputs)
            raise RuntimeUnavailable(f"artifact {request.artifact.name!r} has inputs {names}; one input is supported")
        _take_pixels(openvino, model, self._input)
        _free_sizes(openvino, model, self._input)
        # Not pinned: several services share the machine, and OpenVINO would pin each to the same first core.
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "ENABLE_CPU_PINNING": False}
        if device == "CPU":
            config["INFERENCE_NUM_THREADS"] = request.threads
        self._request: Any = core.compile_model(model, device, config).create_infer_request()
        self._names = [_name(output, i) for i, output in enumerate(model.outputs)]

    def _infer(self, batch: Batch) -> Outputs:
        size = len(batch) if self._input.batch else 1
        return stack([self._invoke(batch[start : start + size]) for start in range(0, len(batch), size)])

    def _invoke(self, batch: Batch) -> Outputs:
        results = self._request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        # The results live in the request's own buffers, which the next inference overwrites.
        return {name: np.array(results[i]) for i, name in enumerate(self._names)}

    def _free(self) -> None:
        self._request = None


def _take_pixels(openvino: Any, model: Any, spec: InputSpec) -> None:
    """Make the model take uint8 NHWC and do the rest itself."""
    steps = openvino.preprocess.PrePostProcessor(model)
    source = steps.input(0)
    source.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    source.model().set_layout(openvino.Layout(spec.layout))
    source.preprocess().convert_element_type(openvino.Type.f32)
    if spec.mean is not None and spec.std is not None:
        source.preprocess().mean(list(spec.mean)).scale(list(spec.std))
    steps.build()


def _free_sizes(openvino: Any, model: Any, spec: InputSpec) -> None:
    """Make batch and, where the manifest allows, height and width dynamic."""
    height = -1 if spec.height_px is None else spec.height_px
    width = -1 if spec.width_px is None else spec.width_px
    model.reshape(openvino.PartialShape([-1 if spec.batch else 1, height, width, 3]))


def _name(output: Any, index: int) -> str:
    names = output.get_names()
    return sorted(names)[0] if names else f"output_{index}"
