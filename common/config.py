"""Typed settings. A wrong file is refused with file, line and key, and changes nothing.

`posebus.yaml` is read by the gateway only. It is split into parts that are published retained on `config/{part}`; services
get the parts from the bus, so a node needs just the bus address, a name and a credential.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from common import messages
from common.topics import check_name


class ConfigError(ValueError):
    """A configuration that cannot be applied. The message names file, line, key, value and the fix."""


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Name = Annotated[str, AfterValidator(lambda value: check_name("name", value))]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Approach = Literal["top_down", "bottom_up"]
PointNorm = tuple[Unit, Unit]


def _polygon(points: tuple[PointNorm, ...]) -> tuple[PointNorm, ...]:
    if len(points) < 3:
        raise ValueError(f"has {len(points)} corners, a polygon needs at least 3")
    doubled = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
    if abs(doubled) < 2e-6:
        raise ValueError("has no area: its corners lie on one line")
    return points


Polygon = Annotated[tuple[PointNorm, ...], AfterValidator(_polygon)]


class StoreSettings(Settings):
    """Where frames and state live, as seen from the services."""

    frames_url: str = Field("redis://127.0.0.1:6379/0", description="Redis for frames and claims; needs no persistence")
    state_url: str = Field("redis://127.0.0.1:6379/1", description="Redis for leases, state and alerts; AOF on")


class SiteSettings(Settings):
    """What all services share."""

    max_age_s: float = Field(1.0, gt=0.05, le=30, description="frames older than this are dropped and counted, anywhere")


class ZoneSettings(Settings):
    """A polygon on the floor, tested with the person's foot point."""

    name: Name
    polygon: Polygon = Field(description="corners (x, y), each 0..1 of the frame's width and height")
    kind: Literal["restricted", "count"] = Field("restricted", description="restricted: alert on intrusion; count: no alert")
    dwell_s: float = Field(1.0, ge=0, le=3600, description="seconds inside before the intrusion alert")
    severity: Literal["info", "warning", "critical"] = "warning"


class CameraSettings(Settings):
    """One camera: how it is read and what is watched for."""

    name: Name
    source: str = Field(description="rtsp://..., http://..., /dev/video0, usb:0, csi:0, a video file or a folder of images")
    fps: float = Field(10.0, gt=0, le=120, description="frames a second to publish at most")
    pace: Literal["realtime", "fast"] = Field("realtime", description="files: in real time or as fast as possible")
    loop: bool = Field(False, description="files and folders: start again at the end")
    max_side_px: int = Field(960, ge=64, le=8192, description="longer side of the stored JPEG; never enlarged")
    jpeg_quality: int = Field(85, ge=10, le=100)
    timeout_s: float = Field(5.0, gt=0.2, le=120, description="no frame for so long: reconnect")
    privacy_masks: tuple[Polygon, ...] = Field((), description="painted black before anything leaves the process")
    zones: tuple[ZoneSettings, ...] = ()
    fall: bool = Field(True, description="watch for falls")

    @model_validator(mode="after")
    def _unique_zones(self) -> CameraSettings:
        _unique([zone.name for zone in self.zones], f"camera {self.name!r}: zone")
        return self


# The networks of a fresh clone. MoveNet finds all skeletons of a frame in one step, which a top-down network cannot.
DETECTOR_MODEL = "movenet-multipose"
POSE_MODEL = "movenet-multipose"
BOTTOM_UP_MODEL = "movenet-multipose"


class StageSettings(Settings):
    """A stage that runs a network."""

    model: str = Field(description="artifact name, or path to its folder")
    runtime: Literal["auto", "onnx", "openvino", "tflite", "tensorrt", "edgetpu", "fake"] = "auto"
    precision: Literal["auto", "float32", "float16", "dynamic_int8", "int8"] = Field(
        "auto", description="of the network's file; auto: the first in its manifest that the runtime can take"
    )
    device: str = Field("auto", description="auto, cpu, gpu:0, usb:0 ... as the runtime names them")
    threads: int = Field(1, ge=1, le=64)


class SecondLookSettings(Settings):
    """Looking again, with the picture turned, where a person vanished: detectors lose people who lie."""

    enabled: bool = Field(True, description="costs nothing while every track is seen")
    turns_deg: tuple[Literal[-90, 0, 90, 180], ...] = Field(
        (90, -90, 180), min_length=1, max_length=4,
        description="counter-clockwise turns to try; 180: who fell towards the camera; 0 only looks closer",
    )
    score_min: Unit = Field(0.4, description="boxes below are not believed; a track takes none weaker at another place")
    calls_max: int = Field(3, ge=1, le=16, description="extra runs of the network on one frame at most")


class DetectorSettings(StageSettings):
    """The person detector."""

    model: str = Field(DETECTOR_MODEL, description="artifact name, or path to its folder")
    score_min: Unit = Field(0.25, description="boxes below are not published; the tracker uses weak boxes too")
    max_people: int = Field(20, ge=1, le=200)
    second_look: SecondLookSettings = SecondLookSettings()


class PoseSettings(StageSettings):
    """The pose estimator."""

    model: str = Field(
        POSE_MODEL, description=f"artifact name, or path to its folder; with bottom_up, `{BOTTOM_UP_MODEL}` by default"
    )
    approach: Approach = Field(
        "top_down", description="top_down: a crop per detected person; bottom_up: all skeletons of a frame at once, no detector"
    )
    score_min: Unit = Field(0.25, description="bottom_up: people below are not published; the tracker uses weak ones too")
    max_people: int = Field(6, ge=1, le=64, description="skeletons per frame at most, largest and most certain first")

    @model_validator(mode="before")
    @classmethod
    def _default_of_the_approach(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("approach") == "bottom_up" and "model" not in data:
            return {**data, "model": BOTTOM_UP_MODEL}
        return data


def default_models() -> dict[str, str]:
    """Stage -> artifact that it runs unless the configuration names another."""
    return {"detector": DETECTOR_MODEL, "pose": POSE_MODEL}


class FallSettings(Settings):
    """Thresholds of the fall rule; the defaults follow from anatomy and free fall (docs/analytics.md)."""

    still_s: float = Field(1.0, gt=0, le=60, description="lying still for so long confirms a fall")
    recover_s: float = Field(1.5, gt=0, le=60, description="upright for so long resolves it")


class AnalyticsSettings(Settings):
    """Tracking and rules."""

    reorder_ms: float = Field(120.0, ge=0, le=2000, description="how long a gap in the sequence may hold back later frames")
    fall: FallSettings = FallSettings()


class PosebusConfig(Settings):
    """The whole of posebus.yaml."""

    name: Name = Field("home", alias="site", description="name of the site, the second level of every topic")
    bus: str = Field("mqtt://127.0.0.1:1883", description="mqtt:// or mqtts:// address as seen from the gateway")
    general: SiteSettings = SiteSettings()
    store: StoreSettings = StoreSettings()
    cameras: tuple[CameraSettings, ...] = Field(min_length=1)
    detector: DetectorSettings = DetectorSettings()
    pose: PoseSettings = PoseSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()

    @model_validator(mode="after")
    def _unique_cameras(self) -> PosebusConfig:
        _unique([camera.name for camera in self.cameras], "camera")
        return self


class CamerasPart(Settings):
    """Part `cameras` and part `sources` of the bus: the same shape; only `sources` has the addresses."""

    cameras: tuple[CameraSettings, ...]


PARTS: dict[str, type[Settings]] = {
    "general": SiteSettings,
    "store": StoreSettings,
    "cameras": CamerasPart,
    "sources": CamerasPart,
    "detector": DetectorSettings,
    "pose": PoseSettings,
    "analytics": AnalyticsSettings,
}

S = TypeVar("S", bound=Settings)

_CREDENTIAL = re.compile(r"://[^/\s]*@")  # addresses may hold passwords; errors end up in logs


def _unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is defined {names.count(name)} times; names must be unique")


def load(path: Path) -> PosebusConfig:
    """Read and validate posebus.yaml. Relative file sources are taken from the file's folder.

    Raises ConfigError that lists every problem as `file:line: key: what is wrong`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected a mapping with the key 'cameras', got {type(data).__name__}")
    try:
        config = PosebusConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(path, root, problem) for problem in _causes(error.errors()))) from error
    return _resolve_files(config, path.parent)


def _causes(problems: list[Any]) -> list[Any]:
    """Without the complaint that a list is too short when it is so only because its items were refused."""
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(other is not problem and other["loc"][: len(problem["loc"])] == problem["loc"] for other in problems)
    ]


def _explain(path: Path, root: yaml.Node | None, problem: Any) -> str:
    """One line for one problem, with the line number of the nearest key in the file."""
    line, node = 1, root
    steps: list[str] = []
    for step in problem["loc"]:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    line, found = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
            line = found.start_mark.line + 1
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
        node = found
    key = "".join(steps).lstrip(".") or "file"
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        reason = "unknown key; see `posebus config schema` for those that exist"
    value = problem.get("input")
    hidden = problem["type"] in ("missing", "extra_forbidden") or isinstance(value, dict | list | tuple)
    shown = "" if hidden else f" (got {_CREDENTIAL.sub('://***@', repr(value))})"
    return f"{path}:{line}: {key}: {reason}{shown}"


def _resolve_files(config: PosebusConfig, folder: Path) -> PosebusConfig:
    cameras = []
    for camera in config.cameras:
        source = camera.source
        is_local = "://" not in source and ":" not in source.split("/")[0] and not Path(source).is_absolute()
        if is_local:
            camera = camera.model_copy(update={"source": str((folder / source).resolve())})
        cameras.append(camera)
    return config.model_copy(update={"cameras": tuple(cameras)})


def split(config: PosebusConfig) -> dict[str, messages.ConfigPart]:
    """The parts to publish. Sources, which hold passwords, are only in the part `sources`."""
    dumped = config.model_dump(mode="json")
    public = [{**camera, "source": ""} for camera in dumped["cameras"]]
    data: dict[str, dict[str, Any]] = {
        "general": dumped["general"],
        "store": dumped["store"],
        "cameras": {"cameras": public},
        "sources": {"cameras": dumped["cameras"]},
        "detector": dumped["detector"],
        "pose": dumped["pose"],
        "analytics": dumped["analytics"],
    }
    return {part: messages.ConfigPart(part=part, revision=_digest(value), data=value) for part, value in data.items()}


def parse_part(kind: type[S], part: messages.ConfigPart) -> S:
    """Validate a part that came over the bus; raises ConfigError naming part and key."""
    try:
        return kind.model_validate(part.data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise ConfigError(f"config/{part.part} revision {part.revision}: {problems}") from error


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
