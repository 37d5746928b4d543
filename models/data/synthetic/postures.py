"""Draws a posture: a place on the way of a motion, with joint noise, within anatomical limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.data.synthetic.keyposes import MOTIONS, POSES

Channels = dict[str, float]
Range = tuple[float, float]

SIDED = {"hip_flex": "hip{}_flex", "hip_abd": "hip{}_abd", "hip_rot": "hip{}_rot", "knee": "knee{}", "ankle": "ankle{}",
         "arm_flex": "arm{}_flex", "arm_abd": "arm{}_abd", "arm_twist": "arm{}_twist", "elbow": "elbow{}"}  # fmt: skip
SWITCHES = ("flat", "rest", "chair")
# Active ranges of motion in degrees (AAOS, rounded outward); the root turns freely.
LIMITS: dict[str, Range] = {
    "chest_pitch": (-30, 60), "chest_roll": (-35, 35), "chest_yaw": (-45, 45),
    "head_pitch": (-55, 50), "head_roll": (-40, 40), "head_yaw": (-80, 80),
    "hip_flex": (-30, 125), "hip_abd": (-25, 50), "hip_rot": (-40, 70), "knee": (0, 150), "ankle": (-25, 58),
    "arm_flex": (-60, 180), "arm_abd": (-10, 170), "arm_twist": (-90, 80), "elbow": (0, 150),
}  # fmt: skip
NOISE_DEG = 4.0  # of every joint, on top of the ranges
SIDE_NOISE_DEG = 6.0  # between left and right where a pose names both at once
AT_POSE = 0.4  # share of samples that stand exactly at a key pose


@dataclass(frozen=True)
class Posture:
    """Channels in degrees and switches 0..1 (see `keyposes`), the motion, and the label upright, sitting, lying, ...

    label is empty between labelled poses: who is falling neither stands nor lies.
    """

    channels: Channels
    motion: str
    label: str


@dataclass(frozen=True)
class KeyPose:
    """Ranges of the channels that a pose names."""

    name: str
    label: str
    ranges: Mapping[str, Range]


def parse(text: str) -> dict[str, KeyPose]:
    """Key poses by name. Raises ValueError that names the line of an unknown channel or a broken range."""
    joined = re.sub(r"\n[ \t]+", " ", text.strip())
    poses = {}
    for line in joined.splitlines():
        name, label, *words = line.split()
        ranges = {}
        for word in words:
            channel, _, value = word.partition("=")
            low, _, high = value.partition("..")
            bounds = (float(low), float(high or low))
            if channel not in KNOWN or bounds[0] > bounds[1]:
                raise ValueError(f"key pose {name!r}: {word!r} is no known channel with a range low..high")
            ranges[channel] = bounds
        poses[name] = KeyPose(name, "" if label == "-" else label, ranges)
    return poses


def limit(channel: str) -> Range:
    """The anatomical range of a channel in degrees; infinite for the root."""
    plain = re.sub(r"^(hip|arm|knee|elbow|ankle)[LR]", r"\1", channel)
    return LIMITS.get(plain, (-np.inf, np.inf))


def draw_key(pose: KeyPose, stand: KeyPose, rng: np.random.Generator) -> Channels:
    """One instance of a key pose: every channel, sides apart, `lean` folded into the root and the hips."""
    values: Channels = dict.fromkeys(EVERY, 0.0)
    for source in (stand, pose):
        names = sorted(source.ranges, key=lambda name: name not in SIDED)  # a sided channel refines the common one
        for name in names:
            if source is stand and name in SWITCHES:
                continue
            value = float(rng.uniform(*source.ranges[name]))
            if name in SIDED:
                for side in "LR":
                    values[SIDED[name].format(side)] = value + float(rng.normal(0.0, SIDE_NOISE_DEG / 2))
            else:
                values[name] = value
    if "pitch" not in pose.ranges and ("lean" in pose.ranges or "roll" in pose.ranges):
        values["pitch"] = 0.0
    lean = values.pop("lean")
    values["pitch"] += lean
    for side in "LR":
        values[f"hip{side}_flex"] += lean
    return values


def draw_posture(rng: np.random.Generator, motion: str | None = None) -> Posture:
    """A random posture of one motion, or of a motion drawn by its share; half of them mirrored."""
    if motion is None:
        names = sorted(MOTIONS)
        shares = np.array([MOTIONS[name][0] for name in names])
        motion = names[rng.choice(len(names), p=shares / shares.sum())]
    ways = MOTIONS[motion][1]
    way = ways[rng.integers(len(ways))]
    step = int(rng.integers(max(1, len(way) - 1)))
    first, second = KEYS[way[step]], KEYS[way[min(step + 1, len(way) - 1)]]
    at = float(rng.integers(2)) if rng.random() < AT_POSE else float(rng.random())
    a, b = draw_key(first, KEYS["stand"], rng), draw_key(second, KEYS["stand"], rng)
    channels = {name: (1.0 - at) * a[name] + at * b[name] for name in a}
    for name in channels:
        if name not in SWITCHES:
            low, high = limit(name)
            channels[name] = float(np.clip(channels[name] + rng.normal(0.0, NOISE_DEG), low, high))
    label = first.label if at < 0.5 else second.label
    if first.label != second.label and 0.25 < at < 0.75:
        label = ""
    return Posture(mirror(channels) if rng.random() < 0.5 else channels, motion, label)


def mirror(channels: Channels) -> Channels:
    """The same posture with left and right exchanged."""
    swapped = {}
    for name, value in channels.items():
        other = re.sub(r"^(hip|arm|knee|elbow|ankle)([LR])", lambda m: m[1] + ("R" if m[2] == "L" else "L"), name)
        flips = name in ("roll", "twist") or name.endswith(("_roll", "_yaw"))
        swapped[other] = -value if flips else value
    return swapped


EVERY = ("pitch", "roll", "twist", "lean", *SWITCHES, "chest_pitch", "chest_roll", "chest_yaw", "head_pitch", "head_roll",
         "head_yaw", *(name.format(side) for name in SIDED.values() for side in "LR"))  # fmt: skip
KNOWN = {*EVERY, *SIDED}
KEYS = parse(POSES)
