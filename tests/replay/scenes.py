"""Scenes of daily life and falls, as scripts for the stick figures, each with what analytics must say of it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.replay.figures import Body, Script, chain, keyframes, stand, topple, walk

X, Z = -1.0, 5.5  # where things happen, metres


@dataclass(frozen=True)
class Scene:
    """People, how long it lasts, and the falls in it."""

    people: tuple[Script, ...]
    length_s: float
    impacts_s: tuple[float, ...] = ()
    recovered: int = 0


def sit_down(seconds: float) -> tuple[Script, float]:
    """Onto a chair; hard when it takes half a second. The torso leans forward on the way and comes back."""
    up, down = Body(X, Z), Body(X + 0.3, Z, 0.27, 5, 180, X, Z)
    half = Body(X + 0.18, Z, 0.38, 35, 180, X, Z)
    return keyframes((0, up), (seconds * 0.55, half), (seconds, down)), seconds


def floor_to_stand() -> Script:
    lying = Body(X + 0.93, Z, 0.06, 86, 0, X, Z)
    return keyframes(
        (0, lying), (1.5, Body(X + 0.5, Z, 0.1, 20, 0, X, Z)), (2.5, Body(X + 0.2, Z, 0.28, 25, 0, X, Z)),
        (3.5, Body(X, Z, 0.53, 0, 0, X, Z)),
    )  # fmt: skip


def fall(azimuth_deg: float, lie_s: float = 5.0) -> Scene:
    walking, walk_s = walk(X - 2.4, X, Z)
    toppling, fall_s = topple(X, Z, azimuth_deg)
    script = chain((walking, walk_s), (stand(X, Z), 0.8), (toppling, fall_s + lie_s))
    return Scene((script,), walk_s + 0.8 + fall_s + lie_s, (walk_s + 0.8 + fall_s,))


def fall_and_get_up() -> Scene:
    before = fall(0.0, lie_s=4.0)
    walking, walk_s = walk(X, X - 2.0, Z)
    script = chain((before.people[0], before.length_s), (floor_to_stand(), 5.5), (walking, walk_s))
    return Scene((script,), before.length_s + 5.5 + walk_s + 1.0, before.impacts_s, recovered=1)


def lie_down_slowly() -> Scene:
    down = keyframes(
        (0, Body(X, Z)), (1.2, Body(X, Z, 0.28, 25, 0, X, Z)), (2.3, Body(X + 0.4, Z, 0.1, 20, 0, X, Z)),
        (3.8, Body(X + 0.9, Z, 0.07, 86, 0, X, Z)),
    )  # fmt: skip
    return Scene((chain((stand(X, Z), 2.0), (down, 10.0)),), 12.0)


def bend() -> Scene:
    over = keyframes(
        (0, Body(X, Z)), (0.8, Body(X - 0.1, Z, 0.5, 85, 0, X, Z)), (3.0, Body(X - 0.1, Z, 0.5, 85, 0, X, Z)),
        (3.8, Body(X, Z)),
    )  # fmt: skip
    return Scene((chain((stand(X, Z), 2.0), (over, 6.0)),), 8.0)


def tie_shoes(azimuth_deg: float) -> Scene:
    low = Body(X + 0.05, Z, 0.25, 60, azimuth_deg, X, Z)
    squat = keyframes((0, Body(X, Z)), (1.0, low), (5.0, low), (6.0, Body(X, Z)))
    return Scene((chain((stand(X, Z), 2.0), (squat, 8.0)),), 10.0)


def sit(seconds: float) -> Scene:
    return Scene((chain((stand(X, Z), 2.0), sit_down(seconds), (lambda t_s: sit_down(seconds)[0](9.0), 5.0)),), 8.0)


def fall_from_chair() -> Scene:
    seated = Body(X + 0.3, Z, 0.27, 5, 0, X, Z)
    down = keyframes((0, seated), (0.25, Body(X + 0.35, Z, 0.25, 30, 0, X, Z)), (0.7, Body(X + 0.7, Z, 0.06, 86, 0, X, Z)))
    return Scene((chain((keyframes((0, seated)), 3.0), (down, 5.0)),), 8.0, (3.7,))


def crossing() -> Scene:
    a, long_s = walk(-3.0, 3.0, 5.0)
    b, _ = walk(3.0, -3.0, 6.2)
    return Scene((a, b), long_s)


def stroll() -> Scene:
    a, to_s = walk(-2.5, 2.5, 6.0)
    b, back_s = walk(2.5, -1.0, 6.0, z1=4.0)
    return Scene((chain((a, to_s), (b, back_s)),), to_s + back_s)


DAILY: dict[str, Scene] = {
    "walk": stroll(),
    "walk_towards": Scene((walk(0.0, 0.3, 9.0, z1=2.6)[0],), 6.0),
    "sit": sit(1.2),
    "sit_hard": sit(0.5),
    "bend": bend(),
    "tie_shoes_side": tie_shoes(0.0),
    "tie_shoes_front": tie_shoes(-90.0),
    "lie_down_slowly": lie_down_slowly(),
    "crossing": crossing(),
    "lying_from_the_start": Scene((keyframes((0, Body(X + 0.93, Z, 0.06, 86, 0, X, Z))),), 6.0),
}
FALLS: dict[str, Scene] = {
    "sideways_right": fall(0.0),
    "sideways_left": fall(180.0),
    "away": fall(90.0),
    "towards": fall(-90.0),
    "oblique": fall(-40.0),
    "from_chair": fall_from_chair(),
    "and_gets_up": fall_and_get_up(),
}
