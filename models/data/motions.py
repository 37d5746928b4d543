"""What the person does: walks in, works at the machine, walks on, falls backward, lies, gets up, walks on.

The walks follow paths over the floor; the fall and the getting up are keyframes, every channel a monotone cubic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.curves import monotone_cubic
from models.data.gait import ARM_REST, HALF_STANCE_M, Path, Walk, walk
from models.data.keyframes import FALL, RISE, Frame, parse
from models.data.pose import Controls, Poser, join

Floats = NDArray[np.float64]

ENTER = [(-3.75, 4.55), (-2.6, 4.62), (-1.7, 4.66), (-1.0, 4.66)]
TO_FALL = [(-1.0, 4.66), (-0.45, 4.60), (0.35, 4.12), (1.1, 3.66), (1.85, 3.55)]
ENTER_S, TO_FALL_S, FALL_S, RISE_S, DURATION_S = 0.0, 6.7, 12.0, 21.0, 28.0
IMPACT_AFTER_S = 0.95


@dataclass(frozen=True)
class Story:
    """Controls at every frame, and when the fall began, hit the floor and was over (seconds)."""

    controls: Controls
    onset_s: float
    impact_s: float
    recovered_s: float


RECOVERED_AFTER_S = 3.9
STAND_FOOT_X_M = -0.14


def standing() -> Frame:
    """Every channel of the standing person, as the gait leaves it."""
    frame: Frame = dict.fromkeys(
        ("x", "y", "dz", "yaw", "roll", "chest_yaw", "chest_roll", "head_yaw", "head_roll"), 0.0
    )
    frame |= {"pitch": 1.0, "chest_pitch": 1.0, "head_pitch": 4.0}
    for side in "LR":
        frame |= {f"foot{side}_{k}": 0.0 for k in ("x", "z", "yaw", "pitch", "roll")} | {f"splay{side}": 6.0}
        frame |= {f"arm{side}_{k}": float(v) for k, v in zip(("flex", "abd", "twist", "elbow"), ARM_REST, strict=True)}
    return frame


def keyed(keys: list[tuple[float, Frame]], times_s: Floats) -> dict[str, Floats]:
    """Each channel at the given times; before the first and after the last keyframe it holds still."""
    frame, rows = standing(), []
    for _, change in keys:
        frame = frame | change
        rows.append(frame)
    when = np.array([t for t, _ in keys])
    return {name: monotone_cubic(when, np.array([row[name] for row in rows]), times_s) for name in frame}


def keyframed(values: dict[str, Floats], origin: Floats, heading_deg: float, poser: Poser) -> Controls:
    """Controls from channels in the frame of `origin` (x, y metres) and `heading_deg`."""
    angle = np.radians(heading_deg)
    ahead, left = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])

    def place(x: Floats, y: Floats, z: Floats) -> Floats:
        ground = origin + x[:, None] * ahead + y[:, None] * left
        return np.concatenate([ground, z[:, None]], axis=1)

    def stack(*names: str) -> Floats:
        return np.stack([values[name] for name in names], axis=1)

    still = np.zeros_like(values["x"])
    ankle, foot = [], []
    for side, sign in (("L", 1.0), ("R", -1.0)):
        ankle.append(
            place(values[f"foot{side}_x"], still + sign * HALF_STANCE_M, values[f"foot{side}_z"] + poser.ankle_m)
        )
        foot.append(stack(f"foot{side}_yaw", f"foot{side}_pitch", f"foot{side}_roll"))
        foot[-1][:, 0] += heading_deg + sign * 6.0
    return Controls(
        root=place(values["x"], values["y"], values["dz"] + poser.stand_m),
        heading=still + heading_deg,
        pelvis=stack("yaw", "pitch", "roll"),
        chest=stack("chest_yaw", "chest_pitch", "chest_roll"),
        head=stack("head_yaw", "head_pitch", "head_roll"),
        ankle=np.stack(ankle, axis=1),
        foot=np.stack(foot, axis=1),
        splay=stack("splayL", "splayR"),
        arm=np.stack([stack(*(f"arm{s}_{k}" for k in ("flex", "abd", "twist", "elbow"))) for s in "LR"], axis=1),
    )


def tell(poser: Poser, fps: int) -> Story:
    """The whole clip."""
    times_s = np.arange(round(DURATION_S * fps)) / fps
    first = Walk(Path(ENTER), ENTER_S, 0.60, 0.54)
    second = Walk(Path(TO_FALL), TO_FALL_S, 0.58, 0.56, first=1)
    spot, heading = second.path.at(np.array([second.path.length_m]))
    rise_s = RISE_S - FALL_S
    rise = parse(RISE)
    keys = parse(FALL) + [(rise_s + t, change) for t, change in rise]
    away_s = RISE_S + rise[-1][0] + 0.1
    angle = np.radians(heading[0])
    start = spot[0] + STAND_FOOT_X_M * np.array([np.cos(angle), np.sin(angle)])
    third = Walk(Path(_leave(start, angle)), away_s, 0.45, 0.55)
    parts = [
        walk(first, times_s[times_s < TO_FALL_S], poser.stand_m, poser.ankle_m),
        walk(second, times_s[(times_s >= TO_FALL_S) & (times_s < FALL_S - 1.7)], poser.stand_m, poser.ankle_m),
        keyframed(
            keyed(keys, times_s[(times_s >= FALL_S - 1.7) & (times_s < away_s)] - FALL_S),
            spot[0],
            float(heading[0]),
            poser,
        ),
        walk(third, times_s[times_s >= away_s], poser.stand_m, poser.ankle_m),
    ]
    controls = join(parts)
    _gesture(controls, times_s, first.end_s + 0.1, TO_FALL_S - 0.1)
    _breathe(controls, times_s)
    return Story(controls, FALL_S, FALL_S + IMPACT_AFTER_S, RISE_S + RECOVERED_AFTER_S)


def _leave(start: Floats, angle: float) -> list[tuple[float, float]]:
    """Away from the place of the fall, turning left into the room."""
    turned = np.array([20.0, 55.0, 90.0, 115.0])
    points = [start]
    for degrees in turned:
        points.append(
            points[-1] + 0.27 * np.array([np.cos(angle + np.radians(degrees)), np.sin(angle + np.radians(degrees))])
        )
    return [(float(p[0]), float(p[1])) for p in points]


def _gesture(controls: Controls, times_s: Floats, start_s: float, end_s: float) -> None:
    """Turns to the machine on the left and works its panel with the left hand."""
    ramp = np.clip(np.minimum(times_s - start_s, end_s - times_s) / 0.7, 0.0, 1.0)
    weight = ramp * ramp * (3 - 2 * ramp)
    tap = np.sin(2 * np.pi * 1.1 * (times_s - start_s))
    controls.chest[:, 0] += 24.0 * weight
    controls.head[:, 0] += 22.0 * weight
    controls.pelvis[:, 0] += 10.0 * weight
    controls.arm[:, 0, 0] += weight * (52.0 + 5.0 * tap)
    controls.arm[:, 0, 1] += 12.0 * weight
    controls.arm[:, 0, 3] += weight * (34.0 - 9.0 * tap)


def _breathe(controls: Controls, times_s: Floats) -> None:
    cycle = np.sin(2 * np.pi * 0.27 * times_s)
    controls.chest[:, 1] -= 0.9 * cycle
    controls.head[:, 1] += 0.7 * cycle
    controls.arm[:, :, 1] += 0.8 * cycle[:, None]
