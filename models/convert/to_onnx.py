"""PyTorch -> ONNX: uint8 pixels in, normalisation inside, any batch size, checked by onnx and run once by ONNX Runtime."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from models.convert.quiet import quiet
from models.convert.source import ConversionError, Source

# TensorRT 8.6 (JetPack 5) parses up to opset 17 (onnx-tensorrt 8.6, docs/operators.md), TensorRT 10 and ONNX Runtime more.
OPSET = 17
INPUT = "image"
_PROTOBUF_LIMIT = 2**31 - 1


def to_onnx(source: Source, target: Path, *, module: Any | None = None, decode: bool = False) -> None:
    """Write the network as ONNX, opset 17.

    module: to be exported instead of the source's own, with the same inputs and outputs. decode: put the search for the
    heatmaps' maxima into the graph; the only output is then `keypoints` (B, 17, 3), see `graph.keypoints_of`.
    The input is `image`, (batch, height, width, 3) uint8 in the source's colour order; outputs are named as the source says.
    Raises ConversionError; nothing is written then.
    """
    with quiet(f"{source.name}: export to ONNX"):
        import onnx

        from models.convert.graph import Pixels, example, one_thread

        network = Pixels(source, module, decode=decode).eval()
        with one_thread():
            model = onnx.load_from_string(_export(network, example(source, 2), output_names(source, decode)))
        content = _finished(onnx, model)
    _run_once(source, content, output_names(source, decode))
    target.write_bytes(content)


# Decoders whose cells lie where `graph.keypoints_of` takes them to be.
DECODABLE = ("heatmaps", "heatmaps_quarter", "heatmaps_plain")


def output_names(source: Source, decode: bool) -> list[str]:
    """Names of the outputs of the exported network."""
    if decode and (source.task != "pose" or len(source.outputs) != 1 or source.decoder not in DECODABLE):
        raise ConversionError(
            f"{source.name}: decoding in the graph is for pose networks with one output of heatmaps and one of the decoders "
            f"{', '.join(DECODABLE)}; this one is for {source.task}, gives {', '.join(source.outputs)} and is read by "
            f"{source.decoder!r}; leave --decode out"
        )
    return ["keypoints"] if decode else list(source.outputs)


def _export(network: Any, image: Any, outputs: list[str]) -> bytes:
    """By PyTorch's tracing exporter, which writes opset 17 itself. The newer one writes 18, and ONNX's converter does not bring
    that down to a valid 17 (it leaves ReduceMean an attribute that 17 lacks; onnx 1.23)."""
    import torch

    content = io.BytesIO()
    axes = {name: {0: "batch"} for name in (INPUT, *outputs)}
    with torch.no_grad():
        torch.onnx.export(
            network, (image,), content, dynamo=False, opset_version=OPSET, input_names=[INPUT], output_names=outputs,
            dynamic_axes=axes,
        )  # fmt: skip
    return content.getvalue()


def _finished(onnx: Any, model: Any) -> bytes:
    """The model without the exporter's notes (they hold paths of this machine), its shapes inferred, checked."""
    model.producer_name, model.producer_version, model.doc_string = "posebus", "", ""
    graph = model.graph
    graph.doc_string = ""
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        part.doc_string = ""
    if model.ByteSize() > _PROTOBUF_LIMIT:
        raise ConversionError(f"the network has {model.ByteSize() / 2**30:.1f} GiB; an ONNX file holds 2 GiB at most")
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _run_once(source: Source, content: bytes, outputs: list[str]) -> None:
    """ONNX Runtime must load it and take a batch of one and of three; what it computes is the gate's business."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            image = np.zeros((batch, source.height_px, source.width_px, 3), np.uint8)
            for name, value in zip(outputs, session.run(outputs, {INPUT: image}), strict=True):
                if len(value) != batch:
                    raise ConversionError(
                        f"{source.name}: output {name!r} of {batch} pictures has shape {value.shape}; "
                        "its first axis must be the batch: change the network so that it is"
                    )
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(f"{source.name}: ONNX Runtime refuses the exported network: {error}") from error
