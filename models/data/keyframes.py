"""The fall and the getting up, as keyframes.

A line starts with its time in seconds after the onset of the fall (FALL) or of the rise (RISE); an indented line goes
on with the one before. Only what changes is named; places are metres from where the person stood before (x forward,
y left, dz above the standing height), angles degrees, sides L and R.
"""

from __future__ import annotations

Frame = dict[str, float]

FALL = """
-1.70
-1.10 chest_pitch=8 head_pitch=14 armR_flex=75 armR_elbow=118 armR_abd=22 armR_twist=40
-0.60 chest_pitch=6 chest_roll=5 head_pitch=12 x=0.015 y=-0.02 roll=2
-0.20 chest_roll=-4 x=-0.01 y=0.025 roll=-2 armR_flex=62 armR_elbow=100
 0.00 x=-0.03 chest_roll=0 chest_pitch=5
 0.22 x=-0.13 dz=-0.04 pitch=-9 chest_pitch=15 head_pitch=20 armL_flex=45 armL_abd=30 armL_elbow=35 armR_flex=55
      armR_abd=35 armR_elbow=60 footL_pitch=-8
 0.45 x=-0.34 dz=-0.21 pitch=-26 chest_pitch=26 head_pitch=26 armL_flex=58 armL_abd=48 armR_flex=45 armR_abd=50
      armR_elbow=40 footL_pitch=-22 footR_pitch=-12 roll=4
 0.68 x=-0.55 dz=-0.53 pitch=-48 chest_pitch=24 head_pitch=30 armL_flex=10 armL_abd=62 armL_elbow=22 armR_flex=-15
      armR_abd=55 armR_elbow=20 footL_pitch=-35 footR_pitch=-25 roll=6
 0.82 x=-0.63 dz=-0.77 pitch=-66 chest_pitch=18 head_pitch=30 armL_flex=0 armL_abd=70 armR_flex=-10 armR_abd=62
      footL_pitch=-45 footR_pitch=-35 footL_z=0.06 footL_x=0.04 footR_z=0.03
 0.95 x=-0.67 dz=-0.8 pitch=-86 chest_pitch=3 head_pitch=14 armL_abd=78 armR_abd=70 footL_z=0.2 footL_x=0.1
      footR_z=0.14 footR_x=0.04 footL_pitch=-60 footR_pitch=-50 roll=3 armL_twist=-10 armR_twist=30
 1.10 dz=-0.812 pitch=-90 chest_pitch=0 head_pitch=-2 footL_z=0.22 footR_z=0.16 armL_flex=-2 armR_flex=-4 armL_twist=-40
      armR_twist=55
 1.40 head_pitch=4 footL_z=0.05 footL_x=0.14 footR_z=0 footR_x=-0.06 footR_pitch=-28 armL_abd=70 armR_abd=52
      armL_flex=-12 armR_flex=-12 armL_twist=-80 armR_twist=78 armL_elbow=38
 1.75 footL_z=0 footL_x=0.15 footL_pitch=-62 footL_roll=-14 footR_x=-0.1 footR_pitch=-24 roll=0 splayR=2 splayL=22
      head_yaw=8
 2.30 head_yaw=14 head_pitch=2 armR_elbow=40
 4.80
 5.40 head_yaw=-8 armR_elbow=46 footR_x=-0.12
 8.00 head_yaw=-10
 9.00
"""

RISE = """
 0.35 head_yaw=0 head_pitch=26 footR_x=-0.22 footR_pitch=-8 armL_abd=45 armR_abd=42 armL_twist=-20 armR_twist=20
 0.75 dz=-0.83 pitch=-72 chest_pitch=24 head_pitch=30 footL_x=-0.02 footL_z=0.03 footL_pitch=-20 footL_roll=0
      footR_x=-0.26 footR_pitch=0 armL_flex=-25 armL_abd=30 armR_flex=-30 armR_abd=28 armL_elbow=40 armR_elbow=40
      splayL=12 armL_twist=12 armR_twist=12
 1.25 pitch=-40 chest_pitch=38 head_pitch=14 dz=-0.838 footL_x=-0.14 footL_z=0 footL_pitch=0 armL_flex=-48
      armR_flex=-50 armL_elbow=14 armR_elbow=14
 1.70 dz=-0.855 pitch=-12 chest_pitch=40 head_pitch=0 x=-0.63 armL_flex=45 armL_elbow=40 armL_abd=14 armR_flex=-35
      footR_x=-0.32 footR_z=0.02 footR_pitch=12 roll=6
 2.25 pitch=24 chest_pitch=34 head_pitch=-14 x=-0.46 dz=-0.6 footR_x=-0.42 footR_z=0.085 footR_pitch=48 armL_flex=62
      armL_elbow=48 armR_flex=22 armR_abd=24 roll=8
 2.75 pitch=38 chest_pitch=26 head_pitch=-18 x=-0.36 dz=-0.46 armR_flex=40 armR_elbow=40 armR_abd=14 footR_pitch=52
      footR_z=0.09 roll=2
 3.30 pitch=30 chest_pitch=18 head_pitch=-10 x=-0.24 dz=-0.17 armL_flex=40 armR_flex=30 roll=0 footR_pitch=46
      footR_x=-0.38 footR_z=0.09
 3.60 pitch=16 x=-0.18 dz=-0.06 footR_x=-0.24 footR_z=0.06 footR_pitch=16
 3.90 pitch=5 chest_pitch=6 head_pitch=4 x=-0.145 dz=-0.012 footR_x=-0.14 footR_z=0 footR_pitch=0 armL_flex=12
      armL_elbow=24 armR_flex=10 armR_elbow=24
 4.30 x=-0.14 dz=0 pitch=1 chest_pitch=1 splayL=6 splayR=6 armL_flex=4 armL_abd=9 armL_elbow=16 armR_flex=4
      armR_abd=9 armR_elbow=16 armR_twist=12
 4.75 head_yaw=14
 5.30 head_yaw=0
"""


def parse(text: str) -> list[tuple[float, Frame]]:
    """The (time in seconds, changed channels) of each keyframe."""
    keys: list[tuple[float, Frame]] = []
    for line in text.strip("\n").splitlines():
        words = line.split()
        if "=" not in words[0]:
            keys.append((float(words.pop(0)), {}))
        keys[-1][1].update({name: float(value) for name, value in (word.split("=") for word in words)})
    return keys
