"""The numbers of a demo: what was seen, raised, dropped and how old it was; and whether that was as promised."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from common.messages import Alert, ServiceStatus
from posebus.live import drop_reasons
from posebus.recorder import Recording

STAGES = ("people", "poses", "tracks")
FALL_WITHIN_S = 3.0
INTRUSION_WITHIN_S = 2.0
_EARLY_S = 0.25  # two frames at 8 fps: what second 0 is, is known no better


@dataclass(frozen=True)
class RaisedAlert:
    """One alert, all its steps folded. Times are seconds of the camera's clip."""

    camera: str
    kind: str
    raised_s: float
    started_s: float
    resolved_s: float | None
    severity: str
    message: str
    delay_s: float | None = None  # after the true impact or the true entry, where that is known


@dataclass
class CameraSummary:
    """What became of one camera's frames."""

    frames: int
    analysed: int
    people: int  # most at once
    people_mean: float
    tracks: int
    fps: float
    seconds: float
    ages_ms: dict[str, dict[str, float]]  # stage -> p50, p99


@dataclass
class Summary:
    """All of it."""

    cameras: dict[str, CameraSummary]
    alerts: list[RaisedAlert]
    drops: dict[str, int]  # `service: reason` -> count
    problems: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For summary.json."""
        return asdict(self)


def percentile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a share q of the values does not exceed; 0 for none."""
    if not values:
        return 0.0
    return sorted(values)[max(math.ceil(q * len(values)) - 1, 0)]


def summarise(
    recording: Recording, services: Mapping[tuple[str, str], ServiceStatus], truth: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Summary:
    """Fold a recording. truth: camera -> events of its ground truth, where there is any."""
    cameras = {camera: _camera(recording, camera) for camera in recording.frames}
    drops: Counter[str] = Counter()
    for (service, _), status in services.items():
        for reason, n in drop_reasons(status.counters).items():
            drops[f"{service}: {reason}"] += n
    alerts = fold_alerts(recording, truth)
    return Summary(cameras, alerts, dict(sorted(drops.items())))


def _camera(recording: Recording, camera: str) -> CameraSummary:
    records = recording.frames[camera]
    looked = [record.tracks for record in records if record.tracks is not None]
    seconds = recording.clip_s(camera, records[-1].notice.captured_at_ns)
    counts = [sum(track.missed_s == 0 for track in update.tracks) for update in looked]
    ages = {}
    for stage in STAGES:
        values = recording.ages_ms.get((camera, stage), [])
        ages[stage] = {"p50": round(percentile(values, 0.5), 1), "p99": round(percentile(values, 0.99), 1)}
    return CameraSummary(
        frames=len(records),
        analysed=len(looked),
        people=max(counts, default=0),
        people_mean=round(sum(counts) / len(counts), 2) if counts else 0.0,
        tracks=len({track.track_id for update in looked for track in update.tracks}),
        fps=round((len(looked) - 1) / seconds, 2) if seconds > 0 else 0.0,
        seconds=round(seconds, 2),
        ages_ms=ages,
    )


def fold_alerts(recording: Recording, truth: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[RaisedAlert]:
    """One entry for each alert id, in the order in which they were raised."""
    steps: dict[str, list[Alert]] = {}
    for alert in recording.alerts:
        steps.setdefault(alert.id, []).append(alert)
    folded = []
    for alerts in steps.values():
        first = min(alerts, key=lambda alert: alert.revision)
        resolved = next((alert for alert in alerts if alert.event == "resolved"), None)
        raised_s = recording.clip_s(first.camera, first.raised_at_ns)
        begin = _true_begin(truth.get(first.camera, ()), first.kind)
        folded.append(
            RaisedAlert(
                camera=first.camera,
                kind=first.kind,
                raised_s=round(raised_s, 2),
                started_s=round(recording.clip_s(first.camera, first.started_at_ns), 2),
                resolved_s=round(recording.clip_s(first.camera, resolved.updated_at_ns), 2) if resolved else None,
                severity=first.severity,
                message=first.message,
                delay_s=None if begin is None else round(raised_s - begin, 2),
            )
        )
    return sorted(folded, key=lambda alert: alert.raised_s)


def _true_begin(events: Sequence[Mapping[str, Any]], kind: str) -> float | None:
    """When an alert of that kind is due at the earliest: at the impact, or on entering."""
    keys = {"fall": "impact_s", "intrusion": "enter_s"}
    for event in events:
        if event.get("kind") == kind and kind in keys:
            return float(event[keys[kind]])
    return None


def work_problems(summary: Summary, expected: Sequence[str]) -> list[str]:
    """Why the main job was not done: frames must flow and people be followed. Empty when it was."""
    problems = []
    for camera in expected:
        found = summary.cameras.get(camera)
        if found is None:
            problems.append(f"camera {camera}: no frame was published")
        elif found.analysed == 0:
            problems.append(f"camera {camera}: {found.frames} frames were published, none came through")
    if not problems and not any(camera.tracks for camera in summary.cameras.values()):
        problems.append("nobody was followed")
    return problems


def promise_problems(summary: Summary, camera: str, *, dwell_s: float) -> list[str]:
    """How the built-in clips' alerts differ from exactly one fall and one intrusion, each in time. Empty when they do not."""
    problems = []
    for kind, least_s, most_s in (("fall", 0.0, FALL_WITHIN_S), ("intrusion", dwell_s, dwell_s + INTRUSION_WITHIN_S)):
        found = [alert for alert in summary.alerts if (alert.camera, alert.kind) == (camera, kind)]
        if len(found) != 1:
            times = ", ".join(f"{alert.raised_s:.1f} s" for alert in found)
            problems.append(f"{camera}: {len(found)} {kind} alerts{f' at {times}' if times else ''}, expected exactly 1")
        elif found[0].delay_s is not None and not least_s - _EARLY_S <= found[0].delay_s <= most_s + _EARLY_S:
            problems.append(
                f"{camera}: {kind} alert {found[0].delay_s:+.1f} s after its ground truth, "
                f"expected {least_s:.1f} to {most_s:.1f} s"
            )
    problems += [
        f"{alert.camera}: unexpected {alert.kind} alert at {alert.raised_s:.1f} s: {alert.message}"
        for alert in summary.alerts
        if (alert.camera, alert.kind) not in {(camera, "fall"), (camera, "intrusion")}
    ]
    return problems


def render(summary: Summary) -> RenderableType:
    """The tables that the demo prints."""
    parts: list[RenderableType] = [_camera_table(summary), _alert_table(summary)]
    if summary.drops:
        parts.append("dropped  " + "   ".join(f"{reason} {n}" for reason, n in summary.drops.items()))
    else:
        parts.append("dropped  nothing")
    return Group(*parts)


def _camera_table(summary: Summary) -> Table:
    table = Table(title="cameras; ages in ms from capture to publication, p50 / p99", title_justify="left")
    for column in ("camera", "seconds", "frames", "analysed", "fps", "people", "tracks", *STAGES):
        table.add_column(column, justify="left" if column == "camera" else "right")
    for name, camera in summary.cameras.items():
        ages = [f"{camera.ages_ms[stage]['p50']:.0f} / {camera.ages_ms[stage]['p99']:.0f}" for stage in STAGES]
        table.add_row(name, f"{camera.seconds:.1f}", str(camera.frames), str(camera.analysed), f"{camera.fps:.1f}",
                      str(camera.people), str(camera.tracks), *ages)  # fmt: skip
    return table


def _alert_table(summary: Summary) -> Table:
    table = Table(title="alerts; times in seconds of the clip", title_justify="left")
    for column in ("camera", "alert", "raised", "resolved", "after the truth", "message"):
        table.add_column(column, overflow="fold")
    for alert in summary.alerts:
        resolved = "open" if alert.resolved_s is None else f"{alert.resolved_s:.1f}"
        delay = "" if alert.delay_s is None else f"{alert.delay_s:+.1f} s"
        table.add_row(alert.camera, alert.kind, f"{alert.raised_s:.1f}", resolved, delay, alert.message)
    if not summary.alerts:
        table.add_row("-", "none", "", "", "", "")
    return table
