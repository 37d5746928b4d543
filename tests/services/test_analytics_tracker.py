"""People keep their ids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages import PosedPerson
from services.analytics.assignment import assign
from services.analytics.tracker import Tracker, iou
from tests.replay.figures import PERFECT, REAL, Faults, Script, chain, film, stand, topple, walk

RATES = (5, 10, 15, 30)


def ids_over_time(people: list[Script], length_s: float, fps: float, *, hidden: tuple[float, float] = (0, 0),
                  faults: Faults = PERFECT, seed: int = 1) -> list[list[int]]:  # fmt: skip
    """Ids of those seen in each frame; nobody is detected in `hidden` seconds."""
    tracker, seen = Tracker(), []
    for frame in film(people, length_s, fps=fps, faults=faults, seed=seed):
        at_s = (frame.captured_at_ns - 1_700_000_000_000_000_000) / 1e9
        is_hidden = hidden[0] <= at_s < hidden[1]
        tracker.update(frame.captured_at_ns, () if is_hidden else frame.people)
        seen.append([track.track_id for track in tracker.confirmed() if track.seen_now])
    return seen


def every_id(seen: list[list[int]]) -> set[int]:
    return {track_id for ids in seen for track_id in ids}


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("who", ["stands", "walks", "comes nearer"])
def test_an_id_lasts_through_a_miss_of_one_second(fps: int, who: str) -> None:
    script = {"stands": stand(0, 5), "walks": walk(-3, 3, 6)[0], "comes nearer": walk(0, 0.5, 9, z1=4)[0]}[who]
    seen = ids_over_time([script], 4.0, fps, hidden=(1.5, 2.5))
    assert every_id(seen) == {1}
    assert seen[-1] == [1]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("azimuth_deg", [0.0, 90.0, -90.0])
def test_an_id_lasts_through_the_change_of_shape_in_a_fall(fps: int, azimuth_deg: float) -> None:
    toppling, _ = topple(-1, 5.5, azimuth_deg)
    for seed in range(5):
        seen = ids_over_time([chain((stand(-1, 5.5), 1.0), (toppling, 4.0))], 5.0, fps, faults=REAL, seed=seed)
        assert every_id(seen) == {1}


@pytest.mark.parametrize("fps", RATES)
def test_two_people_who_cross_keep_their_ids(fps: int) -> None:
    near, far = walk(-3.0, 3.0, 4.5)[0], walk(3.0, -3.0, 6.5)[0]
    frames = film([near, far], 4.5, fps=fps, faults=PERFECT)
    tracker = Tracker()
    who: list[dict[float, int]] = []
    for frame in frames:
        tracker.update(frame.captured_at_ns, frame.people)
        tall = sorted((t for t in tracker.confirmed() if t.seen_now), key=lambda t: t.box[3] - t.box[1])
        if len(tall) == 2:
            who.append({0: tall[0].track_id, 1: tall[1].track_id})
    assert who[0] == who[-1]
    assert len({track_id for ids in who for track_id in ids.values()}) == 2


def box(x: float, y: float = 100, score: float = 0.8, wide: float = 60, tall: float = 180) -> PosedPerson:
    return PosedPerson(box_xyxy_px=(x, y, x + wide, y + tall), score=score, keypoints_px=((0.0, 0.0, 0.0),) * 17)


def feed(tracker: Tracker, frames: list[list[PosedPerson]], every_s: float = 0.1, start_s: float = 1.0) -> None:
    for number, people in enumerate(frames):
        tracker.update(round((start_s + number * every_s) * 1e9), tuple(people))


def test_weak_detections_continue_a_track_and_start_none() -> None:
    tracker = Tracker()
    feed(tracker, [[box(100, score=0.3)]] * 5)
    assert tracker.state.tracks == []
    feed(tracker, [[box(100)], [box(100)]] + [[box(100, score=0.3)]] * 30, start_s=2.0)
    assert [track.track_id for track in tracker.confirmed()] == [1]
    assert tracker.confirmed()[0].seen_now


def test_one_strong_detection_starts_a_track_and_a_weaker_one_needs_a_second() -> None:
    strong, middling = Tracker(), Tracker()
    feed(strong, [[box(100, score=0.9)]])
    feed(middling, [[box(100, score=0.5)]])
    assert len(strong.confirmed()) == 1
    assert len(middling.confirmed()) == 0
    feed(middling, [[box(100, score=0.5)]], start_s=1.1)
    assert len(middling.confirmed()) == 1


def test_the_same_person_twice_in_a_frame_is_one_track() -> None:
    tracker = Tracker()
    feed(tracker, [[box(100, score=0.5)]] * 3 + [[box(100), box(104, y=103)]] * 5)
    assert [track.track_id for track in tracker.confirmed()] == [1]


def test_an_id_is_never_used_again() -> None:
    tracker = Tracker()
    feed(tracker, [[box(100)]] * 3 + [[]] * 40 + [[box(100)]] * 3)
    assert [track.track_id for track in tracker.confirmed()] == [2]


def test_the_silence_of_a_camera_ends_no_track() -> None:
    tracker = Tracker()
    feed(tracker, [[box(100)]] * 3)
    feed(tracker, [[box(110)]], start_s=5.5)
    assert [track.track_id for track in tracker.confirmed()] == [1]


def test_a_kept_track_waits_where_it_was_seen_and_not_elsewhere() -> None:
    tracker = Tracker()
    feed(tracker, [[box(100)]] * 3)
    for number in range(200):
        tracker.update(round((2 + number * 0.1) * 1e9), (), keep=frozenset({1}))
    for number in range(3):
        at_ns = round((23 + number * 0.1) * 1e9)
        tracker.update(at_ns, (box(700), box(160, y=200, wide=180, tall=60)), keep=frozenset({1}))
    found = {track.track_id: track.box[0] for track in tracker.confirmed()}
    assert found == {1: 160, 2: 700}


def test_overlap_is_measured_exactly() -> None:
    a, b = np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    assert iou(a, b)[0].tolist() == pytest.approx([1.0, 1 / 3, 0.0])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
def test_no_assignment_is_cheaper(rows: int, columns: int, seed: int) -> None:
    cost = np.random.default_rng(seed).random((rows, columns))
    limit = 0.7

    def total(pairs: list[tuple[int, int]]) -> float:
        return sum(cost[pair] for pair in pairs) + limit * (min(rows, columns) - len(pairs))

    few, many = (rows, columns) if rows <= columns else (columns, rows)
    best = min(
        sum(min(cost[(i, j) if rows <= columns else (j, i)], limit) for i, j in enumerate(chosen))
        for chosen in itertools.permutations(range(many), few)
    )
    pairs = assign(cost, limit)
    assert total(pairs) == pytest.approx(best)
    assert all(cost[pair] < limit for pair in pairs)
