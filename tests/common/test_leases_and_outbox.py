from __future__ import annotations

import signal

import pytest

from common.frames import StoreError, connect_store
from common.leases import Leases
from common.messages import Alert
from common.outbox import Outbox, OutboxPublisher
from tests.wait import eventually


def alert(number: int, revision: int = 1) -> Alert:
    return Alert(
        id=f"alert-{number}", revision=revision, site="s", camera="lobby", kind="fall", event="raised", severity="critical",
        message="A person fell.", raised_at="2026-01-01T00:00:00Z", started_at_ns=1, raised_at_ns=2,
        updated_at_ns=2, seq=number,
    )  # fmt: skip


def test_one_owner_at_a_time_and_the_next_when_the_lease_ends(stores):
    store = connect_store(stores.state_url)
    first, second = (Leases(store, "analytics", name, ttl_s=0.3) for name in ("a", "b"))
    assert first.acquire("lobby")
    assert first.acquire("lobby")
    assert not second.acquire("lobby")
    assert second.owner("lobby") == "a"
    eventually(lambda: second.acquire("lobby"))
    assert not first.renew("lobby")
    first.release("lobby")
    assert second.owner("lobby") == "b"
    second.release("lobby")
    assert second.owner("lobby") is None


def test_a_commit_writes_state_and_alerts_together_and_only_for_the_owner(stores):
    store = connect_store(stores.state_url)
    mine, other = (Leases(store, "analytics", name) for name in ("a", "b"))
    outbox = Outbox(store)
    assert mine.acquire("lobby")
    assert outbox.commit(mine, "lobby", "state:lobby", b"one", [alert(1), alert(2)])
    assert not outbox.commit(other, "lobby", "state:lobby", b"two", [alert(3)])
    assert store.get("state:lobby") == b"one"
    assert [a.id for a in outbox.history()] == ["alert-1", "alert-2"]


def test_a_full_state_store_writes_neither_state_nor_alert(store_kind, tmp_path):
    from tests import parts

    part = parts.Store(store_kind, tmp_path, settings="maxmemory-policy noeviction\n")
    part.start()
    try:
        store = connect_store(part.url)
        leases, outbox = Leases(store, "analytics", "a", ttl_s=30), Outbox(store)
        assert leases.acquire("lobby")
        store.config_set("maxmemory", "1")  # byte: less than any store holds
        with pytest.raises(StoreError, match="full"):
            outbox.commit(leases, "lobby", "state:lobby", b"one", [alert(1)])
        assert outbox.history() == []
        store.config_set("maxmemory", "0")
        assert outbox.commit(leases, "lobby", "state:lobby", b"one", [alert(1)])
        assert len(outbox.history()) == 1
    finally:
        part.stop()


def test_alerts_reach_the_bus_once_and_in_order(stores, make_bus):
    store = connect_store(stores.state_url)
    leases, outbox = Leases(store, "analytics", "a"), Outbox(store)
    leases.acquire("lobby")
    got = []
    make_bus().subscribe(lambda message, levels: got.append((message.id, levels)), "alerts", "+", "+")
    publisher = OutboxPublisher(store, make_bus(), owner="a")
    publisher.start()
    for number in range(40):
        assert outbox.commit(leases, "lobby", "state:lobby", b"s", [alert(number)])
        leases.renew("lobby")
    eventually(lambda: len(got) >= 40)
    publisher.stop()
    assert [one for one, _ in got] == [f"alert-{n}" for n in range(40)]
    assert got[0][1] == ("lobby", "fall")


def test_alerts_made_while_the_broker_is_gone_come_when_it_is_back(stores, own_broker, make_bus):
    store = connect_store(stores.state_url)
    leases, outbox = Leases(store, "analytics", "a", ttl_s=60), Outbox(store)
    leases.acquire("lobby")
    own_broker.start()
    bus = make_bus(url=own_broker.url)
    first = OutboxPublisher(store, bus, owner="a")
    first.start()
    own_broker.stop(signal.SIGKILL)
    for number in range(5):
        outbox.commit(leases, "lobby", "state:lobby", b"s", [alert(number)])
    eventually(lambda: store.xpending("alerts", "publisher")["pending"] > 0, what="the publisher has tried")
    first.stop()
    own_broker.start()
    assert bus.wait_connected(20)
    got = []
    make_bus(url=own_broker.url).subscribe(lambda message, levels: got.append(message.id), "alerts", "#")
    eventually(lambda: bus.publish(alert(99), "alerts", "lobby", "fall") and got, every_s=0.1)  # somebody listens
    second = OutboxPublisher(store, bus, owner="b")
    second.start()
    eventually(lambda: len(set(got)) == 6, 20, what="all five alerts")
    second.stop()
    assert [one for one in dict.fromkeys(got) if one != "alert-99"] == [f"alert-{n}" for n in range(5)]


def test_what_a_dead_publisher_left_unacknowledged_is_published_by_the_next(stores, make_bus):
    store = connect_store(stores.state_url)
    leases, outbox = Leases(store, "analytics", "a"), Outbox(store)
    leases.acquire("lobby")
    outbox.commit(leases, "lobby", "state:lobby", b"s", [alert(1)])
    store.xgroup_create("alerts", "publisher", id="0", mkstream=True)
    assert store.xreadgroup("publisher", "publisher", {"alerts": ">"})  # read by one that then died
    got = []
    make_bus().subscribe(lambda message, levels: got.append(message.id), "alerts", "#")
    publisher = OutboxPublisher(store, make_bus(), owner="b")
    publisher.start()
    eventually(lambda: got == ["alert-1"])
    publisher.stop()
    assert store.xpending("alerts", "publisher")["pending"] == 0


def test_a_foreign_entry_in_the_stream_does_not_block_the_alerts_behind_it(stores, make_bus):
    store = connect_store(stores.state_url)
    leases, outbox = Leases(store, "analytics", "a"), Outbox(store)
    leases.acquire("lobby")
    store.xadd("alerts", {"alert": b"garbage"})
    outbox.commit(leases, "lobby", "state:lobby", b"s", [alert(1)])
    got = []
    make_bus().subscribe(lambda message, levels: got.append(message.id), "alerts", "#")
    publisher = OutboxPublisher(store, make_bus(), owner="a")
    publisher.start()
    eventually(lambda: got == ["alert-1"])
    publisher.stop()
