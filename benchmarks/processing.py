"""What surrounds the pose network of one frame with six people, ours against the per-person way, and against the network.

    python -m benchmarks.processing [--turns 20] [--people 6]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from benchmarks import _per_person
from benchmarks._measure import median
from benchmarks._report import Report, options
from benchmarks._scene import find_scene
from common.artifact import ArtifactError, find_artifact
from common.config import PoseSettings
from common.geometry import Crops, Floats, Image
from common.manifest import Manifest
from common.runtimes.base import RuntimeUnavailable, pixel_table, to_network
from services.pose.crops import crop_batch, pose_spec
from services.pose.decode import DECODERS
from services.pose.estimate import load_estimator

FRAME_PX = (1280, 720)
MAPS = (64, 48)  # rows, columns of a 256 x 192 network with stride 4
MANIFEST = "pp-tinypose-256x192"  # crops and normalisation are this one's
ENGINES = (("pp-tinypose-256x192", "openvino"), ("movenet-multipose", "tflite"))  # the first that is to be had
PER_PERSON, OURS, BY_TABLE = "per person", "ours", "ours, table"
SAME_PX = 0.01
BLOCK = 10  # frames of one way in a row, the first of which does not count: it finds memory as the way before left it


class Clock:
    """Milliseconds by part, from one `split` to the next; kept while `counts`."""

    def __init__(self) -> None:
        self.parts_ms: dict[str, list[float]] = {}
        self.counts = True
        self._last = 0.0

    def begin(self) -> None:
        self._last = time.perf_counter()

    def split(self, part: str) -> None:
        now = time.perf_counter()
        if self.counts:
            self.parts_ms.setdefault(part, []).append((now - self._last) * 1e3)
        self._last = time.perf_counter()

    def medians(self) -> dict[str, float]:
        return {part: median(values) for part, values in self.parts_ms.items()}


class PerPerson:
    """The yardstick."""

    def __init__(self, manifest: Manifest) -> None:
        self.clock = Clock()
        self._spec = pose_spec(manifest)
        self._mean, self._std = np.array(manifest.input.mean, np.float32), np.array(manifest.input.std, np.float32)

    def frame(self, image: Image, boxes: Floats, infer: Callable[[], Floats]) -> None:
        size_px = self._spec.width_px, self._spec.height_px
        self.clock.begin()
        floats = _per_person.normalise(image, self._mean, self._std)
        self.clock.split("normalise")
        shown = _per_person.windows(boxes, size_px, self._spec.padding)
        _per_person.crop(floats, shown, size_px)
        self.clock.split("crop")
        maps = infer()
        self.clock.begin()
        _per_person.parse(maps, shown)
        self.clock.split("parse")


class Ours:
    """The product's functions. decoder: of the parse; layout: normalise by table, as engines do whose graph cannot."""

    def __init__(self, manifest: Manifest, decoder: str, *, layout: str | None) -> None:
        self.clock = Clock()
        self._manifest = manifest
        self._decode = DECODERS[decoder]
        self._table = pixel_table(manifest.input)
        self._layout = layout

    def frame(self, image: Image, boxes: Floats, infer: Callable[[], Floats]) -> None:
        size_px = pose_spec(self._manifest).width_px, pose_spec(self._manifest).height_px
        self.clock.begin()
        crops = crop_batch(image, boxes, self._manifest)
        self.clock.split("crop")
        if self._layout:
            to_network(crops.pixels, self._table, self._layout)
            self.clock.split("normalise")
        maps = infer()
        self.clock.begin()
        keypoints = self._decode({"maps": maps}, size_px, crops.boxes_to_crop(boxes))
        keypoints[:, :, :2] = crops.points_to_image(keypoints[:, :, :2])
        self.clock.split("parse")


def main() -> int:
    parser = options("Crop, normalise and parse, against the per-person way and the pose network.")
    parser.add_argument("--turns", type=int, default=20, metavar="N", help=f"blocks of {BLOCK} frames of each way, in turn")
    parser.add_argument("--people", type=int, default=6, metavar="N")
    arguments = parser.parse_args()
    report = Report("processing", arguments)
    scene = find_scene(arguments.people, width_px=FRAME_PX[0])
    image = np.asarray(cv2.resize(scene.image, FRAME_PX), np.uint8)
    factor = np.array([1, FRAME_PX[1] / scene.image.shape[0]] * 2)
    boxes = (np.array(scene.boxes[: arguments.people]) * factor).astype(np.float32)
    manifest = find_artifact(MANIFEST).manifest
    ways: dict[str, PerPerson | Ours] = {
        PER_PERSON: PerPerson(manifest),
        OURS: Ours(manifest, "heatmaps", layout=None),
        "ours, quarter offset": Ours(manifest, "heatmaps_quarter", layout=None),
        BY_TABLE: Ours(manifest, "heatmaps", layout="NCHW"),
        "ours, table, channels last": Ours(manifest, "heatmaps", layout="NHWC"),
    }
    turns = 2 if arguments.quick else arguments.turns
    report.data["settings"] = {
        "picture": f"{scene.name} as 1280x720", "size_px": list(FRAME_PX), "people": len(boxes), "turns": turns,
    }  # fmt: skip
    maps = answers(len(boxes))
    engine = Engine(image, boxes, maps)
    report.data["settings"]["engine"] = engine.name
    different_px = difference(image, boxes, maps, manifest)
    if different_px > SAME_PX:
        raise RuntimeError(f"both ways should find the same keypoints to {SAME_PX} px; they differ by {different_px:.3f} px")
    for _ in range(turns):
        for way in ways.values():  # in turn: what disturbs the machine meanwhile disturbs all alike
            for i in range(2 if arguments.quick else BLOCK):
                way.clock.counts = i > 0
                way.frame(image.copy(), boxes, engine.infer)  # as in a service: just decoded, and the network in between
    tell(report, {name: way.clock.medians() for name, way in ways.items()}, engine, different_px)
    return report.finish()


class Engine:
    """A real pose network on the same people, timed alone: `Engine.run` on the batch of crops."""

    def __init__(self, image: Image, boxes: Floats, maps: Floats) -> None:
        self._maps = maps
        for name, runtime in ENGINES:
            try:
                estimator = load_estimator(PoseSettings(model=name, runtime=runtime))
            except (ArtifactError, RuntimeUnavailable):
                if (name, runtime) == ENGINES[-1]:
                    raise
                continue
            break
        self.name = f"{name}, {runtime}, {estimator.engine.device}"
        self._engine = estimator.engine
        self._batch = crop_batch(image, boxes, estimator.artifact.manifest).pixels
        self.clock = Clock()

    def infer(self) -> Floats:
        """Run the network; returns made-up heatmaps, just written as a network's are."""
        self.clock.begin()
        self._engine.run(self._batch)
        self.clock.split("engine")
        return self._maps.copy()


def answers(people: int) -> Floats:
    """Heatmaps (N, 17, 64, 48) as a network gives them: a Gaussian of 2 cells about a random place, and a little noise."""
    rng = np.random.default_rng(0)
    rows, columns = MAPS
    centres = rng.uniform((3, 3), (columns - 4, rows - 4), (people, 17, 2))[..., None, None]
    y, x = np.mgrid[:rows, :columns]
    peaks = np.exp(-((x - centres[:, :, 0]) ** 2 + (y - centres[:, :, 1]) ** 2) / (2 * 2.0**2))
    return np.asarray(peaks * 0.8 + rng.uniform(0, 0.02, peaks.shape), np.float32)


def difference(image: Image, boxes: Floats, maps: Floats, manifest: Manifest) -> float:
    """Largest distance in pixels between the keypoints of both ways for the same heatmaps and the same crops.

    Ours are given the crops that the warps cut. There, crop pixel u lies at picture pixel xmin + u * width / W, centres both;
    so its edge lies at xmin + 0.5 - 0.5 * width / W, and our keypoints are 0.5 further than theirs, which count from centres.
    """
    spec = pose_spec(manifest)
    size_px = spec.width_px, spec.height_px
    shown = _per_person.windows(boxes, size_px, spec.padding)
    corner, side = np.array(shown)[:, :2], np.array(shown)[:, 2:]
    scale = side / np.array(size_px)
    offset = corner + 0.5 - 0.5 * scale
    pixels = np.empty((len(boxes), size_px[1], size_px[0], 3), np.uint8)
    crops = Crops(pixels, scale.astype(np.float32), offset.astype(np.float32))
    found = DECODERS["heatmaps_quarter"]({"maps": maps}, size_px, crops.boxes_to_crop(boxes))
    ours = crops.points_to_image(found[:, :, :2])
    theirs = _per_person.parse(maps, shown)
    if np.abs(found[:, :, 2] - theirs[:, :, 2]).max() > 1e-6:
        raise RuntimeError("both ways should give the same scores")
    return float(np.abs(ours - (theirs[:, :, :2] + 0.5)).max())


def tell(report: Report, parts_ms: dict[str, dict[str, float]], engine: Engine, different_px: float) -> None:
    """Tables and targets."""
    settings: dict[str, Any] = report.data["settings"]
    total = {name: sum(parts.values()) for name, parts in parts_ms.items()}
    engine_ms = engine.clock.medians()["engine"]
    rows = [
        (name, *(f"{parts[part]:.2f}" if part in parts else "in the network" for part in ("normalise", "crop", "parse")),
         f"{total[name]:.2f}", f"{total[PER_PERSON] / total[name]:.1f}x", f"{total[name] / engine_ms:.1%}")
        for name, parts in parts_ms.items()
    ]  # fmt: skip
    title = f"Milliseconds a frame (median), {settings['people']} people, {settings['picture']}"
    columns = ("way", "normalise", "crop", "parse", "all", "per person / this", f"of the engine's {engine_ms:.0f} ms")
    report.table(title, columns, rows)
    report.data["rows"] = [
        {"way": name, "parts_ms": {part: round(value, 4) for part, value in parts.items()}, "all_ms": round(total[name], 4)}
        for name, parts in parts_ms.items()
    ]
    report.data |= {"engine_ms": round(engine_ms, 3), "keypoints_differ_px": round(different_px, 5)}
    report.note(f"Engine: {engine.name}, one batch of the same people. Where the network normalises, that is in its time.")
    report.note(f"For the same heatmaps and crops both ways find the same keypoints to {different_px:.4f} px.")
    report.target("per-person way / ours, normalised in the network", total[PER_PERSON] / total[OURS], ">=", 10, "x")
    report.target("per-person way / ours, normalised by table", total[PER_PERSON] / total[BY_TABLE], ">=", 10, "x")
    report.target("ours, normalised by table, of the pose engine's time", total[BY_TABLE] / engine_ms, "<=", 0.1)
    report.target("ours: crop + parse", total[OURS], "<=", 1.5, "ms")


if __name__ == "__main__":
    sys.exit(main())
