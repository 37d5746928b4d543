"""Renders the demo clip, a person in a room who enters a restricted zone and later falls, with exact ground truth.

    pip install torch==2.13.0 anny numpy opencv-python-headless av
    python -m models.data.render_demo --out DIR [--seed 7]

writes DIR/room.mp4 and DIR/room.truth.json. The body is anny's parametric mesh (Apache-2.0, assets CC0-1.0); room,
clothes and motions are procedural, so the clip is CC0-1.0 as a whole. It takes about eight minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.data import body as bodies
from models.data.layout import DEMO_ZONE
from models.data.motions import Story, tell
from models.data.pose import Poser
from models.data.raster import Camera
from models.data.room import render_room
from models.data.scene import Scene, Truth

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

FPS, SCALE = 15, 2
CAMERA = Camera((0.55, 0.0, 2.4), 4.0, 20.0, 64.0, 640, 480)
WHAT = "rendered clip: a person walks in, works in a machine's restricted zone, leaves it, falls, lies, gets up"


class Encoder:
    """Writes RGB frames as H.264 in an MP4 file."""

    def __init__(self, path: Path, crf: int = 24) -> None:
        self.container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self.stream = self.container.add_stream("libx264", rate=FPS)
        self.stream.width, self.stream.height, self.stream.pix_fmt = CAMERA.width_px, CAMERA.height_px, "yuv420p"
        self.stream.options = {"crf": str(crf), "preset": "slow", "g": str(2 * FPS), "threads": "1"}

    def add(self, picture: Bytes) -> None:
        """Appends one (H, W, 3) RGB frame."""
        self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

    def close(self) -> None:
        """Flushes and finishes the file."""
        self.container.mux(self.stream.encode(None))
        self.container.close()


def label(picture: Bytes) -> Bytes:
    """Burns the word "rendered" into the lower right corner."""
    marked = np.ascontiguousarray(picture)
    height, width = marked.shape[:2]
    cv2.rectangle(marked, (width - 78, height - 21), (width - 5, height - 5), (30, 30, 30), -1)
    cv2.putText(
        marked, "rendered", (width - 74, height - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA
    )
    return marked


def settle(vertices: Floats) -> Floats:
    """Flattens upon the floor what sank a little into it, as cloth and flesh do."""
    settled = vertices.copy()
    settled[:, 2] = np.maximum(settled[:, 2], 0.003)
    return settled


def in_zone(feet: Floats) -> NDArray[np.bool_]:
    """Whether floor points (N, 2), metres, lie in the painted zone."""
    corners = DEMO_ZONE.corners()[:, :2]
    return np.asarray(((feet > corners.min(axis=0)) & (feet < corners.max(axis=0))).all(axis=1))


def events(story: Story) -> list[dict[str, Any]]:
    """The fall and the one visit of the zone, by the middle of both ankles, in seconds."""
    inside = np.flatnonzero(in_zone(story.controls.ankle[:, :, :2].mean(axis=1)))
    if len(inside) == 0 or np.any(np.diff(inside) > 1):
        raise ValueError("the person's path must visit the zone exactly once")
    enter_s, leave_s = round(float(inside[0]) / FPS, 2), round(float(inside[-1] + 1) / FPS, 2)
    return [
        {"kind": "intrusion", "zone": "machine", "enter_s": enter_s, "leave_s": leave_s},
        {"kind": "fall", "onset_s": story.onset_s, "impact_s": story.impact_s, "recovered_s": story.recovered_s},
    ]


def describe(story: Story, truths: list[Truth], seed: int) -> dict[str, Any]:
    """The content of room.truth.json."""
    size = np.array([CAMERA.width_px, CAMERA.height_px])
    polygon = CAMERA.project(DEMO_ZONE.corners())[0] / size
    return {
        "what": WHAT,
        "seed": seed,
        "fps": FPS,
        "width_px": CAMERA.width_px,
        "height_px": CAMERA.height_px,
        "frames": len(truths),
        "licence": "CC0-1.0",
        "camera": {
            "position_m": CAMERA.position_m,
            "yaw_deg": CAMERA.yaw_deg,
            "pitch_deg": CAMERA.pitch_deg,
            "hfov_deg": CAMERA.hfov_deg,
            "focal_px": round(CAMERA.focal_px, 2),
        },
        "events": events(story),
        "zones": [{"name": "machine", "polygon_norm": polygon.round(4).tolist()}],
        "keypoint_flags": "0 outside the picture, 1 hidden, 2 visible",
        "boxes_xyxy_px": [None if t.box is None else t.box.round(1).tolist() for t in truths],
        "keypoints_px": [[[round(x, 1), round(y, 1), int(v)] for x, y, v in t.keypoints.tolist()] for t in truths],
    }


def frames(body: bodies.Body, story: Story, scene: Scene, seed: int, which: range) -> Iterator[tuple[Bytes, Truth]]:
    """Labelled pictures (H, W, 3) RGB and truths of the chosen frames; each depends on its number and the seed only."""
    poser = Poser(body)
    for i in which:
        row = story.controls.row(i)
        vertices, _ = bodies.skin(body, poser.rotations(row), row.root[0])
        picture, truth = scene.frame(settle(vertices), body.keypoints @ vertices, np.random.default_rng([seed, i]))
        yield label(picture), truth
        if i % FPS == 0:
            print(f"frame {i}/{len(story.controls)}", flush=True)


def render(out: Path, seed: int) -> None:
    """Renders everything into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    print("loading the body", flush=True)
    body = bodies.load_body()
    story = tell(Poser(body), FPS)
    print("lighting the room", flush=True)
    scene = Scene(body, CAMERA, render_room(CAMERA, SCALE, np.random.default_rng(seed)), SCALE)
    encoder, truths = Encoder(out / "room.mp4"), []
    for picture, truth in frames(body, story, scene, seed, range(len(story.controls))):
        encoder.add(picture)
        truths.append(truth)
    encoder.close()
    (out / "room.truth.json").write_text(json.dumps(describe(story, truths, seed), separators=(",", ":")) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for room.mp4 and room.truth.json")
    parser.add_argument("--seed", type=int, default=7, help="seed of textures, light sampling and sensor noise")
    options = parser.parse_args()
    render(options.out, options.seed)


if __name__ == "__main__":
    main()
