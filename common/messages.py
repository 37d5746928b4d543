"""Every payload on the bus, one struct each.

Stage messages (frame, people, poses, tracks) travel as MessagePack, what people and home automation read (alerts, states,
occupancy, status, models, config) as JSON. Each payload carries its name and version in the field `type`, such as
`people/1`. New fields get defaults; an older decoder ignores fields that it does not know.

Coordinates: `_px` are pixels of the frame **as captured** (x right, y down, origin top left), `_norm` the same divided by the
frame's width and height. Times: `_ns` are nanoseconds since the Unix epoch in the store's clock (see `common.clock`).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

Box = tuple[float, float, float, float]
Keypoint = tuple[float, float, float]


class PayloadError(ValueError):
    """A payload that is not what its topic promises. The message names the expected type and the reason."""


class StageTiming(Struct, frozen=True, kw_only=True):
    """Where one stage spent its time on one frame."""

    stage: str
    instance: str
    wait_ms: float = 0.0  # from the publication of the stage's input until a worker took it
    fetch_ms: float = 0.0  # claim and fetch from the frame store
    infer_ms: float = 0.0  # inside the engine
    service_ms: float = 0.0  # all work of the stage on this frame, fetch and inference included


class FrameNotice(Struct, frozen=True, kw_only=True, tag_field="type", tag="frame/1"):
    """A camera has put a frame into the store under `key`."""

    camera: str
    seq: int  # strictly increasing for each camera, also across restarts of its service
    captured_at_ns: int
    published_at_ns: int
    key: str
    width_px: int  # of the frame as captured: the frame of reference of every `_px` downstream
    height_px: int
    stored_width_px: int  # of the JPEG in the store
    stored_height_px: int
    jpeg_bytes: int
    stages: tuple[StageTiming, ...] = ()


class Person(Struct, frozen=True, kw_only=True):
    """One detected person."""

    box_xyxy_px: Box
    score: float  # 0..1
    turned_deg: int = 0  # counter-clockwise turn of the picture in which the network saw the person: 90, 180, -90


class PeopleFound(Struct, frozen=True, kw_only=True, tag_field="type", tag="people/1"):
    """The people in one frame; empty `people` means that the frame was looked at and nobody found."""

    camera: str
    seq: int
    captured_at_ns: int
    published_at_ns: int
    key: str
    width_px: int
    height_px: int
    people: tuple[Person, ...]
    model: str = ""
    stages: tuple[StageTiming, ...] = ()


class PosedPerson(Struct, frozen=True, kw_only=True):
    """One person with a skeleton."""

    box_xyxy_px: Box
    score: float  # of the detection, 0..1
    keypoints_px: tuple[Keypoint, ...]  # 17 x (x, y, score), COCO order (common.skeleton.KEYPOINTS)


class PosesFound(Struct, frozen=True, kw_only=True, tag_field="type", tag="poses/1"):
    """The skeletons of one frame."""

    camera: str
    seq: int
    captured_at_ns: int
    published_at_ns: int
    width_px: int
    height_px: int
    people: tuple[PosedPerson, ...]
    left_out: int = 0  # people that the cap on people per frame left without a skeleton
    model: str = ""
    stages: tuple[StageTiming, ...] = ()


class Track(Struct, frozen=True, kw_only=True):
    """One person followed over time."""

    track_id: int  # unique for its camera, never reused
    box_xyxy_px: Box
    score: float
    keypoints_px: tuple[Keypoint, ...]
    age_s: float  # since the track was born
    missed_s: float = 0.0  # since the person was last seen; 0 when seen in this frame
    state: str = "normal"  # of the fall rule: normal, falling, fallen, recovered
    zones: tuple[str, ...] = ()  # zones that the person's foot point is in


class TracksUpdated(Struct, frozen=True, kw_only=True, tag_field="type", tag="tracks/1"):
    """All live tracks of one camera after one frame."""

    camera: str
    seq: int
    captured_at_ns: int
    published_at_ns: int
    width_px: int
    height_px: int
    tracks: tuple[Track, ...]
    stages: tuple[StageTiming, ...] = ()


class Alert(Struct, frozen=True, kw_only=True, tag_field="type", tag="alert/1"):
    """One step in the life of an alert. All steps carry the same `id`; `(id, revision)` is unique: deduplicate by it."""

    id: str
    revision: int  # 1 when raised, then counting up
    site: str
    camera: str
    kind: str  # fall, intrusion, ...
    event: str  # raised, updated, acknowledged, snoozed, resolved
    severity: str  # info, warning, critical
    message: str  # one English sentence
    raised_at: str  # ISO 8601, UTC
    started_at_ns: int  # when what it tells of began
    raised_at_ns: int  # capture time of the frame that raised it
    updated_at_ns: int  # capture time of the frame that caused this step
    seq: int
    track_id: int | None = None
    zone: str | None = None
    box_xyxy_px: Box | None = None
    box_xyxy_norm: Box | None = None
    evidence: dict[str, float | int | str | bool] = {}
    reason: str | None = None  # why it was resolved


class RuleState(Struct, frozen=True, kw_only=True, tag_field="type", tag="state/1"):
    """The present state of one rule of one camera (retained)."""

    camera: str
    kind: str
    active: bool
    since_ns: int
    alerts: tuple[str, ...] = ()  # ids of the alerts now open
    detail: dict[str, float | int | str | bool] = {}


class Occupancy(Struct, frozen=True, kw_only=True, tag_field="type", tag="occupancy/1"):
    """How many people are in one zone of one camera (retained)."""

    camera: str
    zone: str
    count: int
    longest_dwell_s: float
    updated_at_ns: int
    track_ids: tuple[int, ...] = ()


class CameraHealth(Struct, frozen=True, kw_only=True):
    """What a service knows of one camera."""

    state: str  # camera: streaming, connecting, ended, failed, waiting (another instance reads it); analytics: owned, waiting
    reason: str | None = None
    fps: float = 0.0
    last_seq: int | None = None
    reconnects: int = 0


class ServiceStatus(Struct, frozen=True, kw_only=True, tag_field="type", tag="status/1"):
    """Health of one service instance (retained; the last will says offline)."""

    service: str
    instance: str
    state: str  # starting, ready, degraded, offline
    updated_at_ns: int = 0
    reason: str | None = None  # why degraded or offline, and the fix
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    started_at_ns: int | None = None
    model: str | None = None
    model_error: str | None = None  # why the last model change was refused
    runtime: str | None = None
    device: str | None = None
    rates_hz: dict[str, float] = {}
    counters: dict[str, int] = {}
    ages_ms: dict[str, float] = {}  # p50, p99 of the age of what was published in the last interval
    cameras: dict[str, CameraHealth] = {}
    clock_error_ms: float | None = None
    rss_bytes: int | None = None


class ActiveModel(Struct, frozen=True, kw_only=True, tag_field="type", tag="model/1"):
    """Which model a stage is to use (retained), and the one before, to roll back to."""

    stage: str
    artifact: str  # name of an artifact, or a path to its folder
    previous: str | None = None
    activated_at_ns: int = 0


class ConfigPart(Struct, frozen=True, kw_only=True, tag_field="type", tag="config/1"):
    """One part of the applied configuration (retained)."""

    part: str
    revision: str  # first 12 hex digits of the SHA-256 of the data
    data: dict[str, Any]


STAGE_MESSAGES: tuple[type[Struct], ...] = (FrameNotice, PeopleFound, PosesFound, TracksUpdated)
JSON_MESSAGES: tuple[type[Struct], ...] = (Alert, RuleState, Occupancy, ServiceStatus, ActiveModel, ConfigPart)

M = TypeVar("M", bound=Struct)


def encode(message: Struct) -> bytes:
    """MessagePack for stage messages, JSON for the others."""
    if isinstance(message, STAGE_MESSAGES):
        return msgspec.msgpack.encode(message)
    return msgspec.json.encode(message)


def decode(kind: type[M], payload: bytes) -> M:
    """Decode a payload as `kind`.

    Raises PayloadError on anything else: other bytes, another type, another version, a missing field.
    """
    try:
        if kind in STAGE_MESSAGES:
            return msgspec.msgpack.decode(payload, type=kind)
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"not a {type_name(kind)} payload ({len(payload)} bytes): {error}") from error


def type_name(kind: type[Struct]) -> str:
    """The versioned name of a message type, such as `people/1`."""
    return str(kind.__struct_config__.tag)
