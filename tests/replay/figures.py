"""Stick figures that walk, sit, bend, fall and get up in front of a camera: COCO-17 skeletons with the faults of real ones.

Bodies are 3-D with the proportions of Drillis and Contini, seen by a pinhole camera at 2.4 m that looks down a little. Falls
are rigid bodies that topple about the feet under gravity, so their speed is not chosen. World: x right, y up, z away, metres.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from common.messages import Keypoint, PosedPerson, PosesFound

STATURE_M = 1.75
WIDTH_PX, HEIGHT_PX = 960, 540
START_NS = 1_700_000_000_000_000_000
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera."""

    height_m: float = 2.4
    pitch_deg: float = 18.0
    focal_px: float = 620.0

    def project(self, point: Vector) -> tuple[float, float]:
        """World metres to pixels."""
        pitch = math.radians(self.pitch_deg)
        up, ahead = point[1] - self.height_m, point[2]
        depth = max(ahead * math.cos(pitch) - up * math.sin(pitch), 0.3)
        vertical = up * math.cos(pitch) + ahead * math.sin(pitch)
        return WIDTH_PX / 2 + self.focal_px * point[0] / depth, HEIGHT_PX / 2 - self.focal_px * vertical / depth


@dataclass(frozen=True)
class Body:
    """A posture. Heights and lengths are parts of the stature, positions are metres."""

    x: float
    z: float
    hip: float = 0.53  # height of the hip
    lean_deg: float = 0.0  # of the torso
    azimuth_deg: float = 0.0  # where it leans to: 0 right, 90 away from the camera, -90 towards it
    foot_x: float | None = None  # where the feet stand; None: below the hip
    foot_z: float | None = None
    stride: float = 0.0  # -1..1, of the legs when walking


def skeleton(body: Body) -> list[Vector]:
    """17 keypoints in the world."""
    lean, azimuth = math.radians(body.lean_deg), math.radians(body.azimuth_deg)
    spine = (math.sin(lean) * math.cos(azimuth), math.cos(lean), math.sin(lean) * math.sin(azimuth))
    hip = (body.x, body.hip * STATURE_M, body.z)
    feet = (body.x if body.foot_x is None else body.foot_x, 0.04 * STATURE_M, body.z if body.foot_z is None else body.foot_z)
    # Shoulders and hips lie across the view, turned a little, so that sideways falls do not collapse the torso.
    across = (math.cos(math.radians(25)), 0.0, math.sin(math.radians(25)))
    neck, head = add(hip, spine, 0.29 * STATURE_M), add(hip, spine, 0.41 * STATURE_M)
    points = [head]
    points += [add(add(head, spine, 0.02 * STATURE_M), across, side * 0.02 * STATURE_M) for side in (1, -1)]
    points += [add(head, across, side * 0.045 * STATURE_M) for side in (1, -1)]
    for part, (down, wide) in {"shoulder": (0.0, 0.11), "elbow": (0.18, 0.13), "wrist": (0.33, 0.13)}.items():
        base = add(neck, spine, -down * STATURE_M)
        points += [add(base, across, side * wide * STATURE_M) for side in (1, -1)]
        assert part
    points += [add(hip, across, side * 0.08 * STATURE_M) for side in (1, -1)]
    ankles = [add(add(feet, across, side * 0.08 * STATURE_M), (1.0, 0.0, 0.3), side * body.stride * 0.3) for side in (1, -1)]
    points += [knee(points[11 + i], ankles[i]) for i in range(2)]
    return [(x, max(y, 0.05), z) for x, y, z in points + ankles]


def knee(hip: Vector, ankle: Vector) -> Vector:
    """Half-way, pushed towards the camera by what the leg is bent."""
    middle = ((hip[0] + ankle[0]) / 2, (hip[1] + ankle[1]) / 2, (hip[2] + ankle[2]) / 2)
    bend = max((0.49 * STATURE_M / 2) ** 2 - math.dist(hip, ankle) ** 2 / 4, 0.0) ** 0.5
    return add(middle, (0.5, 0.5, -0.7), bend)


def add(a: Vector, b: Vector, factor: float) -> Vector:
    return (a[0] + b[0] * factor, a[1] + b[1] * factor, a[2] + b[2] * factor)


Script = Callable[[float], Body | None]  # seconds -> posture; None: not there


def keyframes(*frames: tuple[float, Body]) -> Script:
    """Move smoothly from posture to posture."""

    def at(t_s: float) -> Body:
        if t_s <= frames[0][0]:
            return frames[0][1]
        for (t0, a), (t1, b) in itertools.pairwise(frames):
            if t_s <= t1:
                part = (t_s - t0) / (t1 - t0)
                return blend(a, b, part * part * (3 - 2 * part))
        return frames[-1][1]

    return at


def blend(a: Body, b: Body, part: float) -> Body:
    def mix(p: float, q: float) -> float:
        return p + (q - p) * part

    feet = [
        mix(p if p is not None else p0, q if q is not None else q0)
        for p, p0, q, q0 in ((a.foot_x, a.x, b.foot_x, b.x), (a.foot_z, a.z, b.foot_z, b.z))
    ]
    return Body(
        mix(a.x, b.x), mix(a.z, b.z), mix(a.hip, b.hip), mix(a.lean_deg, b.lean_deg), mix(a.azimuth_deg, b.azimuth_deg),
        feet[0], feet[1], mix(a.stride, b.stride),
    )  # fmt: skip


def walk(x0: float, x1: float, z: float, speed_m_s: float = 1.2, z1: float | None = None) -> tuple[Script, float]:
    """Walk on a straight line; returns the script and how long it takes."""
    far = math.hypot(x1 - x0, (z if z1 is None else z1) - z)
    length_s = far / speed_m_s

    def at(t_s: float) -> Body:
        part = min(max(t_s / length_s, 0.0), 1.0)
        stride = math.sin(t_s * 2 * math.pi * 0.9) if part < 1 else 0.0
        return Body(x0 + (x1 - x0) * part, z + ((z if z1 is None else z1) - z) * part, stride=stride)

    return at, length_s


def topple(x: float, z: float, azimuth_deg: float) -> tuple[Script, float]:
    """Fall stiffly from standing, under gravity; returns the script and the time of the impact."""
    angle, rate, step, angles = math.radians(6), 0.2, 0.01, []
    while angle < math.radians(86):
        angles.append(angle)
        rate += step * 1.5 * 9.81 / STATURE_M * math.sin(angle)
        angle += step * rate
    angles.append(math.radians(86))

    def at(t_s: float) -> Body:
        theta = angles[min(max(int(t_s / step), 0), len(angles) - 1)] if t_s >= 0 else 0.0
        azimuth, out = math.radians(azimuth_deg), 0.53 * STATURE_M * math.sin(theta)
        return Body(
            x + out * math.cos(azimuth), z + out * math.sin(azimuth), 0.53 * math.cos(theta) + 0.06 * math.sin(theta),
            math.degrees(theta), azimuth_deg, x, z,
        )  # fmt: skip

    return at, len(angles) * step


def chain(*parts: tuple[Script, float]) -> Script:
    """One script after the other, each for so many seconds; the last posture stays."""

    def at(t_s: float) -> Body | None:
        for script, length_s in parts:
            if t_s < length_s:
                return script(t_s)
            t_s -= length_s
        return parts[-1][0](parts[-1][1] + t_s)

    return at


def stand(x: float, z: float) -> Script:
    return keyframes((0.0, Body(x, z)))


@dataclass(frozen=True)
class Faults:
    """How bad cameras, detectors and networks are."""

    noise: float = 0.012  # of keypoints, parts of the box's height
    guessed: float = 0.06  # keypoints that are guesses, far off and of low score
    missed: float = 0.04  # people not detected
    missed_lying: float = 0.04
    dropped: float = 0.04  # frames that never arrive
    doubled: float = 0.0  # people detected twice


PERFECT = Faults(0.0, 0.0, 0.0, 0.0, 0.0)
REAL = Faults()
ROUGH = Faults(noise=0.02, guessed=0.12, missed=0.1, missed_lying=0.4, dropped=0.1)


def film(
    people: list[Script], length_s: float, *, fps: float = 10.0, faults: Faults = REAL, seed: int = 1,
    camera: Camera | None = None, name: str = "lobby", first_seq: int = 1,
) -> list[PosesFound]:  # fmt: skip
    """What pose workers would publish of a scene."""
    chance, camera = random.Random(seed), camera or Camera()
    frames = []
    for number in range(round(length_s * fps)):
        t_s = number / fps
        found = [one for script in people if (body := script(t_s)) for one in _seen(body, camera, faults, chance)]
        if chance.random() >= faults.dropped:
            frames.append(poses(found, t_s, first_seq + number, name))
    return frames


def poses(people: list[PosedPerson], t_s: float, seq: int, name: str = "lobby") -> PosesFound:
    """One message."""
    at_ns = START_NS + round(t_s * 1e9)
    return PosesFound(
        camera=name, seq=seq, captured_at_ns=at_ns, published_at_ns=at_ns + 40_000_000, width_px=WIDTH_PX,
        height_px=HEIGHT_PX, people=tuple(people), model="figures",
    )  # fmt: skip


def _seen(body: Body, camera: Camera, faults: Faults, chance: random.Random) -> list[PosedPerson]:
    points = [camera.project(point) for point in skeleton(body)]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    size = max(right - left, bottom - top)
    box = [left - 0.06 * size, top - 0.06 * size, right + 0.06 * size, bottom + 0.04 * size]
    lying = body.lean_deg > 60 and body.hip < 0.3
    if chance.random() < (faults.missed_lying if lying else faults.missed):
        return []
    if box[2] < 20 or box[0] > WIDTH_PX - 20 or box[3] < 20 or box[1] > HEIGHT_PX - 20:
        return []
    keypoints: list[Keypoint] = []
    for x, y in points:
        guessed = chance.random() < faults.guessed
        spread = size * (0.15 if guessed else faults.noise)
        inside = 0 <= x < WIDTH_PX and 0 <= y < HEIGHT_PX
        score = chance.uniform(0.05, 0.2) if guessed or not inside else chance.uniform(0.45, 0.9)
        keypoints.append((round(chance.gauss(x, spread), 1), round(chance.gauss(y, spread), 1), round(score, 3)))
    jitter = [chance.gauss(edge, faults.noise * size) for edge in box]
    clipped = (
        round(max(jitter[0], 0.0), 1), round(max(jitter[1], 0.0), 1),
        round(min(jitter[2], WIDTH_PX), 1), round(min(jitter[3], HEIGHT_PX), 1),
    )  # fmt: skip
    person = PosedPerson(
        box_xyxy_px=clipped, score=round(chance.uniform(0.3, 0.5) if lying else chance.uniform(0.5, 0.9), 3),
        keypoints_px=tuple(keypoints),
    )  # fmt: skip
    return [person] * (2 if chance.random() < faults.doubled else 1)
