"""Chooses the key moments of a recording for the contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from common.messages import Track
from posebus.drawing import Image
from posebus.recorder import FrameRecord
from posebus.scenes import TILE_WIDTH, Scene


def story(scene: Scene) -> list[tuple[str, Image]]:
    """Six moments of the rendered clip: start, intrusion, falling, fall alert, lying, up again; those that happened."""
    raised = {alert.kind: alert.raised_at_ns for alert in scene.alerts if alert.event == "raised"}
    resolved = {alert.kind: alert.updated_at_ns for alert in scene.alerts if alert.event == "resolved"}
    seen = [record for record in scene.records if record.tracks is not None and record.tracks.tracks]
    wanted: list[tuple[str, FrameRecord | None]] = [
        ("person found", _first(seen, lambda record: record.notice.seq >= seen[0].notice.seq + 8)),
        ("intrusion alert", _at(scene.records, raised.get("intrusion"))),
        ("falling", _at(scene.records, _mid_fall_ns(scene, seen))),
        ("fall alert", _at(scene.records, raised.get("fall"))),
        ("lying", _middle(seen, "fallen")),
        ("fall resolved", _at(scene.records, resolved.get("fall"))),
    ]
    return _pictures(scene, wanted)


def samples(scene: Scene, count: int) -> list[tuple[str, Image]]:
    """Evenly spread moments with people in them, or of the whole clip when nobody was found."""
    records = [record for record in scene.records if record.jpeg and record.tracks and record.tracks.tracks]
    records = records or [record for record in scene.records if record.jpeg]
    if not records:
        return []
    step = len(records) / count
    chosen = [records[int((i + 0.5) * step)] for i in range(min(count, len(records)))]
    return _pictures(scene, [(_people(record), record) for record in chosen])


def _people(record: FrameRecord) -> str:
    count = sum(track.missed_s == 0 for track in record.tracks.tracks) if record.tracks else 0
    return {0: "nobody", 1: "one person"}.get(count, f"{count} people")


def _pictures(scene: Scene, wanted: Sequence[tuple[str, FrameRecord | None]]) -> list[tuple[str, Image]]:
    found = []
    for words, record in wanted:
        image = scene.picture(record, max_width=TILE_WIDTH) if record is not None else None
        if record is not None and image is not None:
            found.append((f"{scene.camera.name} {scene.clip_s(record.notice.captured_at_ns):.1f} s: {words}", image))
    return found


def _mid_fall_ns(scene: Scene, seen: Sequence[FrameRecord]) -> int | None:
    """Between the beginning of the fall, as told by its alert, and the first frame that is known to show it."""
    falling = _first(seen, lambda record: _has_state(record, "falling"))
    if falling is None:
        return None
    began = [a.started_at_ns for a in scene.alerts if a.kind == "fall" and a.started_at_ns < falling.notice.captured_at_ns]
    return (began[0] + falling.notice.captured_at_ns) // 2 if began else falling.notice.captured_at_ns


def _first(records: Sequence[FrameRecord], test: Callable[[FrameRecord], bool]) -> FrameRecord | None:
    return next((record for record in records if test(record)), None)


def _at(records: Sequence[FrameRecord], ns: int | None) -> FrameRecord | None:
    """The frame with a picture that is nearest to a time."""
    with_pictures = [record for record in records if record.jpeg is not None]
    if ns is None or not with_pictures:
        return None
    return min(with_pictures, key=lambda record: abs(record.notice.captured_at_ns - ns))


def _middle(records: Sequence[FrameRecord], state: str) -> FrameRecord | None:
    """A third into the time that somebody was in that state."""
    there = [record for record in records if record.jpeg is not None and _has_state(record, state)]
    return there[len(there) // 3] if there else None


def _has_state(record: FrameRecord, state: str) -> bool:
    tracks: tuple[Track, ...] = record.tracks.tracks if record.tracks is not None else ()
    return any(track.state == state for track in tracks)
