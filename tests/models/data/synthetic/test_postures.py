from __future__ import annotations

import numpy as np
import pytest

from models.data.sample import POSTURES
from models.data.synthetic.keyposes import MOTIONS
from models.data.synthetic.postures import KEYS, LIMITS, SWITCHES, draw_key, draw_posture, limit, mirror, parse

STAND = KEYS["stand"]


def test_a_posture_is_the_same_for_the_same_generator() -> None:
    first, second = (draw_posture(np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert draw_posture(np.random.default_rng(6)) != first


def test_every_joint_stays_within_its_range_of_motion() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        for name, value in draw_posture(rng).channels.items():
            low, high = limit(name)
            assert low <= value <= high, name


def test_limits_are_those_of_both_sides() -> None:
    assert limit("kneeL") == limit("kneeR") == LIMITS["knee"]
    assert limit("hipR_flex") == LIMITS["hip_flex"]
    assert limit("pitch") == (-np.inf, np.inf)


def test_motions_name_poses_that_exist_and_labels_that_trainers_know() -> None:
    assert {pose for _, ways in MOTIONS.values() for way in ways for pose in way} == set(KEYS)
    assert {pose.label for pose in KEYS.values()} <= set(POSTURES)


def test_most_samples_are_of_what_photo_collections_lack() -> None:
    shares = {name: share for name, (share, _) in MOTIONS.items()}
    rare = sum(shares[name] for name in ("lie", "fall", "rise", "crawl", "sit", "bend"))
    assert rare / sum(shares.values()) >= 0.65


def test_mirroring_twice_gives_the_same_posture_and_once_changes_sides() -> None:
    channels = draw_key(KEYS["mermaid"], STAND, np.random.default_rng(1))
    once = mirror(channels)
    assert once["hipL_flex"] == channels["hipR_flex"]
    assert once["chest_roll"] == -channels["chest_roll"]
    assert once["chest_pitch"] == channels["chest_pitch"]
    assert mirror(once) == channels


def test_leaning_tilts_the_trunk_and_leaves_the_legs() -> None:
    pose = parse("lean upright lean=40 hip_flex=5 pitch=0")["lean"]
    values = draw_key(pose, STAND, np.random.default_rng(2))
    assert values["pitch"] == 40.0
    for side in "LR":
        assert values[f"hip{side}_flex"] - values["pitch"] == pytest.approx(5.0, abs=12.0)


def test_a_sided_channel_overrides_the_common_one() -> None:
    pose = parse("one sitting knee=10 kneeL=90")["one"]
    values = draw_key(pose, STAND, np.random.default_rng(3))
    assert values["kneeL"] == 90.0
    assert values["kneeR"] == pytest.approx(10.0, abs=12.0)


def test_switches_are_not_inherited_from_standing() -> None:
    values = draw_key(KEYS["supine"], STAND, np.random.default_rng(4))
    assert {name: values[name] for name in SWITCHES} == {"flat": 0.0, "rest": 1.0, "chair": 0.0}


@pytest.mark.parametrize("word", ["elbo=1..2", "knee=9..3"])
def test_a_wrong_channel_or_range_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=rf"key pose 'bad': '{word}'"):
        parse(f"bad lying {word}")


def test_between_a_standing_and_a_lying_pose_nobody_is_labelled() -> None:
    rng = np.random.default_rng(7)
    falls = [draw_posture(rng, "fall") for _ in range(200)]
    assert {"", "upright", "lying"} <= {fall.label for fall in falls}
    assert all(fall.motion == "fall" for fall in falls)
