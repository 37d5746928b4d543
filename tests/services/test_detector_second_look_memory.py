"""When the second look looks, and when it gives up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.clock import FakeClock
from common.config import SecondLookSettings
from common.geometry import Image, iou_matrix
from common.imaging import ImageError
from common.manifest import DeviceLost, ModelError
from common.messages import Track
from services.detector.detect import Detections
from services.detector.second_look_memory import WAIT_MAX_S, Found, Frame, SecondLook, merge
from tests.services.second_look_parts import SIZE, START_NS, lying_room, seen, skeleton, track, tracks_at, upright_only

STOOD = (280.0, 100.0, 360.0, 340.0)
FLOOR = (200, 300, 440, 370)
DEFAULTS = SecondLookSettings()


class Watch:
    """A worker: frames come, tracks come back one frame later, and the runs of the network are counted."""

    def __init__(self, settings: SecondLookSettings = DEFAULTS) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.model = upright_only(self.calls)
        self.clock = FakeClock()
        self.said: list[str | None] = []
        self.again = SecondLook(say=self.said.append, monotonic_s=self.clock.monotonic_s)
        self.settings = settings
        self.decoded = 0

    def look(
        self, at_s: float, image: Image, *, camera: str = "lobby", size: tuple[int, int] = SIZE, go: bool = True
    ) -> list[Found]:
        def picture(_window: tuple[int, int, int, int]) -> Image:
            self.decoded += 1
            return image

        found = self.model.detect(image)
        self.calls.clear()
        frame = Frame(camera, START_NS + round(at_s * 1e9), size, picture)
        return self.again.search(frame, found, self.model.detect, self.settings, may_go_on=lambda picture_s: go)

    def vanish(self, *tracks: Track, at_s: float = 0.0, camera: str = "lobby") -> None:
        self.again.hear(tracks_at(at_s, *tracks, camera=camera))


def test_while_everybody_is_seen_it_costs_nothing():
    watch = Watch()
    watch.vanish(track(1, STOOD), track(2, (420, 100, 500, 340)))
    assert watch.look(0.1, lying_room((280, 100, 360, 340), (425, 100, 505, 340))) == []
    assert (watch.calls, watch.decoded) == ([], 0)
    assert watch.again.counters["second_looks"] == 0


def test_nobody_was_there_and_nothing_is_looked_for():
    watch = Watch()
    assert watch.look(0.0, lying_room()) == []
    watch.vanish()
    assert watch.look(0.1, lying_room()) == []
    assert watch.calls == []


def test_who_lies_where_a_track_vanished_is_found():
    watch = Watch()
    watch.vanish(track(7, STOOD))
    (person,) = watch.look(0.1, lying_room(FLOOR))
    assert person.track_id == 7
    assert abs(person.turned_deg) == 90
    assert iou_matrix(person.box[None], np.array([FLOOR], np.float32))[0, 0] > 0.85
    assert watch.again.counters == {"second_looks": 1, "second_look_found": 1}


def test_switched_off_it_looks_once_only():
    watch = Watch(SecondLookSettings(enabled=False))
    watch.vanish(track(7, STOOD))
    assert watch.look(0.1, lying_room(FLOOR)) == []
    assert watch.calls == []


def test_the_turn_that_worked_is_tried_first_and_the_skeleton_says_which_to_begin_with():
    turns: list[int] = []
    head_right = skeleton(head=(430, 330), feet=(210, 330))
    for keypoints in ((), head_right):
        watch = Watch()
        person = track(7, STOOD, keypoints=keypoints)
        for i in range(3):
            watch.vanish(person, at_s=i / 10)
            (found,) = watch.look(i / 10 + 0.05, lying_room(FLOOR))
            turns.append(found.turned_deg)
            assert len(watch.calls) == 1
            person = track(7, tuple(found.box.tolist()))
    assert turns == [90] * 6
    watch = Watch()
    watch.vanish(track(7, STOOD, keypoints=skeleton(head=(210, 330), feet=(430, 330))))
    assert [found.turned_deg for found in watch.look(0.1, lying_room(FLOOR))] == [-90]


def fruitless_looks(watch: Watch, seconds: float, fps: float, person: Track) -> list[float]:
    """When it looked in vain, in an empty room."""
    looked = []
    for i in range(1, round(seconds * fps) + 1):
        at_s = i / fps
        missing = track(person.track_id, person.box_xyxy_px, missed_s=at_s, state=person.state)
        watch.vanish(missing, at_s=at_s)
        watch.look(at_s, lying_room())
        if watch.calls:
            assert len(watch.calls) == 3
            looked.append(at_s)
    return looked


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_who_is_gone_is_looked_for_ever_more_seldom(fps):
    watch = Watch()
    watch.vanish(track(1, STOOD))
    looked = fruitless_looks(watch, 3.0, fps, track(1, STOOD))
    assert 4 <= len(looked) <= 6
    assert sum(at_s <= 1.0 for at_s in looked) >= 3, "the first second, when falls happen, has most of them"
    waits = np.diff(looked)
    assert (np.diff(waits) > -1.01 / fps).all()


def test_a_fallen_person_who_cannot_be_found_is_looked_for_as_long_as_analytics_holds_the_track():
    watch = Watch()
    person = track(1, STOOD, state="fallen")
    watch.vanish(person)
    looked = fruitless_looks(watch, 60.0, 5, person)
    assert max(np.diff(looked)) <= WAIT_MAX_S + 0.21
    assert len(looked) <= 60 / WAIT_MAX_S + 7


def test_being_seen_again_ends_the_waiting():
    watch = Watch()
    watch.vanish(track(1, STOOD))
    fruitless_looks(watch, 3.0, 10, track(1, STOOD))
    watch.vanish(track(1, STOOD), at_s=3.1)
    assert len(watch.look(3.15, lying_room(FLOOR))) == 1


def test_news_from_before_the_look_do_not_end_the_waiting():
    watch = Watch()
    watch.vanish(track(1, STOOD), at_s=0.0)
    watch.look(0.2, lying_room())
    assert len(watch.calls) == 3
    watch.vanish(track(1, STOOD), at_s=0.1)  # analytics is one frame behind
    watch.look(0.25, lying_room())
    assert watch.calls == []


def test_no_more_runs_on_one_frame_than_allowed_and_everybody_has_a_turn():
    people = [track(i, (40.0 + 200 * i, 100, 80.0 + 200 * i, 190)) for i in range(3)]
    room = lying_room(*[(20 + 200 * i, 170, 110 + 200 * i, 200) for i in range(3)])
    found: set[int] = set()
    watch = Watch(SecondLookSettings(calls_max=2))
    for i in range(4):
        watch.vanish(*people, at_s=i / 10)
        found |= {person.track_id for person in watch.look(i / 10 + 0.05, room)}
        assert len(watch.calls) <= 2
    assert found == {0, 1, 2}


def test_one_run_a_frame_tries_the_turns_one_after_another():
    watch = Watch(SecondLookSettings(calls_max=1, turns_deg=(0, 180, 90)))
    counts = []
    for i in range(3):
        watch.vanish(track(1, STOOD, missed_s=i / 10), at_s=i / 10)
        counts.append((len(watch.look(i / 10 + 0.05, lying_room(FLOOR))), len(watch.calls)))
    assert counts == [(0, 1), (0, 1), (1, 1)]


def test_the_fallen_come_before_those_who_may_have_walked_off():
    watch = Watch()
    watch.vanish(track(1, (60, 100, 100, 190)), track(2, (460, 100, 500, 190), state="fallen"))
    found = watch.look(0.1, lying_room((440, 170, 530, 200)))
    assert [person.track_id for person in found] == [2]


def test_who_left_by_the_side_is_not_looked_for_but_who_lies_there_is_by_any_worker():
    at_side = (0.0, 100.0, 80.0, 340.0)
    watch, other = Watch(), Watch()
    watch.vanish(track(1, at_side))
    assert watch.look(0.1, lying_room((0, 300, 230, 370))) == []
    assert watch.calls == []
    watch.vanish(track(1, (30.0, 100.0, 110.0, 340.0)), at_s=0.2)
    (person,) = watch.look(0.3, lying_room((0, 300, 230, 370)))
    for worker in (watch, other):
        worker.vanish(track(1, tuple(person.box.tolist())), at_s=0.3)
        assert len(worker.look(0.4, lying_room((0, 300, 230, 370)))) == 1


def test_who_was_found_by_a_turn_of_late_is_held_though_upright_at_the_side():
    watch = Watch()
    watch.vanish(track(1, (30.0, 100.0, 110.0, 340.0)))
    assert len(watch.look(0.1, lying_room((0, 300, 230, 370)))) == 1
    sat_up = (0.0, 240.0, 100.0, 370.0)
    for at_s, looks in ((0.2, 1), (9.0, 0)):
        watch.vanish(track(1, sat_up, missed_s=0.1), at_s=at_s)
        watch.look(at_s + 0.05, lying_room())
        assert len(watch.calls) == 3 * looks


def test_cameras_do_not_mix():
    watch = Watch()
    watch.vanish(track(1, STOOD), camera="lobby")
    watch.vanish(track(1, (20, 20, 60, 120)), camera="hall")
    assert len(watch.look(0.1, lying_room(FLOOR), camera="lobby")) == 1
    assert watch.look(0.1, lying_room(FLOOR), camera="hall") == []
    assert watch.look(0.1, lying_room(FLOOR), camera="yard") == []
    assert watch.calls == []


@pytest.mark.parametrize("at_s", [3.5, -3.5, 400.0])
def test_tracks_of_another_time_say_nothing(at_s):
    watch = Watch()
    watch.vanish(track(1, STOOD))
    assert watch.look(at_s, lying_room(FLOOR)) == []
    assert watch.calls == []


def test_tracks_of_another_frame_size_say_nothing():
    watch = Watch()
    watch.vanish(track(1, STOOD))
    assert watch.look(0.1, lying_room(FLOOR), size=(1280, 960)) == []
    assert watch.calls == []


@pytest.mark.parametrize(
    "box", [(math.nan,) * 4, (0, 0, math.inf, 5), (50, 50, 10, 10), (-1e30, 0, 1e30, 5), (900, 0, 950, 90)]
)
def test_a_track_without_a_real_box_disturbs_nobody_else(box):
    watch = Watch()
    watch.vanish(track(1, box), track(2, STOOD))
    assert [person.track_id for person in watch.look(0.1, lying_room(FLOOR))] == [2]


def test_a_frame_that_must_not_wait_is_not_looked_at_again():
    watch = Watch()
    watch.vanish(track(1, STOOD))
    assert watch.look(0.1, lying_room(FLOOR), go=False) == []
    assert (watch.calls, watch.decoded) == ([], 0)
    assert watch.again.counters == {"second_looks_skipped": 1}
    assert len(watch.look(0.2, lying_room(FLOOR))) == 1, "nothing was tried, so nothing is waited for"


def test_the_body_is_as_long_as_it_looked_of_late():
    watch = Watch()
    watch.vanish(track(1, STOOD))
    crouched = (290.0, 240.0, 370.0, 340.0)
    watch.vanish(track(1, crouched), at_s=0.5)
    none = Detections(*seen())
    (gap,) = watch.again.gaps("lobby", START_NS + 600_000_000, SIZE, none)
    assert 200 < gap.body_px <= 240
    watch.vanish(track(1, crouched, missed_s=20.0), at_s=20.0)
    (gap,) = watch.again.gaps("lobby", START_NS + round(20.1e9), SIZE, none)
    assert 200 < gap.body_px <= 240, "nothing is learnt while nobody is seen"
    watch.vanish(track(1, crouched), at_s=30.0)
    (gap,) = watch.again.gaps("lobby", START_NS + round(30.1e9), SIZE, none)
    assert gap.body_px == pytest.approx(100, abs=2)


def test_cameras_without_tracks_for_half_a_minute_are_forgotten():
    watch = Watch()
    for i in range(50):
        watch.vanish(track(1, STOOD), camera=f"cam-{i}")
        watch.clock.sleep(10.0)
    assert len(watch.again._cameras) <= 4


def test_a_camera_whose_clock_is_wrong_takes_no_other_cameras_tracks_away():
    watch = Watch()
    watch.vanish(track(1, STOOD))
    watch.vanish(at_s=1e6, camera="hall")
    assert len(watch.look(0.1, lying_room(FLOOR))) == 1


def test_tracks_that_come_late_do_not_replace_newer_ones():
    watch = Watch()
    watch.vanish(track(7, STOOD), at_s=1.0)
    watch.vanish(track(6, (20.0, 100.0, 60.0, 200.0)), at_s=0.9)
    assert [person.track_id for person in watch.look(1.1, lying_room(FLOOR))] == [7]


@pytest.mark.parametrize("ahead_s", [3.5, 1e6])
def test_a_clock_that_was_set_back_begins_anew(ahead_s):
    watch = Watch()
    watch.vanish(track(1, STOOD), at_s=ahead_s)
    fruitless_looks(watch, 3.0, 10, track(1, STOOD))
    for at_s in (ahead_s, 0.0):
        watch.vanish(track(1, STOOD), at_s=at_s)
    assert len(watch.look(0.1, lying_room(FLOOR))) == 1


def fails(_image: Image) -> Detections:
    raise ModelError("the engine takes no input (1, 3, 320, 224)")


def frame_of(at_s: float, image: Image, camera: str = "lobby") -> Frame:
    return Frame(camera, START_NS + round(at_s * 1e9), SIZE, lambda _window: image)


def test_looks_that_fail_are_waited_for_like_those_in_vain_and_said_until_they_work(caplog):
    watch = Watch()
    for i in range(1, 101):
        watch.vanish(track(1, STOOD, missed_s=i / 10, state="fallen"), at_s=i / 10)
        frame = frame_of(i / 10 + 0.05, lying_room(FLOOR))
        assert watch.again.search(frame, Detections(*seen()), fails, DEFAULTS) == []
    assert 5 < watch.again.counters["second_look_errors"] < 27, "10 s hold about 7 rounds of three turns"
    assert watch.again.counters["second_looks"] == watch.again.counters["second_look_errors"]
    assert set(watch.said) == {"second look at camera 'lobby': the engine takes no input (1, 3, 320, 224)"}
    assert len(caplog.records) == 1, "one line a minute"
    watch.vanish(track(2, STOOD), camera="hall", at_s=10.1)
    assert len(watch.look(10.2, lying_room(FLOOR), camera="hall")) == 1
    assert watch.said[-1] is not None, "the lobby's still fail"
    watch.vanish(track(1, STOOD), at_s=20.0)
    assert len(watch.look(20.1, lying_room(FLOOR))) == 1
    assert watch.said[-1] is None
    assert watch.said.count(None) == 1


def test_a_camera_in_trouble_that_is_gone_is_no_trouble_any_more():
    watch = Watch()
    watch.vanish(track(1, STOOD))
    watch.again.search(frame_of(0.1, lying_room(FLOOR)), Detections(*seen()), fails, DEFAULTS)
    watch.clock.sleep(31.0)
    watch.vanish(camera="hall")
    assert watch.said[-1] is None


def test_a_picture_that_cannot_be_had_counts_as_a_round_in_vain():
    watch = Watch()

    def broken(_window: tuple[int, int, int, int]) -> Image:
        raise ImageError("JPEG does not decode")

    for i in range(1, 31):
        watch.vanish(track(1, STOOD, missed_s=i / 10), at_s=i / 10)
        frame = Frame("lobby", START_NS + round((i / 10 + 0.05) * 1e9), SIZE, broken)
        assert watch.again.search(frame, Detections(*seen()), watch.model.detect, DEFAULTS) == []
    assert 3 <= watch.again.counters["second_look_errors"] <= 6


def test_who_was_found_before_another_look_failed_stays_found():
    watch = Watch()
    other = track(2, (500.0, 100.0, 540.0, 190.0))
    watch.vanish(track(1, STOOD, state="fallen"), other)
    calls = 0

    def detect(image: Image) -> Detections:
        nonlocal calls
        calls += 1
        return watch.model.detect(image) if calls == 1 else fails(image)

    found = watch.again.search(frame_of(0.1, lying_room(FLOOR)), Detections(*seen()), detect, DEFAULTS)
    assert [person.track_id for person in found] == [1]
    assert watch.again.counters == {"second_looks": 2, "second_look_found": 1, "second_look_errors": 1}


def test_a_lost_device_ends_more_than_the_second_look():
    watch = Watch()
    watch.vanish(track(1, STOOD))

    def lost(_image: Image) -> Detections:
        raise DeviceLost("the GPU is gone")

    with pytest.raises(DeviceLost):
        watch.again.search(frame_of(0.1, lying_room(FLOOR)), Detections(*seen()), lost, DEFAULTS)


def test_the_time_that_the_picture_took_last_counts_before_a_look_and_a_hiccup_is_forgotten():
    watch = Watch()
    asked: list[float] = []

    def slow(_window: tuple[int, int, int, int]) -> Image:
        watch.clock.sleep(0.6)
        return lying_room()

    def may_go_on(picture_s: float) -> bool:
        asked.append(picture_s)
        return picture_s < 0.4

    for i in range(8):
        watch.vanish(track(1, STOOD), at_s=float(i))
        frame = Frame("lobby", START_NS + round((i + 0.5) * 1e9), SIZE, slow)
        watch.again.search(frame, Detections(*seen()), watch.model.detect, DEFAULTS, may_go_on=may_go_on)
    first, later = asked[:3], asked[3:]
    assert first == [0, 0, 0], "of the three turns only the first needs the picture"
    assert later[:5] == pytest.approx([0.6, 0.54, 0.486, 0.4374, 0.39366])
    assert later[5:7] == [0, 0], "looked again"


def test_the_better_view_of_one_person_stays():
    again = [Found(1, np.array(FLOOR, np.float32), 0.8, -90)]
    weak, other = (205.0, 300.0, 445.0, 372.0), (20.0, 100.0, 90.0, 300.0)
    found = Detections(np.array([other, weak], np.float32), np.array([0.9, 0.3], np.float32))
    both, turned = merge(found, again)
    np.testing.assert_array_equal(both.boxes, np.array([other, FLOOR], np.float32))
    assert both.scores.tolist() == pytest.approx([0.9, 0.8])
    assert turned == [0, -90]
    alone, turned = merge(found, [])
    assert alone is found
    assert turned == [0, 0]
