"""The manifest of a model artifact, typed; unknown keys are errors.

It tells everything that a service must know of a network: tasks, input, the decoder of each task, the files with their
SHA-256 and where to get them, the licence, and what was measured. Services hard-code none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# detect: people boxes of a frame; pose: keypoints of one person's crop; bottom_up: all skeletons of a frame in one step.
Task = Literal["detect", "pose", "bottom_up"]
# edgetpu: TFLite, compiled for the Edge TPU; TensorRT builds its engines from onnx, on the device.
Format = Literal["tflite", "edgetpu", "onnx", "openvino", "fake"]
Precision = Literal["float32", "float16", "dynamic_int8", "int8"]
FILENAME = "manifest.toml"


class ModelError(RuntimeError):
    """A model that cannot be had, loaded or trusted; the base of all errors of artifacts, runtimes and decoders."""


class ArtifactError(ModelError):
    """A manifest or a model file that cannot be used. The message names artifact, file or source, and the fix."""


class DeviceLost(ModelError):
    """A device that this process cannot use any more, whatever it loads: only a new process can. So it must end."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _relative(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path:
        raise ValueError("must be a relative path without '..'")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]


class FolderSource(_Table):
    """The file lies in the artifact's folder and is used in place."""

    kind: Literal["file"]


class PypiSource(_Table):
    """A member of a wheel on PyPI; `inner` is a member of the zip file that `member` is."""

    kind: Literal["pypi"]
    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+]*$")
    member: RelativePath
    inner: RelativePath | None = None


class KitSource(_Table):
    """A file of the kit of real models: below $POSEBUS_KIT, or `../shared/kit` beside the checkout."""

    kind: Literal["kit"]
    path: RelativePath


class UrlSource(_Table):
    kind: Literal["url"]
    url: str = Field(pattern=r"^https?://")


Source = Annotated[FolderSource | PypiSource | KitSource | UrlSource, Field(discriminator="kind")]


class FileSpec(_Table):
    """One file: what it is called, what it must hash to, and where to get it, sources in order."""

    path: RelativePath
    size_bytes: int = Field(alias="bytes", gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    source: tuple[Source, ...] = Field(min_length=1)

    @property
    def filename(self) -> str:
        return PurePosixPath(self.path).name


class ModelFile(FileSpec):
    """A file of a network; OpenVINO's has its weights in a second file.

    precision: float32 and float16 weights; dynamic_int8: int8 weights, float activations; int8: all of it integers.
    batch: overrides `input.batch` for this file.
    """

    format: Format
    role: Literal["model", "weights"] = "model"
    precision: Precision = "float32"
    batch: bool | None = None


class InputSpec(_Table):
    """What the network takes. Engines take uint8 NHWC in `colour` order and fold the rest, so services do not care.

    Either `width_px` and `height_px` are given, or `multiple_px`: any size whose sides are multiples of it.
    `mean` and `std` are in pixel units (0..255), per channel in `colour` order: network input = (pixel - mean) / std.
    `batch` false: the file holds a network for one picture; engines then run a batch picture by picture.
    """

    width_px: int | None = Field(None, gt=0)
    height_px: int | None = Field(None, gt=0)
    multiple_px: int | None = Field(None, gt=0)
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    dtype: Literal["uint8", "int8", "float32"] = "uint8"
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    batch: bool = True

    @model_validator(mode="after")
    def _sized(self) -> InputSpec:
        fixed = self.width_px is not None and self.height_px is not None
        if fixed == (self.multiple_px is not None) or (self.width_px is None) != (self.height_px is None):
            raise ValueError("needs either width_px and height_px, or multiple_px")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std come together")
        return self


class DetectSpec(_Table):
    """How the artifact detects people."""

    decoder: str
    long_side_px: int = Field(256, gt=0, description="dynamic inputs: longer side of the network's input")
    fit: Literal["letterbox", "stretch"] = "letterbox"
    score_scale: float = Field(1.0, gt=0, description="multiplies raw scores, which are then cut at 1")
    nms_iou: float = Field(0.65, gt=0, le=1)


class PoseSpec(_Table):
    """How the artifact finds the keypoints of one person in one crop."""

    decoder: str
    width_px: int = Field(gt=0)
    height_px: int = Field(gt=0)
    padding: float = Field(1.25, ge=1, le=3, description="crop side / box side, before the aspect is fitted")


class BottomUpSpec(_Table):
    """How the artifact finds all skeletons of a frame at once."""

    decoder: str
    long_side_px: int = Field(256, gt=0, description="dynamic inputs: longer side of the network's input")
    fit: Literal["letterbox", "stretch"] = "letterbox"
    score_scale: float = Field(1.0, gt=0, description="multiplies a person's raw score, which is then cut at 1")


class Latency(_Table):
    """Time of the engine alone on one machine (`posebus models bench`)."""

    task: Task
    runtime: str
    precision: Precision = "float32"
    device: str
    threads: int = Field(gt=0)
    batch: int = Field(gt=0)
    p50_ms: float = Field(gt=0)
    p99_ms: float = Field(gt=0)
    memory_mib: float | None = Field(None, ge=0, description="growth of the process by loading and running it")
    date: str = ""
    commit: str = ""


class Measured(_Table):
    """One measurement, with all that is needed to repeat it (`models/zoo/measure.py`)."""

    task: Task
    metric: str
    value: float
    dataset: str
    n: int = Field(gt=0)
    runtime: str
    precision: Precision = "float32"
    device: str
    threads_ms: dict[str, float] = Field({}, description="number of threads -> median milliseconds, see the note")
    note: str = ""


class Manifest(_Table):
    """The content of manifest.toml."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str
    tasks: tuple[Task, ...] = Field(min_length=1)
    keypoints: Literal["coco17"] | None = None
    licence: str
    training_data: str
    provenance: str
    input: InputSpec
    detect: DetectSpec | None = None
    pose: PoseSpec | None = None
    bottom_up: BottomUpSpec | None = None
    file: tuple[ModelFile, ...] = ()
    training: FileSpec | None = Field(None, description="weights to go on training from, see models/ship/weights.py")
    measured: tuple[Measured, ...] = ()
    latency: tuple[Latency, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Manifest:
        for task in self.tasks:
            if getattr(self, task) is None:
                raise ValueError(f"task {task!r} needs a table [{task}]")
        if self.pose is not None and self.input.multiple_px is None:
            crop, network = (self.pose.width_px, self.pose.height_px), (self.input.width_px, self.input.height_px)
            if crop != network:
                raise ValueError(f"[pose] says crops of {crop[0]}x{crop[1]}, [input] says {network[0]}x{network[1]} pixels")
        for task in ("pose", "bottom_up"):
            if task in self.tasks and self.keypoints is None:
                raise ValueError(f"task {task!r} needs the key 'keypoints'")
        kinds = [(file.format, file.role, file.precision) for file in self.file]
        if len(set(kinds)) != len(kinds):
            raise ValueError("has two files of the same format, role and precision")
        return self


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest; raises ArtifactError with one line for each problem, `file: key: reason`."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ArtifactError(f"{path}: not valid TOML: {error}") from error
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise ArtifactError("\n".join(f"{path}: {line}" for line in _problems(error.errors()))) from error


def _problems(errors: Iterable[Any]) -> list[str]:
    lines = []
    for error in errors:
        key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"]).lstrip(".")
        reason = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            reason = "unknown key"
        value = error.get("input")
        shown = "" if isinstance(value, dict | list | tuple) or error["type"] == "missing" else f" (got {value!r})"
        lines.append(f"{key or 'manifest'}: {reason}{shown}")
    return lines
