"""What the demo plays: its own clips, or a source that the user names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.config import CameraSettings, ConfigError, DetectorSettings, PoseSettings, ZoneSettings
from common.manifest import FileSpec, PypiSource
from common.model_store import fetch
from posebus.errors import SetupError

ASSETS = Path(__file__).parent / "assets"
ROOM, WALK = "room", "walk"
DWELL_S = 1.0
_LIVE_S, _FILE_S, _BUILT_IN_S = 60.0, 300.0, 60.0

# A person who walks past the camera, from the wheel of sports2d (BSD-3-Clause).
WALK_CLIP = FileSpec(
    path="demo.mp4",
    bytes=3968304,
    sha256="d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
    source=(PypiSource(kind="pypi", package="sports2d", version="0.8.34", member="Sports2D/Demo/demo.mp4"),),
)


@dataclass(frozen=True)
class Programme:
    """Cameras to play, what is said of them, what is true of them, for how long at most, and by which networks."""

    cameras: tuple[CameraSettings, ...]
    limit_s: float
    notes: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # camera -> events
    built_in: bool = False
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    pose: PoseSettings = field(default_factory=PoseSettings)


def built_in(fps: float, seconds: float | None) -> Programme:
    """The rendered clip with its ground truth and the real clip; raises SetupError or ArtifactError when one is missing."""
    clip, truth_file = ASSETS / "room.mp4", ASSETS / "room.truth.json"
    try:
        truth: dict[str, Any] = json.loads(truth_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SetupError(f"the demo clip's ground truth {truth_file} cannot be read: {error}; install posebus again") from error
    if not clip.is_file():
        raise SetupError(f"the demo clip {clip} is missing; install posebus again")
    zones = tuple(
        ZoneSettings(name=zone["name"], polygon=tuple(map(tuple, zone["polygon_norm"])), kind="restricted", dwell_s=DWELL_S)
        for zone in truth["zones"]
    )
    walk = fetch(WALK_CLIP, owner="demo clip walk")
    return Programme(
        cameras=(
            CameraSettings(name=ROOM, source=str(clip), fps=fps, zones=zones),
            CameraSettings(name=WALK, source=str(walk), fps=fps),
        ),
        limit_s=seconds or _BUILT_IN_S,
        notes={ROOM: "rendered clip", WALK: "real clip, Sports2D, BSD-3"},
        truth={ROOM: truth["events"]},
        built_in=True,
    )


def of_source(source: str, fps: float, seconds: float | None) -> Programme:
    """One camera: a file, a folder, an address or a device. Raises SetupError for a file that does not exist."""
    path = Path(source).expanduser()
    is_address = "://" in source or source.split(":")[0] in ("usb", "csi") or source.startswith("/dev/")
    if not is_address and not path.exists():
        raise SetupError(f"{source} does not exist; give a file, a folder, an rtsp:// or http:// address, or usb:0")
    limit_s = seconds or (_LIVE_S if is_address else _FILE_S)
    try:
        camera = CameraSettings(name="source", source=source if is_address else str(path.resolve()), fps=fps)
    except ValueError as error:
        raise ConfigError(f"source {source!r}: {error}") from error
    return Programme((camera,), limit_s)
