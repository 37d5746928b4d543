"""Tiny networks, artifact folders, and the real models, for tests."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from common.artifact import Artifact, ArtifactError, find_artifact, pull, read_artifact

MEAN, STD = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)


@lru_cache
def pulled(name: str) -> Artifact:
    """A built-in artifact with its files; skips, visibly, where they cannot be had."""
    artifact = find_artifact(name)
    try:
        pull(artifact)
    except ArtifactError as error:
        pytest.skip(f"model {name} cannot be had: {error}")
    return artifact


def expected(batch: np.ndarray) -> np.ndarray:
    """What the tiny networks answer to pixels, NHWC: normalise, then add 1."""
    return ((batch.astype(np.float32) - MEAN) / STD + 1).astype(np.float32)


def manifest_text(name: str, files: str, *, layout: str, size: str, batch: bool = True, normalise: bool = True) -> str:
    folded = f"mean = {list(MEAN)}\nstd = {list(STD)}" if normalise else ""
    return f"""
name = "{name}"
version = "1"
tasks = ["detect"]
licence = "Apache-2.0"
training_data = "none"
provenance = "a test"
[input]
{size}
layout = "{layout}"
dtype = "float32"
batch = {str(batch).lower()}
{folded}
[detect]
decoder = "movenet_multipose"
{files}
"""


def file_text(
    path: Path, format: str, role: str = "model", source: str = 'kind = "file"', sha256: str = "", precision: str = "float32"
) -> str:
    content = path.read_bytes()
    return f"""
[[file]]
format = "{format}"
role = "{role}"
precision = "{precision}"
path = "{path.name}"
bytes = {max(len(content), 1)}
sha256 = "{sha256 or hashlib.sha256(content).hexdigest()}"
[[file.source]]
{source}
"""


SIZE = "width_px = 6\nheight_px = 4"


def tiny_artifact(folder: Path, runtime: str, *, batch: bool = True, size: str = SIZE) -> Artifact:
    """An artifact of one tiny network, 6 x 4 pixels, that adds 1 to normalised pixels.

    runtime: tflite, tflite-dynamic (any batch), onnx, onnx-uint8 (all in the graph), openvino, fake; tflite-int8 and edgetpu do
    not add 1 and say what int8 can say (`expected_int8`). size: what the manifest says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    layout = "NCHW" if runtime in ("onnx", "openvino") else "NHWC"
    name = f"tiny-{runtime}"
    if runtime.startswith("tflite"):
        write_tiny_tflite(folder / "tiny.tflite", quantised=runtime == "tflite-int8", dynamic=runtime == "tflite-dynamic")
        files = file_text(folder / "tiny.tflite", "tflite", precision="int8" if runtime == "tflite-int8" else "float32")
    elif runtime == "edgetpu":
        write_tiny_tflite(folder / "tiny.tflite", quantised=True, description="instead of edgetpu-custom-op")
        files = file_text(folder / "tiny.tflite", "edgetpu", precision="int8")
    elif runtime.startswith("onnx"):
        write_tiny_onnx(folder / "tiny.onnx", raw=runtime == "onnx-uint8")
        files = file_text(folder / "tiny.onnx", "onnx")
    elif runtime == "openvino":
        write_tiny_openvino(folder)
        files = file_text(folder / "tiny.xml", "openvino") + file_text(folder / "tiny.bin", "openvino", "weights")
    else:
        files = ""
    batch = batch and runtime not in ("tflite", "tflite-int8", "edgetpu")
    text = manifest_text(name, files, layout=layout, size=size, batch=batch, normalise=runtime != "onnx-uint8")
    (folder / "manifest.toml").write_text(text)
    return read_artifact(folder)


def expected_int8(batch: np.ndarray) -> np.ndarray:
    """What the tiny int8 networks answer: normalised pixels, as far as scale 0.5 and zero point -118 can say them."""
    real = (batch.astype(np.float32) - MEAN) / STD
    return np.clip(real, (-128 + 118) * 0.5, (127 + 118) * 0.5).astype(np.float32)


def write_tiny_onnx(path: Path, *, raw: bool = False, batch: int | str = "batch") -> None:
    """Adds 1 to float32 (batch, 3, 4, 6). raw: takes uint8 (batch, 4, 6, 3) and normalises first."""
    from onnx import TensorProto, checker, helper, save

    def constant(name: str, values: tuple[float, ...]) -> TensorProto:
        return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)

    shape = [batch, 4, 6, 3] if raw else [batch, 3, 4, 6]
    nodes = [helper.make_node("Add", ["image", "one"], ["answer"])]
    if raw:
        nodes = [
            helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["real", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "std"], ["normal"]),
            helper.make_node("Add", ["normal", "one"], ["answer"]),
        ]
    constants = [constant("one", (1.0,)), *([constant("mean", MEAN), constant("std", STD)] if raw else [])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8 if raw else TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, path)


def write_tiny_openvino(folder: Path) -> None:
    import openvino

    write_tiny_onnx(folder / "source.onnx")
    openvino.save_model(openvino.Core().read_model(folder / "source.onnx"), folder / "tiny.xml", compress_to_fp16=False)
    (folder / "source.onnx").unlink()


def write_tiny_tflite(
    path: Path, *, quantised: bool = False, dynamic: bool = False, description: str = "", second: str = "",
    scale: float = 0.5, zero: int = -118,
) -> None:  # fmt: skip
    """Adds 1 to float32 (1, 4, 6, 3); dynamic: any batch; quantised: int8 of that scale and zero point, unchanged.

    second: name of a float output that lies before `answer` in the file and adds 1 to it.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, shape: list[int], buffer: int) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, shape, buffer
        made.type = schema.TensorType.INT8 if quantised else schema.TensorType.FLOAT32
        if dynamic and len(shape) == 4:
            made.shapeSignature = [-1, *shape[1:]]
        if quantised:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        return made

    constant = schema.BufferT()
    constant.data = np.frombuffer(np.float32(1).tobytes(), np.uint8)
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = ([0], [1]) if quantised else ([0, 2], [1])
    code = schema.OperatorCodeT()
    kind = schema.BuiltinOperator.RESHAPE if quantised else schema.BuiltinOperator.ADD
    code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, kind, 1
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions if quantised else schema.BuiltinOptions.AddOptions
    operator.builtinOptions = schema.ReshapeOptionsT() if quantised else schema.AddOptionsT()
    if quantised:
        operator.builtinOptions.newShape = [1, 4, 6, 3]
    graph = schema.SubGraphT()
    graph.tensors = [tensor("image", [1, 4, 6, 3], 0), tensor("answer", [1, 4, 6, 3], 0), tensor("one", [1], 1)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    if second:
        more = schema.OperatorT()
        more.opcodeIndex, more.inputs, more.outputs = 0, [1, 2], [3]
        more.builtinOptionsType, more.builtinOptions = operator.builtinOptionsType, schema.AddOptionsT()
        graph.tensors.append(tensor(second, [1, 4, 6, 3], 0))
        graph.outputs, graph.operators = [3, 1], [operator, more]
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT(), constant]
    model.description = description
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))


@lru_cache
def walking_person() -> np.ndarray:
    """A real picture, BGR, of one person who walks; skips, visibly, where it cannot be had."""
    import cv2

    from common.model_store import fetch
    from posebus.clips import WALK_CLIP

    try:
        path = fetch(WALK_CLIP, owner="clip of a walking person")
    except ArtifactError as error:
        pytest.skip(str(error))
    clip = cv2.VideoCapture(str(path))
    clip.set(cv2.CAP_PROP_POS_FRAMES, 60)
    good, image = clip.read()
    clip.release()
    assert good
    return image
