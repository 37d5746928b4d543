"""What OpenPifPaf's exporter leaves: read, held against `cocokp`, and given pixels as input instead of normalised floats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.manifest import ModelError
from models.convert.source import ConversionError
from services.pose.cifcaf_fields import KEYPOINT_FIELDS, SKELETON, stride_of

Dims = tuple[int | None, ...]  # None: not told in the file
# Numbers of keypoints that other networks of OpenPifPaf have, for a hint.
OTHERS = {133: "wholebody", 14: "crowdpose", 20: "animalpose", 66: "apollocar3d", 24: "apollocar3d-24"}
FIX = "export a checkpoint for cocokp with `python -m openpifpaf.export_onnx` of OpenPifPaf 0.11 to 0.13"


@dataclass(frozen=True)
class Exported:
    """An exported network that fits: the ONNX model, the name and size of its input, pixels between cells of its fields."""

    path: Path
    model: Any  # onnx.ModelProto; onnx has no types here
    source: str
    width_px: int
    height_px: int
    stride: int


def read_export(path: Path) -> Exported:
    """Read an .onnx and check that it is an OpenPifPaf network for COCO's keypoints.

    Raises ConversionError that lists every difference and says the fix.
    """
    model = _load(path)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}  # older exporters list them among the inputs
    inputs = {value.name: _dims(value) for value in graph.input if value.name not in constants}
    size, problems = _input_problems(inputs, {value.name: _dtype(value) for value in graph.input})
    stride = 0
    if size is not None:
        picture = np.zeros((1, 3, size[1], size[0]), np.float32)
        # Run, not read: exporters leave the sizes of outputs open.
        shapes = {name: values.shape for name, values in run_export(path, next(iter(inputs)), picture).items()}
        stride, problems = _output_problems(shapes, size)
    if problems or size is None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ConversionError(f"{path} is no OpenPifPaf network that posebus can run:\n{lines}\n{FIX}")
    return Exported(path, model, next(iter(inputs)), size[0], size[1], stride)


def _load(path: Path) -> Any:
    import onnx

    if not path.is_file():
        raise ConversionError(f"{path} does not exist; give the .onnx that openpifpaf.export_onnx wrote")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, checker and inference each raise their own
        raise ConversionError(f"{path} is no valid ONNX file: {str(error).strip().splitlines()[0]}; {FIX}") from error
    return model


def run_export(path: Path, source: str, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What the exported network answers to normalised pixels (1, 3, height, width); raises ConversionError."""
    import onnxruntime

    try:
        session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, {source: values}), strict=True))
    except Exception as error:  # ONNX Runtime raises its own
        raise ConversionError(f"{path} does not run: {str(error).strip().splitlines()[0]}; {FIX}") from error


def _dims(value: Any) -> Dims:
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim)


def _dtype(value: Any) -> str:
    import onnx

    return onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()  # type: ignore[no-any-return]


def _input_problems(inputs: dict[str, Dims], dtypes: dict[str, str]) -> tuple[tuple[int, int] | None, list[str]]:
    """(width, height) of the input, and what is wrong with it."""
    if len(inputs) != 1:
        return None, [f"inputs: {', '.join(inputs) or 'none'}; there must be one, the picture"]
    ((name, dims),) = inputs.items()
    if len(dims) != 4 or dims[1] != 3 or dtypes[name] != "float":
        return None, [f"input {name!r}: {_spell(dims)} {dtypes[name]}, needed is (1, 3, height, width) float"]
    if dims[2] is None or dims[3] is None:
        return None, [f"input {name!r}: {_spell(dims)} has no fixed size; export with --input-width and --input-height"]
    return (dims[3], dims[2]), []


def _output_problems(outputs: dict[str, tuple[int, ...]], size: tuple[int, int]) -> tuple[int, list[str]]:
    """The stride, and what is wrong with the outputs."""
    wanted = {"cif": (KEYPOINT_FIELDS, (5,)), "caf": (len(SKELETON), (8, 9))}
    problems = [f"output {name!r} is missing" for name in wanted if name not in outputs]
    problems += [f"output {name!r}: {_spell(dims)} is not known" for name, dims in outputs.items() if name not in wanted]
    grids: set[tuple[int, int]] = set()
    for name, (fields, components) in wanted.items():
        dims = outputs.get(name)
        if dims is None:
            continue
        if len(dims) != 5:
            problems.append(f"output {name!r}: {_spell(dims)}, needed is (1, {fields}, {components[-1]}, height, width)")
            continue
        grids.add((dims[4], dims[3]))
        if dims[1] != fields:
            hint = f", those of {OTHERS[dims[1]]}" if name == "cif" and dims[1] in OTHERS else ""
            what = "keypoints" if name == "cif" else "associations"
            problems.append(f"output {name!r}: {dims[1]} {what}{hint}; cocokp has {fields}")
        if dims[2] not in components:
            need = " or ".join(map(str, components))
            problems.append(f"output {name!r}: {dims[2]} values a cell; OpenPifPaf 0.11 to 0.13 gives {need}")
    if len(grids) == 1 and not problems:
        try:
            return stride_of(size, grids.pop()), []
        except ModelError as error:
            problems.append(str(error))
    elif len(grids) == 2:
        problems.append(f"outputs 'cif' and 'caf' have different grids: {' and '.join(map(str, sorted(grids)))}")
    return 0, problems


def _spell(dims: Dims) -> str:
    return f"({', '.join('any' if dim is None else str(dim) for dim in dims)})"


def with_pixels(export: Exported, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """The model with uint8 NHWC pixels as its input: the normalisation (pixel - mean) / std is inside.

    Returns an onnx.ModelProto; the given one stays as it is.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(export.model)
    graph = model.graph
    constants = {
        "pixels_mean": np.array(mean, np.float32).reshape(1, 3, 1, 1),
        "pixels_scale": (1 / np.array(std, np.float64)).astype(np.float32).reshape(1, 3, 1, 1),
    }
    old = next(value for value in graph.input if value.name == export.source)
    batch = old.type.tensor_type.shape.dim[0]
    shape = [batch.dim_param or max(batch.dim_value, 1), export.height_px, export.width_px, 3]
    first = [
        helper.make_node("Cast", ["pixels"], ["pixels_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels_float"], ["pixels_planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["pixels_planes", "pixels_mean"], ["pixels_centred"]),
        helper.make_node("Mul", ["pixels_centred", "pixels_scale"], [export.source]),
    ]
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    others = [value for value in graph.input if value.name != export.source]
    del graph.input[:]
    graph.input.extend([helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, shape), *others])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    if model.ir_version < 4:  # older files must list their constants among the inputs
        graph.input.extend(
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape) for name, value in constants.items()
        )
    onnx.checker.check_model(model)
    return model
