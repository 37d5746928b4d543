"""Float networks with their weights as 16-bit floats: half the file, the same speed, 11 bits of each weight.

They are made float32 once, when the network is loaded; all arithmetic is float32. So nothing overflows, and CPUs without
float16 arithmetic lose no time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.convert.quiet import quiet
from models.convert.source import ConversionError

SMALL = 64  # numbers: scales, sizes and biases of the last layers save nothing, and keep every bit
_SUFFIX = ".half"


def onnx_halves(content: bytes) -> bytes:
    """An ONNX network with each weight stored as float16 and cast where it is read. Raises ConversionError, naming the weight,
    for one beyond the range of float16."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if values.size < SMALL:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(_halved(values, name), name + _SUFFIX))
        casts.append(onnx.helper.make_node("Cast", [name + _SUFFIX], [name], name=name + _SUFFIX, to=onnx.TensorProto.FLOAT))
    for place, cast in enumerate(casts):
        model.graph.node.insert(place, cast)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _halved(values: Any, name: str) -> Any:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ConversionError(
            f"weight {name!r} reaches {np.abs(values).max():.3g}, float16 ends at 65504; leave the float16 formats out of "
            "--formats"
        )
    return half


def tflite_halves(graph: bytes, name: str) -> bytes:
    """A float32 TFLite network with its weights as float16, each behind a DEQUANTIZE that runs once, at start."""
    with quiet(f"{name}: making weights float16"):
        from ai_edge_quantizer import qtyping, quantizer, recipe, recipe_manager

        weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        steps = recipe_manager.RecipeManager()
        steps.add_quantization_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
            ),
            algorithm_key=recipe.AlgorithmName.FLOAT_CASTING,
        )
        done = quantizer.Quantizer(graph, steps.get_quantization_recipe())
        return bytes(done.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)
