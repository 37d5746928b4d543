"""The fall rule: normal -> falling -> fallen -> recovered -> normal, for each person.

`falling`: came down fast into a lying posture. `fallen`: stayed down, still; this is what raises. Detectors often lose
people on the floor, so a person who vanishes while `falling`, inside the picture, has fallen too, and the memory of one
who lies there is kept although nobody is seen, until somebody is seen at that place again.
"""

from __future__ import annotations

from msgspec import Struct

from common.config import FallSettings
from common.messages import Alert
from services.analytics import descent
from services.analytics.descent import Descent
from services.analytics.posture import TORSO, Posture, stature

HISTORY_S = 2.0  # of postures; longer than descent.WINDOW_S and GAP_S
BODY_EVERY_S, BODY_SAMPLES, BODY_QUANTILE = 0.1, 30, 0.8  # stature is learnt from 3 s of being upright
BODY_OLD_S = 10.0  # a stature that was not seen for so long is learnt anew
BODY_MIN = 3  # samples before a stature is believed
STILL = 0.2  # body lengths; keypoints of somebody lying jitter by about half of it
MOVING_S = 1.5  # who stays down that much longer is helpless although moving
CANCEL_S = 0.5  # up again for so long: it was no fall
VANISH_MARGIN_S = 0.5
FORGET_S = 300.0  # a fallen person who was not seen for so long is resolved as not seen
RECOVERED_S = 5.0  # how long `recovered` is shown
GLITCH_S = 0.3  # a single bad skeleton stops no timer
HANDOVER = 1.0  # body lengths around a person who vanished
HANDOVER_BEFORE_S = 0.5  # the new track may be born so long before the old one was last seen
LOOK_S = 0.5  # one frame counts for so much looking at most


class Person(Struct):
    """What the rule remembers of one track."""

    track_id: int
    born_ns: int
    state: str = "normal"
    since_ns: int = 0
    samples: list[Posture] = []
    bodies: list[tuple[int, float]] = []
    body_px: float = 0.0
    unseen_s: float = 0.0
    fall: Descent | None = None
    impact_ns: int = 0
    still_since_ns: int = 0
    anchor: tuple[float, float] = (0.0, 0.0)
    up_since_ns: int = 0  # 0: not up
    down_seen_ns: int = 0
    vanished: bool = False  # confirmed by not being seen
    handed_from: int = 0
    alert: Alert | None = None


class Step(Struct):
    """Something to say about a person: raised, updated or resolved."""

    event: str
    person: Person
    reason: str | None = None


class FallRule:
    """Falls of one camera; `people` (track id -> Person) is all it knows."""

    def __init__(self, settings: FallSettings, people: dict[int, Person] | None = None) -> None:
        self.settings = settings
        self.people: dict[int, Person] = people if people is not None else {}

    def update(
        self, now_ns: int, elapsed_s: float, seen: dict[int, tuple[int, Posture]], ended: frozenset[int]
    ) -> list[Step]:
        """Take one frame. seen: track id -> (birth, posture) of those in this frame; ended: tracks that are over."""
        steps: list[Step] = []
        for track_id, (born_ns, posture) in seen.items():
            person = self.people.setdefault(track_id, Person(track_id=track_id, born_ns=born_ns))
            person.unseen_s = 0.0
            self._remember(person, posture)
        steps += self._hand_over(seen)
        for track_id in seen:
            steps += self._seen(now_ns, self.people[track_id])
        for person in [p for p in self.people.values() if p.track_id not in seen]:
            person.unseen_s += min(elapsed_s, LOOK_S)
            steps += self._unseen(now_ns, person, person.track_id in ended)
        return steps

    def kept(self) -> frozenset[int]:
        """Tracks to hold although unseen: somebody may lie there."""
        return frozenset(p.track_id for p in self.people.values() if p.state in ("falling", "fallen"))

    def close(self, reason: str) -> list[Step]:
        """Forget everybody; open alerts are resolved."""
        people, self.people = list(self.people.values()), {}
        return [Step("resolved", person, reason) for person in people if person.alert is not None]

    def _remember(self, person: Person, posture: Posture) -> None:
        oldest_ns = posture.t_ns - round(HISTORY_S * 1e9)
        person.samples = [s for s in person.samples if s.t_ns >= oldest_ns]
        person.samples.append(posture)
        learnt_ns = person.bodies[-1][0] if person.bodies else 0
        if posture.t_ns - learnt_ns > BODY_OLD_S * 1e9:
            person.bodies = []
        # Somebody who lies along the view looks upright and small: that is no stature to learn.
        short = bool(person.bodies) and descent.is_shortened(posture, person.body_px)
        upright = posture.tilt_deg is not None and posture.tilt_deg < 30.0
        standing = upright and not short and person.state in ("normal", "recovered")
        size = stature(posture) if standing and posture.t_ns - learnt_ns >= BODY_EVERY_S * 0.99e9 else None
        if size is not None:
            person.bodies = [*person.bodies[1 - BODY_SAMPLES :], (posture.t_ns, size)]
            ordered = sorted(value for _, value in person.bodies)
            person.body_px = ordered[int(BODY_QUANTILE * (len(ordered) - 1) + 0.5)]

    def _seen(self, now_ns: int, person: Person) -> list[Step]:
        if person.state == "falling":
            return self._while_falling(now_ns, person)
        if person.state == "fallen":
            return self._while_fallen(now_ns, person)
        if person.state == "recovered" and now_ns - person.since_ns > RECOVERED_S * 1e9:
            self._enter(person, "normal", now_ns)
        if len(person.bodies) >= BODY_MIN:
            person.fall = descent.find_descent(person.samples, person.body_px)
            if person.fall is not None:
                self._enter(person, "falling", now_ns)
                person.impact_ns = person.still_since_ns = person.down_seen_ns = now_ns
                person.anchor = (person.samples[-1].x, person.samples[-1].y)
        return []

    def _while_falling(self, now_ns: int, person: Person) -> list[Step]:
        posture, fall = person.samples[-1], person.fall
        assert fall is not None
        fall.neck_drop = max(fall.neck_drop, (posture.neck_y - fall.neck_from_y) / person.body_px)
        fall.speed = max(fall.speed, descent.fastest(person.samples, person.body_px, across_holes=False))
        if self._is_down(person, posture):
            person.down_seen_ns = now_ns
        elif now_ns - person.down_seen_ns >= CANCEL_S * 1e9:
            self._enter(person, "normal", now_ns)
            person.samples = person.samples[-1:]
            return []
        x, y = person.anchor
        if max(abs(posture.x - x), abs(posture.y - y)) > STILL * person.body_px:
            person.anchor, person.still_since_ns = (posture.x, posture.y), now_ns
        is_still = now_ns - person.still_since_ns >= self.settings.still_s * 1e9
        is_long = now_ns - person.impact_ns >= (self.settings.still_s + MOVING_S) * 1e9
        if person.down_seen_ns == now_ns and (is_still or is_long):
            return self._confirm(now_ns, person)
        return []

    def _is_down(self, person: Person, posture: Posture) -> bool:
        """Still on the floor, after a fall: looser than what it takes to get there."""
        assert person.fall is not None
        needed = descent.SHORT_NECK_DROP if person.fall.shortened else descent.NECK_DROP - 0.1
        low = (posture.neck_y - person.fall.neck_from_y) / person.body_px >= needed
        shape = descent.is_lying(posture, person.body_px) or descent.is_shortened(posture, person.body_px)
        return shape or (low and not descent.is_upright(posture, person.body_px))

    def _while_fallen(self, now_ns: int, person: Person) -> list[Step]:
        if descent.is_upright(person.samples[-1], person.body_px):
            person.up_since_ns = person.up_since_ns or now_ns
            person.down_seen_ns = 0
            if now_ns - person.up_since_ns >= self.settings.recover_s * 1e9:
                self._enter(person, "recovered", now_ns)
                return [Step("resolved", person, "recovered")]
            return []
        person.down_seen_ns = person.down_seen_ns or now_ns
        if now_ns - person.down_seen_ns >= GLITCH_S * 1e9:
            person.up_since_ns = 0
        return []

    def _unseen(self, now_ns: int, person: Person, is_over: bool) -> list[Step]:
        last = person.samples[-1]
        if person.state == "falling":
            if person.unseen_s < self.settings.still_s + VANISH_MARGIN_S:
                return []
            if not last.cut and self._is_down(person, last):
                person.vanished = True
                return self._confirm(now_ns, person)
            self._enter(person, "normal", now_ns)  # left the picture; nothing is known of stillness
            return []
        if person.state == "fallen":
            if person.unseen_s < FORGET_S and not (last.cut and person.up_since_ns and is_over_retention(person)):
                return []
            reason = "left" if person.unseen_s < FORGET_S else f"not seen for {FORGET_S:.0f} s"
            del self.people[person.track_id]
            return [Step("resolved", person, reason)]
        if is_over:
            del self.people[person.track_id]
        return []

    def _confirm(self, now_ns: int, person: Person) -> list[Step]:
        self._enter(person, "fallen", now_ns)
        person.up_since_ns = person.down_seen_ns = 0
        return [Step("raised", person)]

    def _enter(self, person: Person, state: str, now_ns: int) -> None:
        person.state, person.since_ns = state, now_ns

    def _hand_over(self, seen: dict[int, tuple[int, Posture]]) -> list[Step]:
        """A new track where a falling or fallen person vanished is that person under another id."""
        steps: list[Step] = []
        ghosts = [p for p in self.people.values() if p.state in ("falling", "fallen") and p.track_id not in seen]
        for ghost in ghosts:
            last = ghost.samples[-1]
            since_ns = last.t_ns - round(HANDOVER_BEFORE_S * 1e9)
            near: list[tuple[float, Person]] = []
            for track_id, (born_ns, posture) in seen.items():
                person = self.people[track_id]
                apart = max(abs(posture.x - last.x), abs(posture.y - last.y))
                if person.state == "normal" and born_ns >= since_ns and apart <= HANDOVER * ghost.body_px:
                    near.append((apart, person))
            if near:
                heir = min(near, key=lambda pair: (pair[0], pair[1].track_id))[1]
                self._inherit(ghost, heir)
                steps += [Step("updated", heir)] if heir.alert is not None else []
        return steps

    def _inherit(self, ghost: Person, heir: Person) -> None:
        del self.people[ghost.track_id]
        for name in ("state", "since_ns", "bodies", "body_px", "fall", "impact_ns", "vanished", "alert"):
            setattr(heir, name, getattr(ghost, name))
        last = heir.samples[-1]
        heir.still_since_ns, heir.anchor = ghost.still_since_ns, (last.x, last.y)
        heir.up_since_ns, heir.down_seen_ns, heir.handed_from = 0, last.t_ns, ghost.track_id


def is_over_retention(person: Person) -> bool:
    """Unseen for longer than anything that walks behind something."""
    return person.unseen_s > 3.0


def evidence(person: Person) -> dict[str, float | int | str | bool]:
    """The values behind a fall alert."""
    fall = person.fall
    assert fall is not None
    values: dict[str, float | int | str | bool] = {
        "neck_drop_body_lengths": round(fall.neck_drop, 3),
        "hip_drop_body_lengths": round(fall.hip_drop, 3),
        "speed_body_lengths_s": round(fall.speed, 3),
        "descent_s": round((person.impact_ns - fall.onset_ns) / 1e9, 3),
        "body_px": round(person.body_px, 1),
        "torso_px": round(person.body_px * TORSO, 1),
        "still_s": round((person.since_ns - person.still_since_ns) / 1e9, 3),
        "along_view": fall.shortened,
        "vanished": person.vanished,
    }
    if fall.tilt_deg is not None:
        values["tilt_deg"] = round(fall.tilt_deg, 1)
    if person.handed_from:
        values["handed_from_track"] = person.handed_from
    return values
