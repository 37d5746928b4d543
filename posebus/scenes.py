"""Turns a recording into annotated pictures: a video for each camera and one contact sheet of the key moments."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import msgspec
import numpy as np

from common.config import CameraSettings
from common.messages import Alert
from posebus import drawing
from posebus.drawing import Image
from posebus.quiet import quiet_native
from posebus.recorder import FrameRecord, Recording

# WebM with VP8 plays in every browser and carries no patents, but costs 50 to 100 ms a frame on a slow core. MPEG-4 Part 2
# takes a tenth of that: for machines that are too slow or busy, and for OpenCV builds without libvpx.
CODECS = (("VP80", ".webm"), ("mp4v", ".mp4"))
ENCODE_S = 25.0
_RESOLVED_SHOWN_S = 2.0
TILE_WIDTH = 640
VIDEO_WIDTH = 854  # VP8 costs a slow core about 70 ms for a frame of this width
_COLUMNS = 3


class Scene:
    """One camera's clip: draws its frames with all that was known at that time."""

    def __init__(self, recording: Recording, camera: CameraSettings, *, note: str = "") -> None:
        self.camera = camera
        self.records = recording.frames.get(camera.name, [])
        self._recording = recording
        self._note = note
        self.alerts = [alert for alert in recording.alerts if alert.camera == camera.name]

    def picture(self, record: FrameRecord, *, max_width: int = 4096) -> Image | None:
        """The annotated picture of one frame, shrunk to max_width first; None when its pixels were not recorded."""
        if record.jpeg is None:
            return None
        decoded = cv2.imdecode(np.frombuffer(record.jpeg, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            return None
        if decoded.shape[1] > max_width:
            height = round(decoded.shape[0] * max_width / decoded.shape[1] / 2) * 2
            decoded = cv2.resize(decoded, (max_width, height), interpolation=cv2.INTER_AREA)
        image: Image = np.ascontiguousarray(decoded, np.uint8)
        self._annotate(image, record)
        return image

    @property
    def fps(self) -> float:
        """Frames a second as they came, so that the video plays in real time."""
        seconds = self.clip_s(self.records[-1].notice.captured_at_ns) if self.records else 0.0
        return (len(self.records) - 1) / seconds if seconds > 0 else self.camera.fps

    def clip_s(self, ns: int) -> float:
        """Second of the clip."""
        return self._recording.clip_s(self.camera.name, ns)

    def _annotate(self, image: Image, record: FrameRecord) -> None:
        now_ns = record.notice.captured_at_ns
        tracks = record.tracks.tracks if record.tracks is not None else ()
        alarmed = {alert.zone for alert in self._open(now_ns)}
        for zone in self.camera.zones:
            inside = any(zone.name in track.zones for track in tracks)
            drawing.zone(image, zone.name, zone.polygon, occupied=inside, alarmed=zone.name in alarmed)
        scale = (image.shape[1] / record.notice.width_px, image.shape[0] / record.notice.height_px)
        for track in tracks:
            drawing.person(image, track, scale)
        left = f"{self.camera.name}{'  -  ' + self._note if self._note else ''}"
        drawing.head_line(image, left, f"{self.clip_s(now_ns):5.1f} s")
        self._banners(image, now_ns)

    def _banners(self, image: Image, now_ns: int) -> None:
        row = 0
        for alert in self._open(now_ns):
            colour = drawing.SEVERITY_COLOURS.get(alert.severity, drawing.AMBER)
            drawing.banner(image, f"{alert.kind.upper()}  {subject(alert)}", colour, row=row)
            row += 1
        for alert in self.alerts:
            if alert.event == "resolved" and 0 <= now_ns - alert.updated_at_ns < _RESOLVED_SHOWN_S * 1e9:
                drawing.banner(image, f"resolved: {alert.kind}  {subject(alert)}", drawing.GREEN, row=row)
                row += 1

    def _open(self, now_ns: int) -> list[Alert]:
        """Alerts open at that time, in the words of their last step until then."""
        last: dict[str, Alert] = {}
        for alert in self.alerts:
            if alert.updated_at_ns <= now_ns:
                last[alert.id] = alert
        return [alert for alert in last.values() if alert.event != "resolved"]


def subject(alert: Alert) -> str:
    """Who and where: `person 1, zone machine`."""
    who = f"person {alert.track_id}" if alert.track_id is not None else alert.camera
    return f"{who}, zone {alert.zone}" if alert.zone else who


def write_videos(scenes: Sequence[Scene], folder: Path) -> list[Path]:
    """One video for each camera, encoded side by side; returns their paths."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        written = pool.map(lambda scene: _write_video(scene, folder), scenes)
        return [path for path in written if path is not None]


def _write_video(scene: Scene, folder: Path) -> Path | None:
    """The first of CODECS that this machine has, and that is done in ENCODE_S (the last one: whenever it is)."""
    stem = folder / scene.camera.name
    for _, suffix in CODECS:
        stem.with_suffix(suffix).unlink(missing_ok=True)  # of a demo before
    deadline = time.monotonic() + ENCODE_S
    for code, suffix in CODECS:
        is_last = (code, suffix) == CODECS[-1]
        path = stem.with_suffix(suffix)
        if _encode(scene, path, code, math.inf if is_last else deadline):
            return path
        path.unlink(missing_ok=True)
    return None


def _encode(scene: Scene, path: Path, code: str, deadline: float) -> bool:
    """False when the codec is missing, there is nothing to write, or the time is over."""
    writer: cv2.VideoWriter | None = None
    size = (0, 0)
    try:
        for record in scene.records:
            image = scene.picture(record, max_width=VIDEO_WIDTH)
            if image is None:
                continue
            if writer is None:
                size = (image.shape[1], image.shape[0])
                with quiet_native():  # it says that WebM knows VP8 under another tag
                    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), scene.fps, size)
            if not writer.isOpened() or time.monotonic() > deadline:
                return False
            if (image.shape[1], image.shape[0]) == size:
                writer.write(image)
        return writer is not None
    finally:
        if writer is not None:
            writer.release()


def contact_sheet(groups: Sequence[Sequence[tuple[str, Image]]], *, title: str) -> Image:
    """Captioned pictures in rows of three under a head line with the colours' meaning; each group begins a row."""
    gap, caption, head = 14, 36, 62
    rows = [group[i : i + _COLUMNS] for group in groups for i in range(0, len(group), _COLUMNS)]
    heights = [max(_tile_height(image) for _, image in row) for row in rows]
    size = (head + sum(heights) + len(rows) * (caption + gap) + gap, _COLUMNS * (TILE_WIDTH + gap) + gap, 3)
    sheet: Image = np.empty(size, np.uint8)
    sheet[:] = drawing.INK
    drawing.text(sheet, title, (gap, 40), scale=0.85)
    _legend(sheet, 40)
    y = head
    for row, height in zip(rows, heights, strict=True):
        for column, (words, image) in enumerate(row):
            x = gap + column * (TILE_WIDTH + gap)
            sheet[y : y + height, x : x + TILE_WIDTH] = _fit(image, height)
            drawing.text(sheet, words, (x + 4, y + height + 25), scale=0.65)
        y += height + caption + gap
    return sheet


def _tile_height(image: Image) -> int:
    """Height at the tile's width; portraits are cut down to a square's."""
    return min(round(TILE_WIDTH * float(image.shape[0]) / float(image.shape[1])), TILE_WIDTH)


def _legend(sheet: Image, base: int) -> None:
    x = sheet.shape[1] - 14
    for words, colour in (("right limbs", drawing.RIGHT), ("left limbs", drawing.LEFT)):
        width = drawing.text_size(words, 0.6)[0]
        x -= width
        drawing.text(sheet, words, (x, base), scale=0.6)
        x -= 40
        cv2.line(sheet, (x, base - 6), (x + 28, base - 6), colour, 5, cv2.LINE_AA)
        x -= 24


def _fit(image: Image, height: int) -> Image:
    """The whole image in a tile, on a dark ground."""
    ratio = min(TILE_WIDTH / image.shape[1], height / image.shape[0])
    size = (round(image.shape[1] * ratio), round(image.shape[0] * ratio))
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    tile: Image = np.full((height, TILE_WIDTH, 3), (20, 15, 12), np.uint8)
    x, y = (TILE_WIDTH - size[0]) // 2, (height - size[1]) // 2
    tile[y : y + size[1], x : x + size[0]] = cv2.resize(image, size, interpolation=method)
    return tile


def write_alerts(alerts: Sequence[Alert], path: Path) -> None:
    """One JSON object per line, as on the bus."""
    path.write_text("".join(json.dumps(msgspec.to_builtins(alert)) + "\n" for alert in alerts), encoding="utf-8")
