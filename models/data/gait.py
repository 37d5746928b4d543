"""Walking along a curve with planted feet: no foot slides, because each one is put down and kept until it lifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.curves import monotone_cubic
from models.data.pose import Controls

Floats = NDArray[np.float64]

HALF_STANCE_M = 0.085  # each foot beside the line of the path
BALL_M, HEEL_M = 0.125, -0.055  # where the foot rolls, forward of the ankle
ARM_REST = np.array([4.0, 9.0, 12.0, 16.0])  # flexion, abduction, twist, elbow, degrees


class Path:
    """A smooth curve over the floor, by arc length."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        marks = np.array(points)
        chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(marks, axis=0), axis=1))])
        even = np.linspace(0.0, chord[-1], 2000)
        fine = np.stack([monotone_cubic(chord, marks[:, i], even) for i in (0, 1)], axis=1)
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
        self.length_m = float(length[-1])
        self._length, self._fine = length, fine
        tangent = np.gradient(fine, axis=0)
        self._heading = np.degrees(np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0])))

    def at(self, s: Floats) -> tuple[Floats, Floats]:
        """Arc lengths (N,) metres -> places (N, 2) metres and headings (N,) degrees."""
        place = np.stack([np.interp(s, self._length, self._fine[:, i]) for i in (0, 1)], axis=1)
        return place, np.interp(s, self._length, self._heading)


@dataclass(frozen=True)
class Walk:
    """A walk from stand to stand. start_s and step_s in seconds; first is the foot which goes first (0 left)."""

    path: Path
    start_s: float
    step_m: float
    step_s: float
    first: int = 0

    @property
    def steps(self) -> int:
        """Steps which carry forward; one more closes the stance."""
        return max(1, round(self.path.length_m / self.step_m))

    @property
    def end_s(self) -> float:
        """When both feet stand again, side by side."""
        return self.start_s + (self.steps + 1) * self.step_s


def walk(plan: Walk, times_s: Floats, stand_m: float, ankle_m: float) -> Controls:
    """Controls of a walk at the given times; stand_m and ankle_m are the heights of pelvis and ankle when standing."""
    stride = plan.path.length_m / plan.steps
    feet = [_foot_curves(plan, stride, foot, times_s) for foot in (0, 1)]
    s = _pelvis_curve(plan, stride, times_s)
    place, heading = plan.path.at(s)
    spread = (feet[0][0] - feet[1][0]) / stride  # left foot ahead of right, in steps
    lifted = (feet[0][2] - feet[1][2]) / 0.09
    moving = np.clip(np.abs(np.gradient(s, times_s)) * plan.step_s / stride, 0.0, 1.0)
    left = np.stack([-np.sin(np.radians(heading)), np.cos(np.radians(heading))], axis=1)
    place = place - left * (0.018 * lifted)[:, None]
    height = stand_m - 0.010 * moving - 0.030 * spread**2
    count = len(times_s)
    controls = Controls(
        root=np.concatenate([place, height[:, None]], axis=1),
        heading=heading,
        pelvis=np.stack([-5.0 * spread, 2.0 * moving + 1.0, 2.0 * lifted], axis=1),
        chest=np.stack([9.0 * spread, 2.0 * moving + 1.0, -2.5 * lifted], axis=1),
        head=np.stack([-4.0 * spread, 4.0 + 0.0 * s, 0.0 * s], axis=1),
        ankle=np.zeros((count, 2, 3)),
        foot=np.zeros((count, 2, 3)),
        splay=np.full((count, 2), 6.0),
        arm=np.tile(ARM_REST, (count, 2, 1)),
    )
    for i, (foot_s, pitch, lift) in enumerate(feet):
        controls.ankle[:, i], controls.foot[:, i] = _ankle(plan.path, foot_s, pitch, lift, i, ankle_m)
        swing = -spread if i == 0 else spread
        controls.arm[:, i, 0] += 24.0 * swing
        controls.arm[:, i, 3] += 14.0 * np.maximum(swing, 0.0) + 6.0 * moving
    return controls


def roll_offset(pitch_deg: Floats, ankle_m: float) -> Floats:
    """How the ankle moves, forward and up, when a planted foot rolls over its ball (+) or heel (-); (N, 2) metres."""
    angle = np.radians(pitch_deg)
    pivot = np.where(angle > 0, BALL_M, HEEL_M)
    forward = pivot + (-pivot) * np.cos(angle) + ankle_m * np.sin(angle)
    up = pivot * np.sin(angle) + ankle_m * np.cos(angle) - ankle_m
    return np.stack([forward, up], axis=1)


def _plants(plan: Walk, stride: float, foot: int) -> list[tuple[float, float, float, float]]:
    """(lift time, landing time, from, to) of each step of one foot; times in seconds, places in metres of arc."""
    swings, place = [], 0.0
    for k in range(plan.steps + 1):
        if (k + plan.first) % 2 != foot:
            continue
        target = min((k + 1) * stride, plan.path.length_m)
        lift_s = plan.start_s + k * plan.step_s
        swings.append((lift_s, lift_s + 0.8 * plan.step_s, place, target))
        place = target
    return swings


def _foot_curves(plan: Walk, stride: float, foot: int, times_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Arc length (metres), pitch (degrees) and lift (metres) of one foot over time."""
    place = [(plan.start_s - 9.0, 0.0)]
    pitch = [(plan.start_s - 9.0, 0.0)]
    lift = np.zeros_like(times_s)
    for lift_s, land_s, start, end in _plants(plan, stride, foot):
        size = min(1.0, (end - start) / (2 * stride))
        span = land_s - lift_s
        place += [(lift_s, start), (land_s, end)]
        pitch += [(lift_s - 0.55 * span, 0.0), (lift_s, 32 * size), (lift_s + 0.22 * span, 44 * size)]
        pitch += [(lift_s + 0.65 * span, -4 * size), (land_s, -17 * size), (land_s + 0.2 * span, 0.0)]
        u = np.clip((times_s - lift_s) / span, 0.0, 1.0)
        lift += (0.035 + 0.035 * size) * np.sin(np.pi * u) ** 1.5
    place.append((plan.end_s + 9.0, place[-1][1]))
    pitch.append((plan.end_s + 9.0, 0.0))
    return _through(place, times_s), _through(pitch, times_s), lift


def _pelvis_curve(plan: Walk, stride: float, times_s: Floats) -> Floats:
    marks = [(plan.start_s - 9.0, 0.0), (plan.start_s, 0.0)]
    marks += [(plan.start_s + (k - 0.1) * plan.step_s, (k - 0.5) * stride) for k in range(1, plan.steps + 1)]
    marks += [(plan.end_s - 0.15 * plan.step_s, plan.path.length_m), (plan.end_s + 9.0, plan.path.length_m)]
    return _through(marks, times_s)


def _through(marks: list[tuple[float, float]], times_s: Floats) -> Floats:
    when, value = np.array(marks).T
    return monotone_cubic(when, value, times_s)


def _ankle(path: Path, s: Floats, pitch: Floats, lift: Floats, foot: int, ankle_m: float) -> tuple[Floats, Floats]:
    place, heading = path.at(s)
    angle = np.radians(heading)
    ahead = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    left = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    side = HALF_STANCE_M if foot == 0 else -HALF_STANCE_M
    roll = roll_offset(pitch, ankle_m)
    flat = place + side * left + roll[:, :1] * ahead
    ankle = np.concatenate([flat, (ankle_m + lift + roll[:, 1])[:, None]], axis=1)
    toe_out = 6.0 if foot == 0 else -6.0
    return ankle, np.stack([heading + toe_out, pitch, np.zeros_like(pitch)], axis=1)
