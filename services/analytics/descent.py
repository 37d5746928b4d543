"""Is this a fall? How fast, how far and into which posture a body came down.

Lengths are in body lengths (the person's own stature in the picture), so distance and lens do not matter. Numbers, and
where they come from (docs/analytics.md says more):

* Standing: hip at 0.53, neck at 0.82 of the stature. Lying: both at 0.05-0.1. Sitting on a chair: hip 0.27, neck 0.56.
  Squatting to tie a shoe: hip 0.25, neck 0.42, so its neck comes down by 0.40. Bending leaves the hip at 0.5.
* A body that topples freely comes down from 20 degrees to the ground in 0.6-0.8 s; who lies down takes 2-3 s and more.
* Trunks of falling people pass 1.3 m/s downwards, daily life stays below (Bourke et al., Med. Eng. Phys. 2008; Wu,
  J. Biomech. 2000): 1.3 m/s over 1.75 m is 0.74 body lengths a second.
"""

from __future__ import annotations

import math

from msgspec import Struct

from services.analytics.posture import TORSO, Posture

WINDOW_S = 1.2  # a fall with buckling knees is over by then, lying down is not
GAP_S = 1.8  # standing before a gap in what was seen and lying after it: nobody lies down in less
NECK_DROP = 0.45  # above squatting (0.40), below a fall from a chair (0.48) and from standing (0.74)
FLAT = 0.3  # from neck to ankles, vertical: squatting shows 0.35, lying across the view 0.05
FLAT_NECK_DROP = 0.35  # enough when the ankles are seen at the height of the neck, for that is no squat
HIP_DROP = 0.15  # bending: 0.03; from a chair to the floor: 0.2; from standing: 0.45
SPEED = 0.74
SPEED_OVER_S = (0.25, 0.55)  # long enough to even out the noise of keypoints, shorter than a fall
SPARSE_S = 0.18  # neighbours so far apart count as they are: at 5 frames a second a fall is three frames
HOLE_S = 0.35  # neighbours further apart have a hole between them; half of it is taken for standing or lying
LYING_DEG = 60.0  # nearer to lying than to standing, and beyond the lean of somebody who sits down (30-40)
LYING_ASPECT = 1.0  # wider than high
UPRIGHT_DEG = 35.0
UPRIGHT_HEIGHT = 0.6  # sitting on a chair shows 0.74 of the stature, on the floor 0.47
# Along the line of sight a body does not tilt in the picture, it shortens. From a camera that looks down by 30 degrees,
# somebody who lies away from it shows a neck drop of 0.35 and trunk and box about half as long as before.
SHORT_TORSO, SHORT_BOX = 0.65, 0.65
SHORT_NECK_DROP = 0.3
SHORT_SPEED = 0.95  # a brisk squat seen from the front looks alike and is slower: 0.5 in 1 s, at its fastest 0.75-0.9


class Descent(Struct):
    """How a body came down."""

    onset_ns: int
    neck_from_y: float
    neck_drop: float  # body lengths
    hip_drop: float
    speed: float  # body lengths a second, over a quarter to half a second
    tilt_deg: float | None
    shortened: bool  # along the line of sight


def find_descent(samples: list[Posture], body_px: float) -> Descent | None:
    """A fall that has just reached the ground posture, or None. samples: postures in time order, the last is now."""
    now = samples[-1]
    lying, shortened = is_lying(now, body_px), is_shortened(now, body_px)
    if not (lying or shortened):
        return None
    recent = recent_of(samples)
    start = min(recent, key=lambda sample: sample.neck_y)
    neck_drop = (now.neck_y - start.neck_y) / body_px
    hip_drop = (now.hip_y - start.hip_y) / body_px
    if hip_drop < HIP_DROP or neck_drop < needed_drop(now, lying):
        return None
    speed = fastest(recent, body_px, across_holes=lying)
    if speed < (SPEED if lying else SHORT_SPEED):
        return None
    # The top of a plateau is not the beginning: the descent starts where 5 % of it are done.
    begun = [s for s in recent if s.t_ns >= start.t_ns and s.neck_y - start.neck_y <= 0.05 * neck_drop * body_px]
    return Descent(begun[-1].t_ns, start.neck_y, neck_drop, hip_drop, speed, now.tilt_deg, not lying)


def recent_of(samples: list[Posture]) -> list[Posture]:
    """Those within WINDOW_S of the last, and the one before if nothing was seen in between."""
    now_ns = samples[-1].t_ns
    recent = [s for s in samples if now_ns - s.t_ns <= WINDOW_S * 1e9]
    before = samples[len(samples) - len(recent) - 1] if len(recent) < len(samples) else None
    if before is not None and now_ns - before.t_ns <= GAP_S * 1e9 and recent[0].t_ns - before.t_ns > SPEED_OVER_S[1] * 1e9:
        return [before, *recent]
    return recent


def needed_drop(now: Posture, lying: bool) -> float:
    """How far the neck must have come down, body lengths."""
    if not lying:
        return SHORT_NECK_DROP
    return NECK_DROP if now.legs_px is None else FLAT_NECK_DROP


def fastest(samples: list[Posture], body_px: float, *, across_holes: bool) -> float:
    """Highest downward speed of the neck, body lengths a second, over SPEED_OVER_S; 0 where samples are too sparse.

    across_holes: where frames are missing, take the speed that the fall can have had; else the mean over the hole.
    """
    low_ns, high_ns = SPEED_OVER_S[0] * 1e9, SPEED_OVER_S[1] * 1e9
    best = 0.0
    for j in range(len(samples) - 1, 0, -1):
        later = samples[j]
        for i in range(j - 1, -1, -1):
            took: float = later.t_ns - samples[i].t_ns
            is_next = i == j - 1
            if took > high_ns and not is_next:
                break
            if is_next and across_holes and took >= SPARSE_S * 1e9:
                took = took if took <= HOLE_S * 1e9 else max(took / 2, low_ns)
            elif took < low_ns:
                continue
            best = max(best, (later.neck_y - samples[i].neck_y) / body_px / took * 1e9)
    return best


def is_lying(posture: Posture, body_px: float) -> bool:
    """Across the view: the torso is nearer to level than to upright, or, where it is not seen, the box is."""
    if posture.tilt_deg is None:
        return not posture.cut and posture.aspect >= LYING_ASPECT
    if posture.torso_px is not None and posture.torso_px < SHORT_TORSO * TORSO * body_px:
        return False  # seen along its length, a torso has no direction in the picture
    return posture.tilt_deg >= LYING_DEG and (posture.legs_px is None or posture.legs_px <= FLAT * body_px)


def is_shortened(posture: Posture, body_px: float) -> bool:
    """Along the view: torso and box are much shorter than this body's."""
    torso = posture.torso_px
    return (
        not posture.cut
        and torso is not None
        and torso <= SHORT_TORSO * TORSO * body_px
        and math.hypot(posture.width_px, posture.height_px) <= math.hypot(SHORT_BOX, SHORT_BOX) * body_px
        and posture.height_px <= SHORT_BOX * body_px
    )


def is_upright(posture: Posture, body_px: float) -> bool:
    """Standing, or sitting on more than the floor."""
    if posture.tilt_deg is None:
        return not posture.cut and posture.aspect <= 0.7 and posture.height_px >= 0.75 * body_px
    tall = posture.height_px >= UPRIGHT_HEIGHT * body_px
    return posture.tilt_deg <= UPRIGHT_DEG and (tall or posture.cut)
