"""From rule steps to alerts: ids that are the same wherever they are made, sentences, revisions."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timezone

from msgspec.structs import replace

from common.messages import Alert, Box
from services.analytics import fall
from services.analytics.tracker import Tracked
from services.analytics.zones import Visit

NAMESPACE = uuid.UUID("6a1cbf0e-6f7e-5d8e-9d0b-7f3f5b1f5c11")

Evidence = dict[str, float | int | str | bool]


@dataclass(frozen=True)
class Moment:
    """The frame that causes an alert step."""

    site: str
    camera: str
    seq: int
    captured_at_ns: int
    width_px: int
    height_px: int


def alert_id(site: str, camera: str, kind: str, track_id: int, started_at_ns: int, zone: str = "") -> str:
    """The same for the same event, so a replica that repeats a step after a crash says the same and nothing is doubled."""
    return str(uuid.uuid5(NAMESPACE, f"{site}/{camera}/{kind}/{track_id}/{started_at_ns}/{zone}"))


def raise_fall(moment: Moment, person: fall.Person, track: Tracked | None, started_at_ns: int) -> Alert:
    """A person lies on the floor after a fall."""
    values = fall.evidence(person)
    speed, drop = values["speed_body_lengths_s"], values["neck_drop_body_lengths"]
    how = "has not been seen to get up" if person.vanished else "lies on the floor"
    message = (
        f"Person {person.track_id} fell in view of camera {moment.camera}: came down {drop:.2f} body lengths at "
        f"{speed:.1f} body lengths/s and {how}."
    )
    return _raised(moment, "fall", "critical", message, person.track_id, started_at_ns, None, track, values)


def raise_intrusion(
    moment: Moment, visit: Visit, severity: str, dwell_s: float, track: Tracked | None, started_at_ns: int
) -> Alert:
    """A person stays in a restricted zone."""
    inside_s = (visit.inside_ns - visit.entered_ns) / 1e9
    message = (
        f"Person {visit.track_id} has been in restricted zone {visit.zone} of camera {moment.camera} for {inside_s:.1f} s."
    )
    values: Evidence = {"inside_s": round(inside_s, 3), "dwell_s": dwell_s}
    return _raised(moment, "intrusion", severity, message, visit.track_id, started_at_ns, visit.zone, track, values)


def resolve(moment: Moment, alert: Alert, reason: str) -> Alert:
    """The last step of an alert's life."""
    what = "Fall" if alert.kind == "fall" else f"Intrusion into zone {alert.zone}"
    message = f"{what} of person {alert.track_id} in view of camera {moment.camera} is over: {reason}."
    return replace(
        alert, revision=alert.revision + 1, event="resolved", message=message, reason=reason,
        updated_at_ns=moment.captured_at_ns, seq=moment.seq,
    )  # fmt: skip


def update_fall(moment: Moment, person: fall.Person, track: Tracked | None) -> Alert:
    """The fallen person is followed under another track id."""
    alert = person.alert
    assert alert is not None
    box, norm = _boxes(moment, track)
    message = (
        f"Person {alert.track_id}, who fell in view of camera {moment.camera}, is now followed as person {person.track_id}."
    )
    return replace(
        alert, revision=alert.revision + 1, event="updated", message=message, track_id=person.track_id,
        updated_at_ns=moment.captured_at_ns, seq=moment.seq, box_xyxy_px=box, box_xyxy_norm=norm,
        evidence={**alert.evidence, "handed_from_track": person.handed_from},
    )  # fmt: skip


def _raised(
    moment: Moment, kind: str, severity: str, message: str, track_id: int, started_at_ns: int, zone: str | None,
    track: Tracked | None, values: Evidence,
) -> Alert:  # fmt: skip
    box, norm = _boxes(moment, track)
    raised = datetime.fromtimestamp(moment.captured_at_ns // 1_000_000 / 1e3, tz=timezone.utc)
    return Alert(
        id=alert_id(moment.site, moment.camera, kind, track_id, started_at_ns, zone or ""), revision=1,
        site=moment.site, camera=moment.camera, kind=kind, event="raised", severity=severity, message=message,
        raised_at=raised.isoformat(timespec="milliseconds").replace("+00:00", "Z"), started_at_ns=started_at_ns,
        raised_at_ns=moment.captured_at_ns, updated_at_ns=moment.captured_at_ns, seq=moment.seq, track_id=track_id,
        zone=zone, box_xyxy_px=box, box_xyxy_norm=norm, evidence=values,
    )  # fmt: skip


def _boxes(moment: Moment, track: Tracked | None) -> tuple[Box | None, Box | None]:
    """The last seen box in pixels and as part of the frame."""
    if track is None:
        return None, None
    x0, y0, x1, y1 = track.box
    width, height = max(moment.width_px, 1), max(moment.height_px, 1)
    return track.box, (x0 / width, y0 / height, x1 / width, y1 / height)
