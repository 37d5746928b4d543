"""TFLite's tensors: pixels in, real numbers out, whatever the file's integers. Shared by the CPU and the Edge TPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.manifest import InputSpec, ModelError
from common.runtimes.base import Batch, Outputs, pixel_table, to_network
from common.runtimes.contract import NetworkInput, check_range, sizes

Details = dict[str, Any]


def network_input(interpreter: Any, model: str) -> NetworkInput:
    """The one input of an interpreter, its sizes dynamic where the file says so. Raises ModelError for more than one."""
    sources = interpreter.get_input_details()
    if len(sources) != 1:
        names = ", ".join(source["name"] for source in sources)
        raise ModelError(f"artifact {model!r} has inputs {names}; one input is supported")
    (source,) = sources
    shape = source.get("shape_signature", source["shape"])
    shape = source["shape"] if len(shape) != len(source["shape"]) else shape
    quantised = bool(source["quantization"][0])
    return NetworkInput(source["name"], sizes([int(size) for size in shape]), np.dtype(source["dtype"]).name, quantised)


class Pixels:
    """Turns pixels into what the input takes: as they are, or by one table that normalises and quantises.

    Raises ArtifactError where a quantised input cannot stand for what the manifest makes of pixels.
    """

    def __init__(self, spec: InputSpec, source: Details, model: str) -> None:
        self._layout = spec.layout
        self._raw = source["dtype"] == np.uint8 and spec.mean is None  # whatever their scale says: they are pixels
        values = pixel_table(spec)
        scale, zero = source["quantization"]
        if self._raw:
            self._table: NDArray[Any] = values.astype(np.uint8)
            return
        if scale and np.issubdtype(source["dtype"], np.integer):
            limits = np.iinfo(source["dtype"])
            check_range(model, values, (limits.min - zero) * scale, (limits.max - zero) * scale)
        self._table = quantise(values, source)

    def __call__(self, batch: Batch) -> NDArray[Any]:
        return batch if self._raw and self._layout == "NHWC" else to_network(batch, self._table, self._layout)


def read_outputs(interpreter: Any) -> Outputs:
    """The outputs by name, in the file's order; integers as the real numbers that they stand for, copied."""
    outputs: Outputs = {}
    for output in interpreter.get_output_details():
        name = output["name"] if output["name"] not in outputs else f"{output['name']}:{len(outputs)}"
        outputs[name] = dequantise(interpreter.get_tensor(output["index"]), output)
    return outputs


def quantise(values: NDArray[np.float32], tensor: Details) -> NDArray[Any]:
    """Real numbers -> the tensor's integers (nearest, limited to what they can say), or its floats."""
    if not np.issubdtype(tensor["dtype"], np.integer):
        return values.astype(tensor["dtype"])
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    quantised: NDArray[Any] = np.clip(np.rint(values / (scale or 1.0) + zero), limits.min, limits.max)
    return quantised.astype(tensor["dtype"])


def dequantise(values: NDArray[Any], tensor: Details) -> NDArray[Any]:
    """The tensor's integers -> float32 by its scale and zero point; floats and plain integers as they are."""
    scale, zero = tensor["quantization"]
    if scale and np.issubdtype(values.dtype, np.integer):
        return (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return values
