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


def file_text(path: Path, format: str, role: str = "model", source: str = 'kind = "file"', sha256: str = "") -> str:
    content = path.read_bytes()
    return f"""
[[file]]
format = "{format}"
role = "{role}"
path = "{path.name}"
bytes = {max(len(content), 1)}
sha256 = "{sha256 or hashlib.sha256(content).hexdigest()}"
[[file.source]]
{source}
"""


def tiny_artifact(folder: Path, runtime: str, *, batch: bool = True) -> Artifact:
    """An artifact of one tiny network, 6 x 4 pixels, that adds 1 to normalised pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = "NHWC" if runtime in ("tflite", "fake") else "NCHW"
    files = ""
    if runtime == "tflite":
        write_tiny_tflite(folder / "tiny.tflite")
        files = file_text(folder / "tiny.tflite", "tflite")
    elif runtime == "onnx":
        write_tiny_onnx(folder / "tiny.onnx")
        files = file_text(folder / "tiny.onnx", "onnx")
    elif runtime == "openvino":
        write_tiny_openvino(folder)
        files = file_text(folder / "tiny.xml", "openvino") + file_text(folder / "tiny.bin", "openvino", "weights")
    size = "width_px = 6\nheight_px = 4"
    (folder / "manifest.toml").write_text(
        manifest_text(f"tiny-{runtime}", files, layout=layout, size=size, batch=batch and runtime != "tflite")
    )
    return read_artifact(folder)


def write_tiny_onnx(path: Path) -> None:
    from onnx import TensorProto, checker, helper, save

    shape = ["batch", 3, 4, 6]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(
        [helper.make_node("Add", ["image", "one"], ["answer"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
        [one],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, path)


def write_tiny_openvino(folder: Path) -> None:
    import openvino

    write_tiny_onnx(folder / "source.onnx")
    openvino.save_model(openvino.Core().read_model(folder / "source.onnx"), folder / "tiny.xml", compress_to_fp16=False)
    (folder / "source.onnx").unlink()


def write_tiny_tflite(path: Path, *, quantised: bool = False) -> None:
    """Adds 1 to float32 (1, 4, 6, 3); quantised: int8 in (scale 0.25, zero point -60) and out, unchanged."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, shape: list[int], buffer: int) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, shape, buffer
        made.type = schema.TensorType.INT8 if quantised else schema.TensorType.FLOAT32
        if quantised:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [0.25], [-60]
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
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT(), constant]
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
