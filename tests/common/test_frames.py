from __future__ import annotations

import pytest

from common.frames import FrameStore, StoreError, connect_store, shown
from tests import parts
from tests.wait import eventually


def fill(frames: FrameStore) -> None:
    for seq in range(100):
        frames.put("lobby", seq, bytes(100_000))


def test_a_frame_is_there_until_it_expires(stores):
    frames = FrameStore(connect_store(stores.frames_url), ttl_s=0.2)
    key = frames.put("lobby", 7, b"\xff\xd8jpeg")
    assert key == "frame:lobby:7"
    assert frames.get(key) == b"\xff\xd8jpeg"
    eventually(lambda: frames.get(key) is None)


def test_a_store_that_is_gone_is_named(own_stores):
    part, _ = own_stores
    with pytest.raises(StoreError, match=rf"127.0.0.1:{part.port}: cannot be reached"):
        FrameStore(connect_store(part.url), ttl_s=1).put("lobby", 1, b"x")


def test_a_full_store_is_named_with_the_fix(store_kind, tmp_path):
    part = parts.Store(store_kind, tmp_path, settings="maxmemory 3mb\nmaxmemory-policy noeviction\n")
    part.start()
    try:
        frames = FrameStore(connect_store(part.url), ttl_s=60)
        with pytest.raises(StoreError, match=r"is full .*raise its maxmemory"):
            fill(frames)
        connect_store(part.url).flushall()
        assert frames.put("lobby", 1, b"x")
    finally:
        part.stop()


def test_a_frame_store_at_its_limit_drops_old_frames_and_takes_new_ones(store_kind, tmp_path):
    part = parts.Store(store_kind, tmp_path, settings="maxmemory 5mb\nmaxmemory-policy volatile-ttl\n")
    part.start()
    try:
        frames = FrameStore(connect_store(part.url), ttl_s=60)
        fill(frames)
        assert frames.get("frame:lobby:99") is not None
        assert frames.get("frame:lobby:0") is None
    finally:
        part.stop()


def test_a_wrong_password_is_named_and_not_shown(store_kind, tmp_path):
    part = parts.Store(store_kind, tmp_path, settings="requirepass right\n")
    part.answers = lambda: parts.accepts(part.port)
    part.start()
    try:
        with pytest.raises(StoreError, match="refused the credential") as caught:
            FrameStore(connect_store(f"redis://:wr0ng@127.0.0.1:{part.port}/0"), ttl_s=1).get("x")
        assert "wr0ng" not in str(caught.value)
    finally:
        part.stop()


def test_an_address_that_is_none_is_refused_without_its_password():
    with pytest.raises(StoreError, match="http://host"):
        connect_store("http://me:secret@host")
    assert shown("redis://me:secret@host:6379/0") == "redis://host:6379/0"
