"""From a few readable controls (pelvis, spine, feet, arms) to a rotation of every bone.

Angles are degrees. Pelvis, spine and head turn by yaw (left), pitch (forward) and roll (right), in that order. Legs
follow ankle targets by two-bone inverse kinematics; arms are given by shoulder and elbow angles and bent out of the
floor. Left comes before right wherever an axis has length 2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.data.body import Body

Floats = NDArray[np.float64]
SIDES = ("L", "R")
DOWN = np.array([0.0, 0.0, -1.0])
LEFTWARD = np.array([0.0, 1.0, 0.0])
ELBOW_CLEARANCE_M, WRIST_CLEARANCE_M, PALM_CLEARANCE_M = 0.05, 0.045, 0.05


@dataclass
class Controls:
    """One row a frame.

    root: (N, 3) metres; heading: (N,); pelvis, chest, head: (N, 3) yaw, pitch, roll; ankle: (N, 2, 3) metres;
    foot: (N, 2, 3) world yaw, pitch, roll; splay: (N, 2), knees outward; arm: (N, 2, 4) flexion, abduction, twist
    and elbow.
    """

    root: Floats
    heading: Floats
    pelvis: Floats
    chest: Floats
    head: Floats
    ankle: Floats
    foot: Floats
    splay: Floats
    arm: Floats

    def __len__(self) -> int:
        return len(self.heading)

    def row(self, i: int) -> Controls:
        """One frame of it, still with a first axis of length 1."""
        return Controls(*(getattr(self, field.name)[i : i + 1] for field in fields(self)))


def join(parts: list[Controls]) -> Controls:
    """Controls one after the other."""
    return Controls(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Controls)))


def turn(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Floats:
    """Rotation matrix, degrees: roll about x, then pitch about y, then yaw about z."""
    cz, cy, cx = np.cos(np.radians([yaw, pitch, roll]))
    sz, sy, sx = np.sin(np.radians([yaw, pitch, roll]))
    about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    rotation: Floats = about_z @ about_y @ about_x
    return rotation


def about(axis: Floats, angle_deg: float) -> Floats:
    """Rotation matrix about a unit axis (Rodrigues)."""
    x, y, z = axis
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(angle_deg)
    rotation: Floats = np.eye(3) + np.sin(angle) * skew + (1.0 - np.cos(angle)) * (skew @ skew)
    return rotation


def between(start: Floats, end: Floats) -> Floats:
    """The smallest rotation which takes one unit vector to another."""
    axis = np.cross(start, end)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-6:
        return np.eye(3)
    return about(axis / sine, float(np.degrees(np.arctan2(sine, float(start @ end)))))


def unit(vector: Floats) -> Floats:
    """The vector at length 1."""
    result: Floats = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return result


@dataclass(frozen=True)
class Limb:
    """Rest geometry of an arm or a leg: directions of both segments, their lengths and the hinge between them."""

    upper: Floats
    lower: Floats
    hinge: Floats
    upper_m: float
    lower_m: float


def limb(body: Body, first: str, middle: str, last: str, hinge: Floats | None = None) -> Limb:
    """Measures a limb by the names of its three joints; without a hinge, the bend of the rest pose gives it."""
    a, b, c = (body.heads[body.bone(name)] for name in (first, middle, last))
    upper, lower = unit(b - a), unit(c - b)
    axis = unit(np.cross(upper, lower)) if hinge is None else hinge
    return Limb(upper, lower, axis, float(np.linalg.norm(b - a)), float(np.linalg.norm(c - b)))


class _Hand:
    """A relaxed hand: thumb forward when the arm hangs, fingers a little curled; rotations from rest, by bone."""

    def __init__(self, body: Body, side: str, arm: Limb) -> None:
        at = {name: body.heads[body.bone(f"{name}.{side}")] for name in ("finger2-1", "finger5-1")}
        outward = 1.0 if side == "L" else -1.0
        hanging = _frames(DOWN, -LEFTWARD, arm.lower, arm.hinge)
        thumb = hanging @ (at["finger2-1"] - at["finger5-1"])
        wanted = -outward * 25.0  # thumbs turn in by this many degrees
        pronation = float((wanted - np.degrees(np.arctan2(thumb[1], thumb[0])) + 180.0) % 360.0 - 180.0)
        self.forearm = body.bone(f"lowerarm02.{side}")
        self.rotations = {self.forearm: about(arm.lower, -0.5 * pronation)}
        palm = about(arm.lower, -pronation)
        reach = body.heads[body.bone(f"finger3-3.{side}")] - body.heads[body.bone(f"wrist.{side}")]
        self.direction, self.length_m = palm @ unit(reach), float(np.linalg.norm(reach))
        for k, name in enumerate(body.names):
            if name.endswith(side) and name.startswith(("wrist", "finger", "metacarpal")):
                self.rotations[k] = palm @ self._curl(body, name)

    def _curl(self, body: Body, name: str) -> Floats:
        if not name.startswith("finger") or name.startswith("finger1"):
            return np.eye(3)
        finger, side = name.split("-")[0], name[-1]
        a, b, c = (body.heads[body.bone(f"{finger}-{i}.{side}")] for i in (1, 2, 3))
        axis = unit(np.cross(b - a, c - b))
        return about(axis, 20.0 * int(name.split("-")[1][0]))


class Poser:
    """Turns controls into bone rotations for one body."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.legs = [limb(body, f"upperleg01.{s}", f"lowerleg01.{s}", f"foot.{s}", LEFTWARD) for s in SIDES]
        self.arms = [limb(body, f"upperarm01.{s}", f"lowerarm01.{s}", f"wrist.{s}") for s in SIDES]
        self.hands = [_Hand(body, side, arm) for side, arm in zip(SIDES, self.arms, strict=True)]
        self.ankle_m = float(body.heads[body.bone("foot.L"), 2] - body.vertices[:, 2].min())
        hips = body.heads[body.bone("upperleg01.L"), 2]
        self.stand_m = self.ankle_m - float(hips) + 0.992 * (self.legs[0].upper_m + self.legs[0].lower_m)

    def rotations(self, controls: Controls) -> Floats:
        """Bone rotations from rest to world, (B, 3, 3), for one row of controls."""
        c = controls
        pelvis = turn(c.heading[0]) @ turn(*c.pelvis[0])
        out = np.tile(pelvis, (len(self.body.names), 1, 1))
        for k, name in enumerate(("spine05", "spine04", "spine03", "spine02", "spine01"), start=1):
            out[self.body.bone(name)] = pelvis @ turn(*(c.chest[0] * k / 5))
        chest = out[self.body.bone("spine01")]
        for k, name in enumerate(("neck01", "neck02", "neck03", "head"), start=1):
            out[self.body.bone(name)] = chest @ turn(*(c.head[0] * k / 4))
        for name in ("eye.L", "eye.R"):
            out[self.body.bone(name)] = out[self.body.bone("head")]
        for i, side in enumerate(SIDES):
            self._pose_leg(out, controls, i, side, pelvis)
            self._pose_arm(out, controls, i, side)
        return out

    def joint(self, rotations: Floats, root: Floats, name: str) -> Floats:
        """World position of a joint, following its chain to the root."""
        i = self.body.bone(name)
        chain = []
        while self.body.parents[i] >= 0:
            chain.append(i)
            i = self.body.parents[i]
        place = root.copy()
        for i in reversed(chain):
            parent = self.body.parents[i]
            place = place + rotations[parent] @ (self.body.heads[i] - self.body.heads[parent])
        return place

    def _pose_leg(self, out: Floats, c: Controls, i: int, side: str, pelvis: Floats) -> None:
        leg, root = self.legs[i], c.root[0]
        out[self.body.bone(f"pelvis.{side}")] = pelvis
        hip = self.joint(out, root, f"upperleg01.{side}")
        outward = 1.0 if side == "L" else -1.0
        splay = np.radians(c.splay[0, i])
        pole = pelvis @ np.array([np.cos(splay), outward * np.sin(splay), 0.35])
        reach = c.ankle[0, i] - hip
        span = float(np.clip(np.linalg.norm(reach), 0.15, 0.9995 * (leg.upper_m + leg.lower_m)))
        straight = unit(reach)
        hinge = unit(np.cross(pole, straight))
        bend = np.arccos(np.clip((leg.upper_m**2 + span**2 - leg.lower_m**2) / (2 * leg.upper_m * span), -1, 1))
        thigh = np.cos(bend) * straight + np.sin(bend) * np.cross(straight, hinge)
        shin = unit(span * straight - leg.upper_m * thigh)
        self._set(out, (f"upperleg01.{side}", f"upperleg02.{side}"), _frames(thigh, hinge, leg.upper, leg.hinge))
        self._set(out, (f"lowerleg01.{side}", f"lowerleg02.{side}"), _frames(shin, hinge, leg.lower, leg.hinge))
        yaw, pitch, roll = c.foot[0, i]
        out[self.body.bone(f"foot.{side}")] = turn(yaw, pitch, roll)
        toes = turn(yaw, 0.3 * pitch if pitch > 0 else pitch, roll)  # they stay flat while the heel lifts
        for k, name in enumerate(self.body.names):
            if name.endswith(side) and name.startswith("toe"):
                out[k] = toes

    def _pose_arm(self, out: Floats, c: Controls, i: int, side: str) -> None:
        arm = self.arms[i]
        chest = out[self.body.bone("spine01")]
        out[self.body.bone(f"clavicle.{side}")] = chest
        flexion, abduction, twist, elbow = c.arm[0, i]
        outward = 1.0 if side == "L" else -1.0
        lift = turn(0.0, 0.0, outward * max(0.0, abduction - 50.0) * 0.3) @ turn(0, -max(0.0, flexion - 60.0) * 0.15)
        out[self.body.bone(f"shoulder01.{side}")] = chest @ lift
        frame = chest @ turn(0.0, -flexion) @ turn(0.0, 0.0, outward * abduction) @ turn(-outward * twist)
        shoulder = self.joint(out, c.root[0], f"upperarm01.{side}")
        upper = _above(shoulder, frame @ DOWN, arm.upper_m, ELBOW_CLEARANCE_M)
        joint = shoulder + arm.upper_m * upper
        lower = _above(joint, frame @ turn(0.0, -elbow) @ DOWN, arm.lower_m, WRIST_CLEARANCE_M)
        hinge = frame @ -LEFTWARD
        self._set(out, (f"upperarm01.{side}", f"upperarm02.{side}"), _frames(upper, hinge, arm.upper, arm.hinge))
        forearm = _frames(lower, hinge, arm.lower, arm.hinge)
        self._set(out, (f"lowerarm01.{side}",), forearm)
        hand = self.hands[i]
        wrist = joint + arm.lower_m * lower
        ahead = forearm @ hand.direction
        bent = between(ahead, _above(wrist, ahead, hand.length_m, PALM_CLEARANCE_M))
        for k, rotation in hand.rotations.items():
            out[k] = forearm @ rotation if k == hand.forearm else bent @ forearm @ rotation

    def _set(self, out: Floats, names: tuple[str, ...], rotation: Floats) -> None:
        for name in names:
            out[self.body.bone(name)] = rotation


def _basis(direction: Floats, hinge: Floats) -> Floats:
    side = unit(hinge - direction * float(hinge @ direction))
    return np.stack([direction, side, np.cross(direction, side)], axis=1)


def _frames(direction: Floats, hinge: Floats, rest_direction: Floats, rest_hinge: Floats) -> Floats:
    """The rotation which takes a rest segment and its hinge to where they should point."""
    rotation: Floats = _basis(direction, hinge) @ _basis(rest_direction, rest_hinge).T
    return rotation


def _above(start: Floats, direction: Floats, length_m: float, clearance_m: float) -> Floats:
    """The direction, raised so that the segment's end stays over the floor."""
    lowest = (clearance_m - start[2]) / length_m
    if direction[2] >= lowest:
        return direction
    rise = float(np.clip(lowest, -1.0, 0.99))
    flat = unit(np.array([direction[0], direction[1], 0.0]))
    raised: Floats = flat * np.sqrt(1.0 - rise * rise) + np.array([0.0, 0.0, rise])
    return raised
