"""From channels to bone rotations of one body, with limbs that rest on the floor instead of sinking into it.

Rotations are from rest to world, as `models.data.body.skin` takes them. World: z up, the floor at 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.data.body import Body
from models.data.pose import DOWN, LEFTWARD, SIDES, Poser, about, limb, turn, unit
from models.data.synthetic.bodies import MEAN, Mould
from models.data.synthetic.postures import Channels

Floats = NDArray[np.float64]

SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")
NECK = ("neck01", "neck02", "neck03", "head")
ANKLE_RANGE_DEG = (-28.0, 55.0)
TOPPLE_DEG = 10.0
STRIDE = 5  # every so many vertices are enough to find what touches the floor
# How far flesh reaches around a joint, metres, for a stature of 1.7 m.
TRUNK_M = {"root": 0.10, "spine03": 0.11, "spine01": 0.10, "head": 0.09, "upperleg01.L": 0.09, "upperleg01.R": 0.09,
           "upperarm01.L": 0.06, "upperarm01.R": 0.06}  # fmt: skip
LEG_M, ARM_M = (0.065, 0.05), (0.045, 0.045)  # knee and ankle, elbow and wrist
SWING_DEG = np.array([-50, -35, -22, -12, -6, 0, 6, 12, 22, 35, 50], dtype=float)
BEND_DEG = np.array([-70, -45, -25, -10, 0, 10, 25, 45, 70], dtype=float)


class Rig:
    """Poses one body; `floor_m` is where the floor lies under the trunk while limbs come to rest."""

    def __init__(self, body: Body, mould: Mould) -> None:
        self.body, self.mould = body, mould
        self.legs = [limb(body, f"upperleg01.{s}", f"lowerleg01.{s}", f"foot.{s}", LEFTWARD) for s in SIDES]
        self.arms = [limb(body, f"upperarm01.{s}", f"lowerarm01.{s}", f"wrist.{s}") for s in SIDES]
        self.hands = _hands(mould)
        self.scale = float(np.ptp(body.vertices[:, 2])) / 1.7
        self._side_bones = {
            side: [k for k, name in enumerate(body.names) if name.endswith(side) and name.startswith("toe")] for side in SIDES
        }

    def place(self, c: Channels, heading_deg: float) -> tuple[Floats, Floats]:
        """Vertices (V, 3) and joints (B, 3) in metres, above the origin, lowest parts on the floor."""
        rotations = self.rotations(c, heading_deg)
        vertices, joints = self.mould.pose(self.body, rotations)
        if c["rest"] > 0.05 or c["pitch"] > 60.0:
            tilt = topple(vertices[::STRIDE])
            vertices, joints = vertices @ tilt.T, joints @ tilt.T
        # Flesh and cloth give way: the lowest 0.3 % of the vertices lie under the floor, by millimetres.
        lift = float(np.quantile(vertices[:, 2], 0.003))
        vertices[:, 2] -= lift
        joints[:, 2] -= lift
        return vertices, joints

    def rotations(self, c: Channels, heading_deg: float) -> Floats:
        """(B, 3, 3) rotation of each bone from rest to world."""
        bone = self.body.bone
        pelvis = turn(heading_deg) @ turn(0.0, c["pitch"], c["roll"]) @ turn(c["twist"])
        out = np.tile(pelvis, (len(self.body.names), 1, 1))
        chest = np.array([c["chest_yaw"], c["chest_pitch"], c["chest_roll"]])
        for k, name in enumerate(SPINE, start=1):
            out[bone(name)] = pelvis @ turn(*(chest * k / len(SPINE)))
        top = out[bone(SPINE[-1])]
        head = np.array([c["head_yaw"], c["head_pitch"], c["head_roll"]])
        for k, name in enumerate(NECK, start=1):
            out[bone(name)] = top @ turn(*(head * k / len(NECK)))
        for side in SIDES:
            out[bone(f"eye.{side}")] = out[bone("head")]
            out[bone(f"clavicle.{side}")] = top
            out[bone(f"pelvis.{side}")] = pelvis
        floor_m = self._floor_under_trunk(out) if c["rest"] > 0.05 else None
        for i, side in enumerate(SIDES):
            self._pose_leg(out, c, i, side, pelvis, floor_m)
            self._pose_arm(out, c, i, side, top, floor_m)
        return out

    def _floor_under_trunk(self, out: Floats) -> float:
        return min(
            float(self._joint(out, name)[2]) - radius * self.scale for name, radius in TRUNK_M.items()
        )

    def _joint(self, out: Floats, name: str) -> Floats:
        """Place of a joint, (3,), by its chain to the root, which is at the origin."""
        body = self.body
        i, place = body.bone(name), np.zeros(3)
        while (parent := body.parents[i]) >= 0:
            place = place + out[parent] @ (body.heads[i] - body.heads[parent])
            i = parent
        return place

    def _pose_leg(self, out: Floats, c: Channels, i: int, side: str, pelvis: Floats, floor_m: float | None) -> None:
        leg, body = self.legs[i], self.body
        outward = 1.0 if side == "L" else -1.0
        frame = pelvis @ turn(0, -c[f"hip{side}_flex"]) @ turn(0, 0, outward * c[f"hip{side}_abd"])
        frame = frame @ turn(outward * c[f"hip{side}_rot"])
        knee = c[f"knee{side}"]
        if floor_m is not None:
            hip = self._joint(out, f"upperleg01.{side}")
            frame, knee = settle(frame, knee, hip[2] - floor_m, (leg.upper_m, leg.lower_m), LEG_M, -1.0, c["rest"])
        shin = frame @ turn(0, knee)
        _set(out, body, (f"upperleg01.{side}", f"upperleg02.{side}"), frame @ _to_axes(leg.upper, leg.hinge))
        _set(out, body, (f"lowerleg01.{side}", f"lowerleg02.{side}"), shin @ _to_axes(leg.lower, leg.hinge))
        level = float(np.degrees(np.arctan2(shin[2, 0], shin[2, 2])))  # the flexion that holds the sole level
        level = float(np.clip((level + 180.0) % 360.0 - 180.0, *ANKLE_RANGE_DEG))
        ankle = (1.0 - c["flat"]) * c[f"ankle{side}"] + c["flat"] * level
        foot = shin @ turn(0, ankle)
        out[body.bone(f"foot.{side}")] = foot
        for k in self._side_bones[side]:
            out[k] = foot

    def _pose_arm(self, out: Floats, c: Channels, i: int, side: str, chest: Floats, floor_m: float | None) -> None:
        arm, body, hand = self.arms[i], self.body, self.hands[i]
        outward = 1.0 if side == "L" else -1.0
        flexion, abduction = c[f"arm{side}_flex"], c[f"arm{side}_abd"]
        # The shoulder blade takes its part of a raised arm (scapulohumeral rhythm, about one third).
        lift = turn(0, 0, outward * max(0.0, abduction - 40.0) * 0.3) @ turn(0, -max(0.0, flexion - 60.0) * 0.15)
        out[body.bone(f"shoulder01.{side}")] = chest @ lift
        frame = chest @ turn(0, -flexion) @ turn(0, 0, outward * abduction) @ turn(-outward * c[f"arm{side}_twist"])
        elbow = c[f"elbow{side}"]
        if floor_m is not None:
            shoulder = self._joint(out, f"upperarm01.{side}")
            frame, elbow = settle(frame, elbow, shoulder[2] - floor_m, (arm.upper_m, arm.lower_m), ARM_M, 1.0, c["rest"])
        hinge = -LEFTWARD
        lower = frame @ turn(0, -elbow)
        _set(out, body, (f"upperarm01.{side}", f"upperarm02.{side}"), frame @ _to_axes(arm.upper, arm.hinge, hinge))
        forearm = lower @ _to_axes(arm.lower, arm.hinge, hinge)
        _set(out, body, (f"lowerarm01.{side}",), forearm)
        for k, rotation in hand.items():
            out[k] = forearm @ rotation


@cache
def _hands(mould: Mould) -> list[dict[int, Floats]]:
    """Rotations of a relaxed hand's bones from its forearm, for the left and the right of a mean body: all are alike."""
    return [dict(hand.rotations) for hand in Poser(mould.cast(MEAN)).hands]


def topple(vertices: Floats) -> Floats:
    """The rotation (3, 3) of at most `TOPPLE_DEG` that lets a rigid body fall over onto its next points of support."""
    total = np.eye(3)
    for _ in range(2):
        points = vertices @ total.T
        foot = points[int(points[:, 2].argmin())]
        to_centre = (points.mean(axis=0) - foot)[:2]
        distance = float(np.linalg.norm(to_centre))
        if distance < 0.05:  # already over its support
            break
        ahead = (points[:, :2] - foot[:2]) @ (to_centre / distance)
        beyond = ahead > distance
        if not beyond.any():
            break
        angle = float(np.arctan2(points[beyond, 2] - foot[2], ahead[beyond]).min())
        axis = np.array([-to_centre[1], to_centre[0], 0.0]) / distance
        total = about(axis, min(float(np.degrees(angle)), TOPPLE_DEG)) @ total
    return total


def settle(
    frame: Floats,
    bend_deg: float,
    height_m: float,
    lengths_m: tuple[float, float],
    radii_m: tuple[float, float],
    bends: float,
    rest: float,
) -> tuple[Floats, float]:
    """Lets a limb come to rest on the floor: the cheapest of small turns at its root and its hinge.

    frame: (3, 3) limb axes to world, the limb along -z, hinged about y; height_m: of the limb's root above the floor;
    bends: 1 where the hinge bends forward (elbow), -1 backward (knee). A turn costs its square, height costs by `rest`
    (0..1), and a joint under the floor costs most. Returns the turned frame and the new bend.
    """
    swings = np.stack([about(unit(axis), a) for axis in (frame[:, 1], frame[:, 0]) for a in SWING_DEG])  # (S, 3, 3)
    effort = np.concatenate([SWING_DEG, SWING_DEG]) ** 2
    bent = np.clip(bend_deg + BEND_DEG, 0.0, 150.0)
    upper = (swings @ frame @ DOWN)[:, 2]  # (S,) how steeply the first segment points
    turned = swings @ frame  # (S, 3, 3)
    angle = np.radians(bends * bent)
    directions = np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=1)  # (K, 3)
    lower = turned[:, 2] @ directions.T  # (S, K)
    first = height_m + lengths_m[0] * upper[:, None] - radii_m[0]
    last = first + radii_m[0] + lengths_m[1] * lower - radii_m[1]
    sunk = np.minimum(first, 0.0) ** 2 + np.minimum(last, 0.0) ** 2
    weight = np.maximum(first, 0.0) + np.maximum(last, 0.0)
    cost = effort[:, None] / 40.0**2 + (bent - bend_deg) ** 2 / 60.0**2 + 6.0 * rest * weight + 4000.0 * sunk
    s, k = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return turned[s], float(bent[k])


def _to_axes(direction: Floats, hinge: Floats, axis: Floats = LEFTWARD) -> Floats:
    """The rotation from a segment at rest to limb axes: along -z, hinged about `axis`."""
    return _basis(DOWN, axis) @ _basis(direction, hinge).T


def _basis(direction: Floats, hinge: Floats) -> Floats:
    side = unit(hinge - direction * float(hinge @ direction))
    return np.stack([direction, side, np.cross(direction, side)], axis=1)


def _set(out: Floats, body: Body, names: tuple[str, ...], rotation: Floats) -> None:
    for name in names:
        out[body.bone(name)] = rotation
