"""Everything that is known of one camera: tracks, rules, alerts. Pure: no clock, no store, no bus.

All times come from the frames, so a recording gives the same alerts however fast it is played, and `dump`/`load` at any
frame continue exactly; that is what lets another replica take over.
"""

from __future__ import annotations

import logging
from collections import Counter

import msgspec
from msgspec import Struct, field

from common.config import AnalyticsSettings, CameraSettings
from common.messages import Alert, Box, Occupancy, PosedPerson, PosesFound, RuleState, Track
from services.analytics import alerts as say
from services.analytics import posture
from services.analytics.alerts import Moment
from services.analytics.fall import FallRule, Person, Step
from services.analytics.tracker import Tracked, Tracker, TrackerState
from services.analytics.zones import Visit, ZoneRule, ZoneStep

log = logging.getLogger(__name__)

SILENT_S = 10.0  # no frame for so long: who was there may have gone
REPEAT_S = 5.0  # occupancy with people in it is said again so often, for the dwell time
OCCUPANCY_S = 1.0  # and never more often than that
IDS_AFTER_LOSS = 1_577_836_800  # 2020-01-01: seconds since then start the ids of a camera whose state was lost


class Said(Struct):
    """What was last said of the occupancy of one zone."""

    at_ns: int
    track_ids: tuple[int, ...]


class State(Struct, tag="camera-state/1"):
    """What `dump` writes. Another tag is another layout: it does not decode, and the camera starts afresh."""

    seq: int = 0
    captured_at_ns: int = 0
    time_ns: int = 0  # of this pipeline: captured_at_ns + shift_ns, never going back
    shift_ns: int = 0
    width_px: int = 0
    height_px: int = 0
    fresh_ids: bool = False
    is_silent: bool = False
    tracker: TrackerState = field(default_factory=TrackerState)
    people: dict[int, Person] = {}
    visits: list[Visit] = []
    states: dict[str, RuleState] = {}
    said: dict[str, Said] = {}
    counters: dict[str, int] = {}


class Outcome(Struct):
    """What one step gave."""

    tracks: tuple[Track, ...] = ()
    alerts: list[Alert] = []
    states: list[RuleState] = []
    occupancy: list[Occupancy] = []
    cleared_zones: list[str] = []  # zones whose occupancy topic is to be cleared
    changed: bool = False  # a rule moved on: worth a commit at once


class CameraPipeline:
    """Analytics of one camera."""

    def __init__(self, site: str, camera: CameraSettings, settings: AnalyticsSettings) -> None:
        self._site = site
        self._camera = camera
        self._settings = settings
        self._restore(State())

    @property
    def seq(self) -> int:
        """Of the last frame taken."""
        return self._state.seq

    @property
    def captured_at_ns(self) -> int:
        return self._state.captured_at_ns

    @property
    def counters(self) -> Counter[str]:
        return self._counters

    def dump(self) -> bytes:
        """All that is needed to go on from here."""
        state = self._state
        state.people, state.visits = self._fall.people, self._zones.visits
        state.counters = dict(self._counters)
        return msgspec.msgpack.encode(state)

    def load(self, data: bytes) -> bool:
        """Go on from a dump. False, logged: it does not decode, and the camera starts afresh with ids never used."""
        try:
            self._restore(msgspec.msgpack.decode(data, type=State))
        except (msgspec.DecodeError, RecursionError) as error:
            log.warning("event=state_unreadable camera=%s bytes=%d error=%s", self._camera.name, len(data), error)
            self._restore(State(fresh_ids=True))
            return False
        return True

    def update(self, poses: PosesFound) -> Outcome:
        """Take one frame; frames come in the order of their numbers."""
        state = self._state
        elapsed_s = self._advance(poses)
        before = self._rules()
        ended = self._tracker.update(state.time_ns, self._sane(poses), self._fall.kept())
        tracks = {track.track_id: track for track in self._tracker.confirmed()}
        seen = [track for track in tracks.values() if track.seen_now]
        postures = posture.measure(
            state.time_ns, [t.box for t in seen], [t.keypoints for t in seen], poses.width_px, poses.height_px
        )
        by_id = {track.track_id: found for track, found in zip(seen, postures, strict=True)}
        over = frozenset(track.track_id for track in ended)
        outcome = Outcome()
        if self._camera.fall:
            fallers = {t.track_id: (t.born_ns, by_id[t.track_id]) for t in seen}
            self._say_falls(self._fall.update(state.time_ns, elapsed_s, fallers, over), tracks, outcome)
        feet = {
            track_id: (found.foot_x / max(poses.width_px, 1), found.foot_y / max(poses.height_px, 1))
            for track_id, found in by_id.items()
        }
        gone = over | {t.track_id for t in tracks.values() if t.unseen_s > 3.0}
        self._say_zones(self._zones.update(state.time_ns, elapsed_s, feet, gone), tracks, outcome)
        outcome.tracks = tuple(self._publishable(track) for track in tracks.values())
        outcome.changed = self._rules() != before
        return self._finish(outcome)

    def tick(self, now_ns: int) -> Outcome:
        """What happens without frames: after SILENT_S nobody is known to be in a zone any more. Falls stay open."""
        outcome, state = Outcome(), self._state
        if state.captured_at_ns and not state.is_silent and now_ns - state.captured_at_ns > SILENT_S * 1e9:
            state.is_silent = True
            steps = [ZoneStep("resolved", visit, "camera silent") for visit in self._zones.visits if visit.alert]
            self._say_zones(steps, {}, outcome)
            self._zones.visits.clear()
            return self._finish(outcome, force=True)
        return outcome

    def configure(self, camera: CameraSettings, settings: AnalyticsSettings) -> Outcome:
        """Apply settings between two frames; tracks go on. Call it after `load` too: settings may be newer than a dump."""
        outcome = Outcome()
        if not camera.fall:
            self._say_falls(self._fall.close("fall detection switched off"), {}, outcome)
        before = set(self._state.said)
        self._camera, self._settings = camera, settings
        self._fall.settings = settings.fall
        self._say_zones(self._zones.configure(camera.zones), {}, outcome)
        outcome.cleared_zones = sorted(before - {zone.name for zone in camera.zones})
        for zone in outcome.cleared_zones:
            self._state.said.pop(zone, None)
        return self._finish(outcome, force=True)

    def close(self, reason: str) -> Outcome:
        """The camera is no longer watched: resolve everything."""
        outcome = Outcome(cleared_zones=sorted(zone.name for zone in self._camera.zones))
        self._say_falls(self._fall.close(reason), {}, outcome)
        self._say_zones([ZoneStep("resolved", visit, reason) for visit in self._zones.visits if visit.alert], {}, outcome)
        self._zones.visits.clear()
        return outcome

    def _restore(self, state: State) -> None:
        self._state = state
        self._tracker = Tracker(state.tracker)
        self._fall = FallRule(self._settings.fall, state.people)
        self._zones = ZoneRule(self._camera.zones, state.visits)
        self._counters = Counter(state.counters)

    def _advance(self, poses: PosesFound) -> float:
        """Move the time on; returns the seconds since the frame before."""
        state = self._state
        now_ns = poses.captured_at_ns + state.shift_ns
        if state.time_ns and now_ns <= state.time_ns:
            # The camera's clock was set back: its time goes on from where it was, and timers with it.
            self._counters["clock_set_back"] += 1
            state.shift_ns += state.time_ns + 1_000_000 - now_ns
            now_ns = state.time_ns + 1_000_000
        elapsed_s = (now_ns - state.time_ns) / 1e9 if state.time_ns else 0.0
        if state.fresh_ids:
            state.tracker.next_id = max(1, poses.captured_at_ns // 1_000_000_000 - IDS_AFTER_LOSS)
            state.fresh_ids = False
        state.time_ns, state.seq, state.captured_at_ns = now_ns, poses.seq, poses.captured_at_ns
        state.width_px, state.height_px, state.is_silent = poses.width_px, poses.height_px, False
        self._counters["frames"] += 1
        return elapsed_s

    def _sane(self, poses: PosesFound) -> tuple[PosedPerson, ...]:
        """People with a real box: one that is not a number would poison the filters for ever."""
        far = 4.0 * max(poses.width_px, poses.height_px, 1)
        sane = tuple(person for person in poses.people if _is_box(person.box_xyxy_px, far))
        self._counters["bad_boxes"] += len(poses.people) - len(sane)
        return sane

    def _rules(self) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """Where each rule stands, to see whether it moved on."""
        people = [(p.track_id, p.state) for p in self._fall.people.values() if p.state != "normal"]
        return people, [(visit.track_id, visit.zone) for visit in self._zones.visits]

    def _moment(self) -> Moment:
        state = self._state
        return Moment(
            self._site, self._camera.name, state.seq, state.captured_at_ns, state.width_px, state.height_px
        )  # fmt: skip

    def _say_falls(self, steps: list[Step], tracks: dict[int, Tracked], outcome: Outcome) -> None:
        moment = self._moment()
        for step in steps:
            person, track = step.person, tracks.get(step.person.track_id)
            if step.event == "raised" and person.alert is None and person.fall is not None:
                started_ns = person.fall.onset_ns - self._state.shift_ns
                person.alert = say.raise_fall(moment, person, track, started_ns)
                outcome.alerts.append(person.alert)
            elif step.event == "updated" and person.alert is not None:
                person.alert = say.update_fall(moment, person, track)
                outcome.alerts.append(person.alert)
            elif step.event == "resolved" and person.alert is not None:
                outcome.alerts.append(say.resolve(moment, person.alert, step.reason or "over"))
                person.alert = None

    def _say_zones(self, steps: list[ZoneStep], tracks: dict[int, Tracked], outcome: Outcome) -> None:
        moment = self._moment()
        zones = {zone.name: zone for zone in self._camera.zones}
        for step in steps:
            visit = step.visit
            if step.event == "raised":
                zone, track = zones[visit.zone], tracks.get(visit.track_id)
                started_ns = visit.entered_ns - self._state.shift_ns
                visit.alert = say.raise_intrusion(moment, visit, zone.severity, zone.dwell_s, track, started_ns)
                outcome.alerts.append(visit.alert)
            elif visit.alert is not None:
                outcome.alerts.append(say.resolve(moment, visit.alert, step.reason or "over"))
                visit.alert = None

    def _publishable(self, track: Tracked) -> Track:
        person = self._fall.people.get(track.track_id) if self._camera.fall else None
        return Track(
            track_id=track.track_id, box_xyxy_px=track.box, score=track.score, keypoints_px=track.keypoints,
            age_s=(self._state.time_ns - track.born_ns) / 1e9, missed_s=(self._state.time_ns - track.seen_ns) / 1e9,
            state=person.state if person is not None else "normal", zones=self._zones.inside(track.track_id),
        )  # fmt: skip

    def _finish(self, outcome: Outcome, *, force: bool = False) -> Outcome:
        self._counters["alerts_raised"] += sum(alert.event == "raised" for alert in outcome.alerts)
        self._say_states(outcome, force=force)
        self._say_occupancy(outcome, force=force)
        return outcome

    def _say_states(self, outcome: Outcome, *, force: bool) -> None:
        """States of the rules that are on, where something changed; force: all of them, as they may never have been heard."""
        falls = sorted(p.alert.id for p in self._fall.people.values() if p.alert is not None)
        visits = sorted(v.alert.id for v in self._zones.visits if v.alert is not None)
        watched = {"fall": self._camera.fall, "intrusion": any(z.kind == "restricted" for z in self._camera.zones)}
        for kind, ids in (("fall", falls), ("intrusion", visits)):
            before = self._state.states.get(kind)
            if before is None and not watched[kind]:
                continue
            if before is not None and before.alerts == tuple(ids):
                if force:
                    outcome.states.append(before)
                continue
            stays = before is not None and before.active == bool(ids)
            since_ns = before.since_ns if before is not None and stays else self._state.captured_at_ns
            state = RuleState(
                camera=self._camera.name, kind=kind, active=bool(ids), since_ns=since_ns, alerts=tuple(ids),
                detail={"open": len(ids)},
            )  # fmt: skip
            self._state.states[kind] = state
            outcome.states.append(state)

    def _say_occupancy(self, outcome: Outcome, *, force: bool) -> None:
        state = self._state
        for zone in self._camera.zones:
            present = self._zones.present(zone.name)
            ids = tuple(visit.track_id for visit in present)
            said = state.said.get(zone.name)
            since_s = (state.time_ns - said.at_ns) / 1e9 if said is not None else REPEAT_S
            changed = said is None or said.track_ids != ids
            if not (changed and (force or since_s >= OCCUPANCY_S)) and not (ids and since_s >= REPEAT_S):
                continue
            state.said[zone.name] = Said(state.time_ns, ids)
            longest_s = max(((state.time_ns - visit.entered_ns) / 1e9 for visit in present), default=0.0)
            outcome.occupancy.append(
                Occupancy(
                    camera=self._camera.name, zone=zone.name, count=len(ids), longest_dwell_s=round(longest_s, 3),
                    updated_at_ns=state.captured_at_ns, track_ids=ids,
                )
            )  # fmt: skip


def _is_box(box: Box, far: float) -> bool:
    x0, y0, x1, y1 = box
    return -far <= x0 < x1 <= far and -far <= y0 < y1 <= far  # False where a number is none
