"""The key poses of everyday and fallen people, and the motions that run through them.

One line a pose: its name, its posture label, and ranges of channels in degrees, `low..high`; an indented line goes on
with the one before. Root: `pitch` forward, `roll` to the right, `twist` about the body's long axis; `lean` tilts the
trunk and leaves the legs. Chest and head: pitch forward, roll right, yaw left. Hips: flex forward, abd outward, rot
outward. Knee and elbow bend. Ankle: plantar flexion. Arms: flex forward, abd outward, twist inward. A limb channel
without a side is drawn once and varied a little for each side. Switches 0..1: `flat`, soles kept level; `rest`, how
freely limbs sink to the floor; `chair`, a seat is under the pelvis. A channel that a pose does not name is that of STAND.
Ranges follow the clinical range of motion (AAOS) where they reach a limit.
"""

from __future__ import annotations

POSES = """
stand upright flat=1 pitch=-3..6 chest_pitch=-5..12 head_pitch=-10..30 head_yaw=-50..50 hip_flex=-4..10 hip_abd=1..10
    hip_rot=0..20 knee=1..12 arm_flex=-10..30 arm_abd=6..20 arm_twist=-10..40 elbow=5..60
reach upright flat=1 chest_pitch=-5..10 chest_yaw=-25..25 armL_flex=60..165 armR_flex=-10..120 elbow=0..60
akimbo upright flat=1 arm_flex=-20..0 arm_abd=35..50 arm_twist=45..70 elbow=80..110
folded upright flat=1 arm_flex=25..40 arm_abd=2..10 arm_twist=55..75 elbow=90..115
phone upright flat=1 head_pitch=10..35 armL_flex=35..60 armL_twist=20..45 elbowL=95..135 armR_flex=-10..20 elbowR=5..60
stride upright flat=1 pitch=0..8 hipL_flex=18..34 kneeL=4..18 hipR_flex=-20..-8 kneeR=12..40 armL_flex=-35..-10
    armR_flex=10..40 elbow=15..60
swing upright flat=1 pitch=0..8 hipL_flex=22..45 kneeL=50..70 hipR_flex=-6..4 kneeR=3..12 armL_flex=-20..5 armR_flex=0..25
    elbow=15..60
run upright pitch=6..18 hipL_flex=40..75 kneeL=60..105 hipR_flex=-25..0 kneeR=15..50 ankleR=10..40 armL_flex=-50..-15
    armR_flex=20..60 elbow=70..105
stoop bending flat=1 lean=20..50 chest_pitch=12..45 head_pitch=-25..20 hip_flex=-5..12 knee=2..25 arm_flex=20..80 elbow=10..70
bend bending flat=1 lean=45..90 chest_pitch=15..50 head_pitch=-35..10 hip_flex=-8..12 knee=2..30 arm_flex=70..130
    arm_abd=0..20 elbow=0..45
lift bending flat=1 lean=35..65 chest_pitch=15..45 head_pitch=-35..10 hip_flex=30..60 knee=55..100 arm_flex=70..115
    elbow=0..40
squat bending flat=1 lean=15..45 chest_pitch=5..35 head_pitch=-25..15 hip_flex=75..100 hip_abd=5..25 knee=110..142
    arm_flex=40..95 elbow=5..80
chair sitting flat=1 chair=1 lean=-15..15 chest_pitch=-2..22 head_pitch=-10..30 head_yaw=-45..45 hip_flex=78..95 hip_abd=3..22
    hip_rot=-5..15 knee=70..105 arm_flex=10..45 arm_abd=5..18 arm_twist=10..45 elbow=40..95
desk sitting flat=1 chair=1 lean=0..20 chest_pitch=5..25 head_pitch=0..30 hip_flex=78..92 hip_abd=2..15 knee=75..110
    arm_flex=40..70 arm_twist=10..40 elbow=50..95
slump sitting flat=1 chair=1 lean=-30..5 chest_pitch=20..50 chest_roll=-22..22 head_pitch=20..45 head_roll=-25..25
    hip_flex=70..90 hip_abd=5..25 knee=50..95 arm_flex=0..30 arm_abd=4..20 elbow=5..60
long sitting rest=1 lean=-25..15 chest_pitch=0..35 head_pitch=-10..30 hip_flex=84..95 hip_abd=3..25 hip_rot=5..30 knee=0..45
    ankle=10..35 arm_flex=10..50 arm_twist=10..40 elbow=20..80
prop sitting rest=1 lean=-50..-22 chest_pitch=0..25 head_pitch=5..30 hip_flex=85..100 hip_abd=5..25 hip_rot=0..25 knee=5..80
    ankle=5..30 arm_flex=-55..-25 arm_abd=15..35 elbow=0..30
crossed sitting rest=0.3 lean=-10..20 chest_pitch=5..30 hip_flex=85..100 hip_abd=35..48 hip_rot=40..65 knee=110..130
    ankle=10..30 arm_flex=20..50 arm_twist=10..50 elbow=40..85
hug sitting rest=0.1 lean=-5..15 chest_pitch=15..40 head_pitch=10..40 hip_flex=108..122 hip_abd=0..15 knee=105..140
    ankle=0..20 arm_flex=45..75 arm_twist=25..50 elbow=40..85
mermaid sitting rest=0.3 lean=-15..15 roll=-14..-4 chest_roll=2..20 hipL_flex=70..90 hipL_abd=25..42 hipL_rot=25..45
    kneeL=100..130 hipR_flex=75..95 hipR_abd=-12..5 hipR_rot=-35..-15 kneeR=100..130 ankle=20..45 armL_flex=-15..20
    armL_abd=25..45 elbowL=0..20
seiza sitting lean=0..20 chest_pitch=0..25 hip_flex=62..80 hip_abd=2..15 knee=138..148 ankle=40..58 arm_flex=15..40
    arm_twist=15..45 elbow=40..85
kneel - lean=0..15 hip_flex=-5..15 hip_abd=2..15 knee=85..105 ankle=30..55 arm_flex=0..70 elbow=10..70
half_kneel - lean=10..45 chest_pitch=5..30 hipL_flex=80..100 kneeL=80..105 flat=0 ankleL=-10..5 hipR_flex=-5..15 kneeR=85..105
    ankleR=10..50 armL_flex=30..70 armR_flex=20..90 elbow=20..80
fours bending lean=76..98 chest_pitch=-8..15 head_pitch=-45..10 hip_flex=-8..12 hip_abd=2..15 knee=80..98 ankle=25..55
    arm_flex=72..100 arm_abd=0..15 elbow=0..28
crawl bending lean=76..98 chest_pitch=-8..15 chest_yaw=-10..10 head_pitch=-45..10 hipL_flex=25..50 kneeL=85..115
    hipR_flex=-30..-8 kneeR=75..100 ankle=25..55 armL_flex=55..80 armR_flex=90..125 arm_abd=0..15 elbow=0..28
elbows lying rest=1 pitch=80..90 chest_pitch=-30..-12 head_pitch=-35..0 hip_flex=-12..5 hip_abd=4..25 knee=0..35 ankle=30..55
    arm_flex=85..110 arm_abd=5..20 arm_twist=10..40 elbow=75..100
supine lying rest=1 pitch=-92..-85 twist=-12..12 chest_pitch=-4..10 head_pitch=-8..22 head_yaw=-65..65 hip_flex=0..14
    hip_abd=2..26 hip_rot=10..42 knee=0..25 ankle=15..42 arm_flex=-12..12 arm_abd=8..85 arm_twist=-80..40 elbow=0..75
supine_up lying rest=1 pitch=-92..-86 twist=-10..10 head_yaw=-60..60 hip_flex=0..14 hip_abd=4..28 hip_rot=10..40 knee=0..35
    ankle=15..40 arm_flex=-10..15 arm_abd=95..165 arm_twist=-80..-20 elbow=0..90
knees_up lying rest=0.15 pitch=-92..-86 twist=-8..8 head_pitch=0..25 head_yaw=-60..60 hip_flex=38..62 hip_abd=0..14
    hip_rot=-5..10 knee=85..118 ankle=5..25 arm_flex=-10..8 arm_abd=10..70 arm_twist=-60..40 elbow=5..95
one_knee lying rest=1 pitch=-92..-86 twist=-12..20 head_yaw=-60..60 hipL_flex=35..65 hipL_abd=5..40 kneeL=70..120
    hipR_flex=0..12 hipR_abd=2..20 hip_rot=5..35 kneeR=0..25 ankle=10..40 arm_flex=-12..20 arm_abd=10..110 arm_twist=-70..40
    elbow=0..90
prone lying rest=1 pitch=86..93 twist=-10..10 chest_pitch=-8..2 head_pitch=-12..4 head_yaw=45..80 hip_flex=-10..5
    hip_abd=3..25 hip_rot=-10..35 knee=0..22 ankle=32..55 arm_flex=0..25 arm_abd=10..150 arm_twist=-60..50 elbow=5..110
prone_leg lying rest=1 pitch=86..93 twist=-22..5 head_yaw=45..80 hipL_flex=35..85 hipL_abd=30..48 hipL_rot=10..40
    kneeL=55..110 hipR_flex=-8..4 hipR_abd=2..15 kneeR=0..20 ankle=30..55 arm_flex=0..40 arm_abd=30..140 arm_twist=-60..30
    elbow=30..110
side lying rest=1 pitch=-92..-87 twist=70..105 chest_pitch=0..25 head_pitch=-5..25 head_roll=-18..10 hip_flex=15..80
    hip_abd=-6..10 hip_rot=-10..15 knee=20..110 ankle=10..40 arm_flex=20..100 arm_abd=-5..20 arm_twist=0..40 elbow=15..110
half_side lying rest=1 pitch=-92..-87 twist=28..65 head_yaw=-40..40 hip_flex=5..60 hip_abd=-5..18 knee=10..90 ankle=10..40
    arm_flex=-10..70 arm_abd=5..50 elbow=10..100
fetal lying rest=1 pitch=-92..-87 twist=72..105 chest_pitch=20..42 head_pitch=15..40 hip_flex=85..118 hip_abd=-5..6
    knee=95..138 ankle=5..30 arm_flex=45..95 arm_abd=-5..12 arm_twist=20..50 elbow=80..130
over_side lying rest=1 roll=84..94 chest_pitch=0..20 chest_roll=-12..4 head_roll=-15..15 hip_flex=0..65 hip_abd=-4..14
    knee=10..95 ankle=10..40 arm_flex=10..150 arm_abd=-5..35 elbow=10..100
tip_back - pitch=-34..-14 chest_pitch=5..30 head_pitch=10..35 hip_flex=15..60 knee=25..75 ankle=-15..15 arm_flex=10..95
    arm_abd=20..65 elbow=10..60
drop_back - pitch=-68..-40 chest_pitch=10..30 head_pitch=15..35 hip_flex=35..85 hip_abd=4..20 knee=15..80 ankle=0..25
    arm_flex=-45..20 arm_abd=30..75 elbow=5..50
tip_front - pitch=18..44 chest_pitch=-5..20 head_pitch=-30..10 hipL_flex=10..55 hipR_flex=-20..15 kneeL=20..70 kneeR=5..45
    ankle=5..35 arm_flex=55..115 arm_abd=5..30 elbow=10..55
drop_front - pitch=50..76 chest_pitch=-12..12 head_pitch=-40..-5 hip_flex=-5..40 knee=20..90 ankle=15..45 arm_flex=75..130
    arm_abd=8..35 elbow=10..60
tip_side - roll=16..42 chest_roll=-25..0 head_roll=-25..0 hipL_flex=0..40 hipL_abd=5..30 hipR_flex=0..25 hipR_abd=0..12
    kneeL=10..65 kneeR=10..50 arm_flex=0..60 armL_abd=25..85 armR_abd=25..70 elbow=10..60
drop_side - roll=46..78 chest_roll=-28..0 head_roll=-28..0 hip_flex=5..55 hip_abd=0..22 knee=15..85 ankle=5..35 arm_flex=0..80
    armL_abd=10..75 armR_abd=40..95 elbow=10..70
collapse - lean=5..45 chest_pitch=15..45 head_pitch=10..45 hip_flex=85..108 hip_abd=2..22 knee=115..146 ankle=-10..40
    arm_flex=-10..50 arm_abd=5..40 elbow=5..60
side_sit - rest=1 pitch=-60..-35 twist=30..70 chest_roll=-10..25 chest_pitch=5..25 hip_flex=40..80 hip_abd=0..20 knee=40..110
    ankle=10..35 arm_flex=-20..30 arm_abd=25..60 elbow=0..45
"""

# name: share of samples, then the poses it runs through; a sample stands at one pose or between two neighbours.
MOTIONS: dict[str, tuple[float, tuple[tuple[str, ...], ...]]] = {
    "lie": (
        0.30,
        (("supine", "supine_up"), ("supine", "one_knee", "knees_up"), ("half_side", "side", "fetal"), ("supine", "half_side"),
         ("prone", "prone_leg"), ("over_side",), ("prone", "elbows"), ("one_knee", "half_side"), ("fetal",), ("side",)),
    ),
    "fall": (
        0.13,
        (("stand", "tip_back", "drop_back", "supine"), ("stride", "tip_front", "drop_front", "prone"),
         ("stand", "tip_side", "drop_side", "over_side"), ("stand", "collapse", "seiza"), ("collapse", "drop_side")),
    ),
    "rise": (
        0.08,
        (("supine", "prop", "long"), ("half_side", "side_sit", "mermaid"), ("fours", "half_kneel", "stoop", "stand"),
         ("prone", "drop_front", "fours"), ("seiza", "kneel", "half_kneel")),
    ),
    "crawl": (0.08, (("fours", "crawl"), ("fours", "crawl"), ("elbows",))),
    "sit": (
        0.22,
        (("chair", "desk"), ("chair", "slump"), ("chair", "squat", "stand"), ("long", "prop"), ("crossed",), ("hug",),
         ("mermaid",), ("seiza",), ("long", "hug"), ("desk",)),
    ),
    "bend": (0.10, (("stand", "stoop", "bend"), ("stoop", "lift", "squat"), ("bend", "lift"))),
    "walk": (0.05, (("stride", "swing"), ("run",))),
    "stand": (0.04, (("stand", "reach"), ("akimbo",), ("folded",), ("phone",), ("stand",))),
}  # fmt: skip
