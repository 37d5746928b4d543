from __future__ import annotations

import threading

import pytest

from common.claims import Claim, Claims
from common.clock import FakeClock
from common.frames import FrameStore, StoreError, connect_store
from common.messages import FrameNotice
from common.worker import HOLD_BACK, ClaimWorker
from tests.wait import eventually

GO = threading.Event()


def frame(clock: FakeClock, seq: int = 1, camera: str = "lobby") -> FrameNotice:
    now = clock.now_ns()
    return FrameNotice(
        camera=camera, seq=seq, captured_at_ns=now, published_at_ns=now, key=f"frame:{camera}:{seq}", width_px=64,
        height_px=48, stored_width_px=64, stored_height_px=48, jpeg_bytes=3,
    )  # fmt: skip


@pytest.fixture
def make_rig(stores, clock):
    made: list[Rig] = []

    def make(instance: str, url: str = stores.frames_url, **options) -> Rig:
        made.append(Rig(url, instance, clock, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.store.close()


class Rig:
    """A worker with its counters, on a real store."""

    def __init__(self, url: str, instance: str, clock: FakeClock, **options) -> None:
        self.store = connect_store(url)
        self.frames = FrameStore(self.store, ttl_s=2)
        self.counts: list[str] = []
        self.store_says: list[StoreError | None] = []
        self.worker: ClaimWorker[FrameNotice] = ClaimWorker(
            Claims(self.store, "detector", instance, max_age_s=1),
            clock,
            max_age_s=1,
            count=self.counts.append,
            on_store=self.store_says.append,
            **options,
        )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_of_two_workers_one_gets_the_frame_and_its_pixels(make_rig, clock):
    first, second = (make_rig(name) for name in "ab")
    first.frames.put("lobby", 1, b"jpg")
    for rig in (first, second):
        rig.worker.hear(frame(clock))
    taken = first.worker.next(0, GO)
    assert (taken.jpeg, taken.notice.seq) == (b"jpg", 1)
    assert second.worker.next(0, GO) is None
    assert second.counts == ["claims_lost"]


def test_a_claim_ends_so_that_the_store_does_not_fill(make_rig):
    claims = Claims(make_rig("b").store, "detector", "a", max_age_s=0.05)
    assert claims.take("lobby", 1, None) == (Claim.WON, b"")
    assert claims.take("lobby", 1, None) == (Claim.LOST, b"")
    eventually(lambda: claims.take("lobby", 1, None)[0] is Claim.WON)


def test_a_frame_whose_pixels_expired_is_counted(make_rig, clock):
    rig = make_rig("a")
    rig.worker.hear(frame(clock))
    assert rig.worker.next(0, GO) is None
    assert rig.counts == ["expired"]


def test_a_notice_that_needs_no_pixels_is_claimed_without_them(make_rig, clock):
    rig = make_rig("a", needs_pixels=lambda notice: False)
    rig.worker.hear(frame(clock))
    assert rig.worker.next(0, GO).jpeg == b""


@pytest.mark.parametrize(("jump_s", "event"), [(1.5, "stale"), (-1.5, "from_the_future")])
def test_stale_frames_and_frames_from_the_future_are_dropped_and_counted(make_rig, clock, jump_s, event):
    rig = make_rig("a")
    rig.worker.hear(frame(clock))
    clock.jump(jump_s)
    assert rig.worker.next(0, GO) is None
    assert rig.counts == [event]


def test_a_worker_with_peers_holds_back_a_part_of_its_median_service_time(make_rig, clock):
    rig = make_rig("a")
    rig.frames.put("lobby", 1, b"jpg")
    rig.worker.hear(frame(clock))
    taken = rig.worker.next(0, GO)
    clock.advance(0.1)
    assert rig.worker.done(taken) == pytest.approx(100)
    assert rig.worker.hold_back_s() == 0
    rig.worker.alone = False
    assert rig.worker.hold_back_s() == pytest.approx(HOLD_BACK * 0.1)
    rig.frames.put("lobby", 2, b"jpg")
    rig.worker.hear(frame(clock, 2))
    assert rig.worker.next(0, GO) is None
    clock.advance(0.031)
    assert rig.worker.next(0, GO).notice.seq == 2


def test_a_store_that_is_gone_is_told_once_and_work_goes_on_when_it_is_back(make_rig, own_stores, clock):
    part, _ = own_stores
    part.start()
    rig = make_rig("a", part.url)
    rig.frames.put("lobby", 1, b"jpg")
    part.stop()
    rig.worker.hear(frame(clock))
    assert rig.worker.next(0, GO) is None
    assert f"127.0.0.1:{part.port}" in str(rig.store_says[0])
    part.start()
    rig.frames.put("lobby", 2, b"jpg")
    rig.worker.hear(frame(clock, 2))
    assert rig.worker.next(0, GO).jpeg == b"jpg"
    assert rig.store_says[-1] is None
