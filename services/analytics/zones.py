"""Zones on the floor: who is inside, for how long, and who should not be.

A person is where the feet are. A visit starts with the first frame inside and ends after half a second outside, so a foot
point that flickers across the border makes one visit and one alert.
"""

from __future__ import annotations

from msgspec import Struct

from common.config import PointNorm, ZoneSettings
from common.messages import Alert

LEAVE_S = 0.5
COUNT_S = 0.2  # inside for so long to be counted: somebody who only grazes the border is not
LOOK_S = 0.5  # one frame counts for so much looking at most


class Visit(Struct):
    """One person in one zone."""

    track_id: int
    zone: str
    entered_ns: int
    inside_ns: int  # last time seen inside
    outside_s: float = 0.0  # time looked at with the person outside
    alert: Alert | None = None


class ZoneStep(Struct):
    """An intrusion raised or resolved."""

    event: str
    visit: Visit
    reason: str | None = None


class ZoneRule:
    """Visits of one camera; `visits` is all it knows."""

    def __init__(self, zones: tuple[ZoneSettings, ...], visits: list[Visit] | None = None) -> None:
        self.zones = zones
        self.visits: list[Visit] = visits if visits is not None else []

    def update(
        self, now_ns: int, elapsed_s: float, feet: dict[int, tuple[float, float]], ended: frozenset[int]
    ) -> list[ZoneStep]:
        """Take one frame. feet: track id -> foot point, 0..1 of the frame, of those seen; ended: tracks that are over."""
        visits = {(visit.track_id, visit.zone): visit for visit in self.visits}
        for zone in self.zones:
            for track_id, foot in feet.items():
                visit = visits.get((track_id, zone.name))
                if contains(zone.polygon, foot):
                    if visit is None:
                        visit = Visit(track_id=track_id, zone=zone.name, entered_ns=now_ns, inside_ns=now_ns)
                        self.visits.append(visit)
                    visit.inside_ns, visit.outside_s = now_ns, 0.0
                elif visit is not None:
                    visit.outside_s += min(elapsed_s, LOOK_S)
        return self._leave(ended) + self._raise(now_ns)

    def configure(self, zones: tuple[ZoneSettings, ...]) -> list[ZoneStep]:
        """Take new zones; visits of zones that stay go on, also when their polygon changed."""
        kinds = {zone.name: zone.kind for zone in zones}
        steps = []
        for visit in [visit for visit in self.visits if visit.alert is not None]:
            if kinds.get(visit.zone) != "restricted":
                reason = "zone removed" if visit.zone not in kinds else "zone no longer restricted"
                steps.append(ZoneStep("resolved", visit, reason))
        self.zones = zones
        self.visits = [visit for visit in self.visits if visit.zone in kinds]
        return steps

    def inside(self, track_id: int) -> tuple[str, ...]:
        """Names of the zones that this person is in."""
        return tuple(sorted(visit.zone for visit in self.visits if visit.track_id == track_id and counts(visit)))

    def present(self, zone: str) -> list[Visit]:
        """The people in one zone, by track id."""
        return sorted((v for v in self.visits if v.zone == zone and counts(v)), key=lambda visit: visit.track_id)

    def _leave(self, ended: frozenset[int]) -> list[ZoneStep]:
        steps, stay = [], []
        for visit in self.visits:
            is_lost, has_left = visit.track_id in ended, visit.outside_s >= LEAVE_S
            if not (is_lost or has_left):
                stay.append(visit)
            elif visit.alert is not None:
                steps.append(ZoneStep("resolved", visit, "left" if has_left else "lost"))
        self.visits = stay
        return steps

    def _raise(self, now_ns: int) -> list[ZoneStep]:
        dwell_ns = {zone.name: zone.dwell_s * 1e9 for zone in self.zones if zone.kind == "restricted"}
        return [
            ZoneStep("raised", visit)
            for visit in self.visits
            if visit.alert is None
            and visit.zone in dwell_ns
            and visit.inside_ns == now_ns
            and now_ns - visit.entered_ns >= dwell_ns[visit.zone]
        ]


def counts(visit: Visit) -> bool:
    """Whether a visit has lasted long enough to be told of."""
    return visit.inside_ns - visit.entered_ns >= COUNT_S * 1e9


def contains(polygon: tuple[PointNorm, ...], point: tuple[float, float]) -> bool:
    """Whether a point lies in a polygon (even-odd rule)."""
    x, y = point
    inside = False
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            inside = not inside
    return inside
