"""The pose service, bottom-up, at the bus: frames in, skeletons out, no detector anywhere; real broker, store and process."""

from __future__ import annotations

import numpy as np
import pytest

from common import config
from common.messages import ActiveModel, Person
from services.pose.bottom_up_frames import most_prominent
from services.pose.service import choose
from tests.services.test_stages import Rig, picture
from tests.wait import eventually


@pytest.fixture
def make_rig(make_bus, stores, configure, start_service):
    def make(**pose: object) -> Rig:
        return Rig(make_bus(), stores, configure, start_service, {}, {"approach": "bottom_up", **pose})

    return make


def republish(rig: Rig, **pose: object) -> None:
    """Change the pose part of the configuration on the bus."""
    settings = config.PosebusConfig.model_validate(
        {
            "cameras": [{"name": "lobby", "source": "none.mp4"}],
            "pose": {"model": "fake-person", "runtime": "fake", "approach": "bottom_up", **pose},
        }
    )
    rig.bus.publish(config.split(settings)["pose"], "config", "pose")


def test_frames_become_skeletons_without_a_detector_in_pixels_of_the_frame_as_captured(make_rig):
    rig = make_rig()
    rig.start("pose", "p1")
    seq = rig.send(picture(3), captured=(1280, 960))
    poses = rig.posed(seq)
    assert len(poses.people) == 3
    assert poses.left_out == 0
    first = min(poses.people, key=lambda person: person.box_xyxy_px)
    assert first.box_xyxy_px == pytest.approx((80, 200, 160, 600), abs=14)
    assert first.score == pytest.approx(0.9, abs=1e-3)
    keypoints = np.array(first.keypoints_px)
    assert keypoints.shape == (17, 3)
    assert (keypoints[:, 0] > 60).all()
    assert (keypoints[:, 0] < 180).all()
    assert keypoints[0, 1] < keypoints[11, 1] < keypoints[15, 1]  # nose above hip above ankle
    assert [timing.stage for timing in poses.stages] == ["pose"]
    assert poses.stages[0].infer_ms > 0
    assert rig.people == []


def test_a_frame_without_people_is_said_too_and_a_broken_one_does_no_harm(make_rig):
    rig = make_rig()
    process = rig.start("pose", "p1")
    assert rig.posed(rig.send(picture(0))).people == ()
    rig.send(b"\xff\xd8\xff")
    eventually(lambda: "lobby" in (rig.status["p1"].reason or ""))
    assert len(rig.posed(rig.send(picture(2))).people) == 2
    assert process.poll() is None


def test_the_cap_keeps_the_most_prominent_and_counts_the_others(make_rig):
    rig = make_rig(max_people=2)
    rig.start("pose", "p1")
    poses = rig.posed(rig.send(picture(5)))
    assert len(poses.people) == 2
    assert poses.left_out == 3


def test_two_workers_do_each_frame_once(make_rig):
    rig = make_rig(device="sleep:30ms")
    rig.start("pose", "p1")
    rig.start("pose", "p2")
    jpeg = picture(1)

    def both_have_worked() -> bool:
        for camera in ("a", "b", "c", "d"):
            rig.send(jpeg, camera=camera)
        return {m.stages[-1].instance for m in rig.poses} == {"p1", "p2"}

    eventually(both_have_worked, 30, every_s=0.1)
    assert rig.posed(rig.send(jpeg))
    assert len({m.seq for m in rig.poses}) == len(rig.poses)


def test_a_change_of_approach_is_refused_until_the_service_starts_again(make_rig, start_service):
    rig = make_rig()
    rig.start("pose", "p1")
    republish(rig, approach="top_down")
    eventually(lambda: "pose.approach is now 'top_down'" in (rig.status["p1"].model_error or ""))
    assert rig.status["p1"].state == "degraded"
    assert "restart the pose service" in rig.status["p1"].reason
    assert len(rig.posed(rig.send(picture(2))).people) == 2  # it goes on as it was
    republish(rig)
    eventually(lambda: rig.status["p1"].model_error is None)
    assert rig.status["p1"].state == "ready"


def test_a_model_that_is_not_for_it_is_refused_with_what_it_is_for(make_rig):
    rig = make_rig()
    rig.start("pose", "p1")
    rig.bus.publish(ActiveModel(stage="pose", artifact="rtmdet-nano"), "models", "pose")
    eventually(lambda: "rtmdet-nano" in (rig.status["p1"].model_error or ""))
    assert "'rtmdet-nano' is for: detect; pose.approach 'bottom_up' needs" in rig.status["p1"].model_error
    assert len(rig.posed(rig.send(picture(1))).people) == 1


def test_the_most_prominent_are_the_same_as_top_down():
    random = np.random.default_rng(3)
    corner = random.uniform(0, 300, (9, 2))
    boxes = np.concatenate([corner, corner + random.uniform(20, 200, (9, 2))], axis=1).astype(np.float32)
    scores = random.uniform(0.2, 1, 9).astype(np.float32)
    people = tuple(Person(box_xyxy_px=tuple(box), score=s) for box, s in zip(boxes.tolist(), scores.tolist(), strict=True))
    for most in (1, 4, 9, 20):
        assert [people[i] for i in most_prominent(boxes, scores, most)] == list(choose(people, most))
