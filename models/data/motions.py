"""What the person does: walks in, works at the machine, walks on, falls backward, lies, gets up, walks on.

The fall and the getting up are keyframes in the frame of the place where the person stands before it: x forward,
y left, z up, metres and degrees. A keyframe names only what changes; every channel is a monotone cubic through all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from models.data.gait import ARM_REST, HALF_STANCE_M, Path, Walk, walk
from models.data.pose import Controls, Poser, join

Floats = NDArray[np.float64]
Frame = dict[str, float]

ENTER = [(-3.75, 4.55), (-2.6, 4.62), (-1.7, 4.66), (-1.0, 4.66)]
TO_FALL = [(-1.0, 4.66), (-0.45, 4.62), (0.3, 4.2), (0.95, 3.85), (1.5, 3.78)]
ENTER_S, TO_FALL_S, FALL_S, RISE_S, DURATION_S = 0.0, 6.7, 12.0, 21.0, 28.0
IMPACT_AFTER_S = 0.95


@dataclass(frozen=True)
class Story:
    """Controls at every frame, and when the fall began, hit the floor and was over (seconds)."""

    controls: Controls
    onset_s: float
    impact_s: float
    recovered_s: float


FALL: list[tuple[float, Frame]] = [
    (-1.7, {}),
    (-1.1, {"chest_pitch": 8, "head_pitch": 14, "armR_flex": 75, "armR_elbow": 118, "armR_abd": 22, "armR_twist": 40}),
    (-0.6, {"chest_pitch": 6, "chest_roll": 5, "head_pitch": 12, "x": 0.015, "y": -0.02, "roll": 2}),
    (-0.2, {"chest_roll": -4, "x": -0.01, "y": 0.025, "roll": -2, "armR_flex": 62, "armR_elbow": 100}),
    (0.0, {"x": -0.03, "chest_roll": 0, "chest_pitch": 5}),
    (0.22, {"x": -0.13, "dz": -0.04, "pitch": -9, "chest_pitch": 15, "head_pitch": 20, "armL_flex": 45,
            "armL_abd": 30, "armL_elbow": 35, "armR_flex": 55, "armR_abd": 35, "armR_elbow": 60, "footL_pitch": -8}),
    (0.45, {"x": -0.34, "dz": -0.21, "pitch": -26, "chest_pitch": 26, "head_pitch": 26, "armL_flex": 58,
            "armL_abd": 48, "armR_flex": 45, "armR_abd": 50, "armR_elbow": 40, "footL_pitch": -22, "footR_pitch": -12,
            "roll": 4}),
    (0.68, {"x": -0.55, "dz": -0.53, "pitch": -48, "chest_pitch": 24, "head_pitch": 30, "armL_flex": 10,
            "armL_abd": 62, "armL_elbow": 22, "armR_flex": -15, "armR_abd": 55, "armR_elbow": 20, "footL_pitch": -35,
            "footR_pitch": -25, "roll": 6}),
    (0.82, {"x": -0.63, "dz": -0.77, "pitch": -66, "chest_pitch": 18, "head_pitch": 30, "armL_flex": 0,
            "armL_abd": 70, "armR_flex": -10, "armR_abd": 62, "footL_pitch": -45, "footR_pitch": -35,
            "footL_z": 0.06, "footL_x": 0.04, "footR_z": 0.03}),
    (0.95, {"x": -0.67, "dz": -0.80, "pitch": -86, "chest_pitch": 3, "head_pitch": 14, "armL_abd": 78, "armR_abd": 70,
            "footL_z": 0.20, "footL_x": 0.10, "footR_z": 0.14, "footR_x": 0.04, "footL_pitch": -60,
            "footR_pitch": -50, "roll": 3}),
    (1.10, {"pitch": -90, "chest_pitch": 0, "head_pitch": -2, "footL_z": 0.22, "footR_z": 0.16, "armL_flex": 10,
            "armR_flex": 5}),
    (1.40, {"head_pitch": 4, "footL_z": 0.05, "footL_x": 0.14, "footR_z": 0.0, "footR_x": -0.06, "footR_pitch": -28,
            "armL_abd": 66, "armR_abd": 58}),
    (1.75, {"footL_z": 0.0, "footL_x": 0.15, "footL_pitch": -62, "footL_roll": -14, "footR_x": -0.10,
            "footR_pitch": -24, "roll": 0, "splayR": 2, "splayL": 22, "head_yaw": 8}),
    (2.30, {"head_yaw": 14, "head_pitch": 2, "armR_elbow": 30}),
    (4.80, {}),
    (5.40, {"head_yaw": -8, "armR_elbow": 36, "footR_x": -0.12}),
    (8.00, {"head_yaw": -10}),
    (9.00, {}),
]

RISE: list[tuple[float, Frame]] = [
    (0.35, {"head_yaw": 0, "head_pitch": 26, "footR_x": -0.22, "footR_pitch": -8, "armL_abd": 45, "armR_abd": 42}),
    (0.75, {"pitch": -72, "chest_pitch": 24, "head_pitch": 30, "footL_x": -0.02, "footL_z": 0.03, "footL_pitch": -20,
            "footL_roll": 0, "footR_x": -0.26, "footR_pitch": 0, "armL_flex": -25, "armL_abd": 30, "armR_flex": -30,
            "armR_abd": 28, "armL_elbow": 40, "armR_elbow": 40, "splayL": 12}),
    (1.25, {"pitch": -40, "chest_pitch": 38, "head_pitch": 14, "dz": -0.80, "footL_x": -0.14, "footL_z": 0.0,
            "footL_pitch": 0, "armL_flex": -48, "armR_flex": -50, "armL_elbow": 14, "armR_elbow": 14}),
    (1.70, {"pitch": -12, "chest_pitch": 40, "head_pitch": 0, "x": -0.63, "armL_flex": 45, "armL_elbow": 40,
            "armL_abd": 14, "armR_flex": -35, "footR_x": -0.32, "footR_z": 0.02, "footR_pitch": 12, "roll": 6}),
    (2.25, {"pitch": 24, "chest_pitch": 34, "head_pitch": -14, "x": -0.46, "dz": -0.60, "footR_x": -0.42,
            "footR_z": 0.085, "footR_pitch": 48, "armL_flex": 62, "armL_elbow": 48, "armR_flex": -10, "armR_abd": 22,
            "roll": 8}),
    (2.75, {"pitch": 38, "chest_pitch": 26, "head_pitch": -18, "x": -0.36, "dz": -0.46, "armR_flex": 40,
            "armR_elbow": 40, "armR_abd": 14, "footR_pitch": 52, "footR_z": 0.09, "roll": 2}),
    (3.30, {"pitch": 30, "chest_pitch": 18, "head_pitch": -10, "x": -0.24, "dz": -0.17, "armL_flex": 40,
            "armR_flex": 30, "roll": 0, "footR_pitch": 46, "footR_x": -0.38, "footR_z": 0.09}),
    (3.60, {"pitch": 16, "x": -0.18, "dz": -0.06, "footR_x": -0.24, "footR_z": 0.06, "footR_pitch": 16}),
    (3.90, {"pitch": 5, "chest_pitch": 6, "head_pitch": 4, "x": -0.145, "dz": -0.012, "footR_x": -0.14, "footR_z": 0.0,
            "footR_pitch": 0, "armL_flex": 12, "armL_elbow": 24, "armR_flex": 10, "armR_elbow": 24}),
    (4.30, {"x": -0.14, "dz": 0.0, "pitch": 1, "chest_pitch": 1, "splayL": 6, "splayR": 6, "armL_flex": ARM_REST[0],
            "armL_abd": ARM_REST[1], "armL_elbow": ARM_REST[3], "armR_flex": ARM_REST[0], "armR_abd": ARM_REST[1],
            "armR_elbow": ARM_REST[3], "armR_twist": ARM_REST[2]}),
    (5.30, {"head_yaw": 16}),
]
RECOVERED_AFTER_S = 3.9
STAND_FOOT_X_M = -0.14


def standing() -> Frame:
    """Every channel of the standing person, as the gait leaves it."""
    frame: Frame = dict.fromkeys(("x", "y", "dz", "yaw", "roll", "chest_yaw", "chest_roll", "head_yaw", "head_roll"), 0.0)
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
    at = np.clip(times_s, when[0], when[-1])
    return {name: PchipInterpolator(when, [row[name] for row in rows])(at) for name in frame}


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
        ankle.append(place(values[f"foot{side}_x"], still + sign * HALF_STANCE_M, values[f"foot{side}_z"] + poser.ankle_m))
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
    keys = FALL + [(rise_s + t, change) for t, change in RISE]
    away_s = RISE_S + RISE[-1][0] + 0.1
    angle = np.radians(heading[0])
    start = spot[0] + STAND_FOOT_X_M * np.array([np.cos(angle), np.sin(angle)])
    third = Walk(Path(_leave(start, angle)), away_s, 0.45, 0.55)
    parts = [
        walk(first, times_s[times_s < TO_FALL_S], poser.stand_m, poser.ankle_m),
        walk(second, times_s[(times_s >= TO_FALL_S) & (times_s < FALL_S - 1.7)], poser.stand_m, poser.ankle_m),
        keyframed(keyed(keys, times_s[(times_s >= FALL_S - 1.7) & (times_s < away_s)] - FALL_S), spot[0],
                  float(heading[0]), poser),
        walk(third, times_s[times_s >= away_s], poser.stand_m, poser.ankle_m),
    ]
    controls = join(parts)
    _gesture(controls, times_s, first.end_s + 0.1, TO_FALL_S - 0.1)
    _breathe(controls, times_s)
    return Story(controls, FALL_S, FALL_S + IMPACT_AFTER_S, RISE_S + RECOVERED_AFTER_S)


def _leave(start: Floats, angle: float) -> list[tuple[float, float]]:
    turned = np.array([0.0, -25.0, -50.0])
    points = [start]
    for degrees in turned:
        points.append(points[-1] + 0.32 * np.array([np.cos(angle + np.radians(degrees)), np.sin(angle + np.radians(degrees))]))
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
