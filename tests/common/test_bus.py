from __future__ import annotations

import gc
import signal
import socket
import threading
import time

import pytest

from common.bus import Bus, BusError, parse_address
from common.messages import ActiveModel, FrameNotice, Occupancy, ServiceStatus, encode
from tests import parts
from tests.wait import eventually


def notice(seq: int = 1, camera: str = "lobby") -> FrameNotice:
    return FrameNotice(
        camera=camera, seq=seq, captured_at_ns=seq, published_at_ns=seq, key=f"frame:{camera}:{seq}", width_px=640,
        height_px=480, stored_width_px=640, stored_height_px=480, jpeg_bytes=1000,
    )  # fmt: skip


def occupancy(count: int) -> Occupancy:
    return Occupancy(camera="lobby", zone="desk", count=count, longest_dwell_s=0.0, updated_at_ns=count)


def test_a_message_arrives_decoded_with_its_levels(make_bus):
    got = []
    listener, speaker = make_bus(), make_bus()
    listener.subscribe(lambda message, levels: got.append((message, levels)), "frames", "+")
    eventually(lambda: speaker.publish(notice(), "frames", "lobby") and got)
    assert got[0] == (notice(), ("lobby",))


def test_a_late_subscriber_gets_the_newest_retained_message_and_its_removal(make_bus):
    speaker = make_bus()
    for count in range(50):
        speaker.publish(occupancy(count), "occupancy", "lobby", "desk")
    eventually(lambda: not speaker._unsent())
    got = []
    late = make_bus()
    late.subscribe(lambda message, levels: got.append(message), "occupancy", "#")
    eventually(lambda: got)
    assert got[-1].count == 49
    speaker.clear_retained("occupancy", "lobby", "desk")
    eventually(lambda: got[-1] is None)


def test_garbage_is_counted_logged_once_and_dropped_and_the_next_message_arrives(make_bus, shared_broker, site, caplog):
    got = []
    listener = make_bus()
    listener.subscribe(lambda message, levels: got.append(message), "frames", "+")
    speaker = make_bus()
    eventually(lambda: speaker.publish(notice(1), "frames", "lobby") and got)  # the broker knows the subscription
    raw = parts.plain_client(shared_broker.port)
    wrong_version = encode(notice()).replace(b"frame/1", b"frame/9")
    payloads = [b"", b"\xff\x00garbage", b"{}", b"[" * 5000, wrong_version, encode(occupancy(1)), encode(notice())[:-9]]
    for payload in payloads:
        raw.publish(f"posebus/{site}/frames/lobby", payload)
    eventually(lambda: listener.counters["garbage"] == len(payloads))
    raw.loop_stop()
    speaker.publish(notice(7), "frames", "lobby")
    eventually(lambda: got[-1].seq == 7)
    assert {message.seq for message in got} == {1, 7}
    warnings = [record for record in caplog.records if "dropped a payload" in record.message]
    assert len(warnings) == 1
    assert f"posebus/{site}/frames/lobby" in warnings[0].getMessage()


def test_a_failing_handler_harms_neither_the_bus_nor_other_handlers(make_bus):
    got = []
    bus = make_bus()
    bus.subscribe(lambda message, levels: 1 / 0, "frames", "+")
    bus.subscribe(lambda message, levels: got.append(message), "frames", "+")
    eventually(lambda: make_bus().publish(notice(), "frames", "lobby") and got)
    assert bus.counters["handler_errors"] >= 1


def test_the_will_speaks_for_a_client_that_vanishes(make_bus, broker, site):
    got = []
    make_bus().subscribe(lambda message, levels: got.append(message), "status", "+", "+")
    doomed = Bus(broker, site=site, client_id="doomed")
    doomed.set_will(ServiceStatus(service="pose", instance="a", state="offline"), "status", "pose", "a")
    doomed.start()
    assert doomed.wait_connected(15)
    doomed._client.socket().shutdown(socket.SHUT_RDWR)  # the cable is pulled
    doomed._stopped = True
    eventually(lambda: got and got[-1].state == "offline")
    doomed.stop()


def test_after_a_broker_restart_subscriptions_work_again_and_newest_retained_messages_are_sent(own_broker, make_bus):
    own_broker.start()
    bus = make_bus(url=own_broker.url)
    got, seen = [], []
    bus.subscribe(lambda message, levels: got.append(message), "frames", "+")
    own_broker.stop(signal.SIGKILL)
    eventually(lambda: not bus.connected)
    assert "127.0.0.1" in eventually(lambda: bus.last_error)
    for count in range(100):
        bus.publish(occupancy(count), "occupancy", "lobby", "desk")
        assert not bus.publish(notice(), "frames", "lobby")
    assert bus.counters["dropped"] == 100
    own_broker.start()
    assert bus.wait_connected(20)
    eventually(lambda: make_bus(url=own_broker.url).publish(notice(5), "frames", "lobby") and got, every_s=0.2)
    make_bus(url=own_broker.url).subscribe(lambda message, levels: seen.append(message), "occupancy", "#")
    eventually(lambda: seen and seen[-1].count == 99)
    assert bus.counters["reconnects"] >= 1


def test_memory_does_not_grow_while_the_broker_is_gone(own_broker, make_bus):
    own_broker.start()
    bus = make_bus(url=own_broker.url)
    own_broker.stop(signal.SIGKILL)
    eventually(lambda: not bus.connected)
    started = time.monotonic()
    for i in range(20_000):
        bus.publish(notice(i), "frames", "lobby")
        bus.publish(occupancy(i), "occupancy", "lobby", f"zone{i % 5}")
    assert time.monotonic() - started < 60  # none of them waited for the broker
    gc.collect()
    assert len(bus._retained) == 5
    assert len(bus._client._out_packet) == 0
    assert len(bus._client._out_messages) <= 5


def test_a_frozen_broker_neither_blocks_a_publisher_nor_fills_the_memory(own_broker, make_bus):
    own_broker.start()
    bus = make_bus(url=own_broker.url)
    own_broker.process.send_signal(signal.SIGSTOP)
    try:
        accepted = sum(bus.publish(notice(i), "frames", "lobby" + "x" * 50) for i in range(60_000))
    finally:
        own_broker.process.send_signal(signal.SIGCONT)
    assert accepted < 60_000
    assert bus.counters["dropped"] == 60_000 - accepted


def test_a_confirmed_publication_tells_whether_the_broker_has_it(own_broker, make_bus):
    own_broker.start()
    bus = make_bus(url=own_broker.url)
    message = ActiveModel(stage="detector", artifact="a")
    assert bus.publish_confirmed(message, "models", "detector")
    own_broker.stop(signal.SIGKILL)
    assert not bus.publish_confirmed(message, "models", "detector", timeout_s=0.3)
    own_broker.start()
    assert bus.wait_connected(20)
    assert bus.publish_confirmed(message, "models", "detector")


def test_an_unreachable_broker_is_named(site):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bus = Bus(f"mqtt://127.0.0.1:{port}", site=site, client_id="x")
    bus.start()
    assert not bus.wait_connected(0.5)
    assert f"127.0.0.1:{port} cannot be reached" in eventually(lambda: bus.last_error)
    bus.stop()


def test_a_broker_that_hangs_up_on_mqtt_5_is_spoken_to_in_3_1_1(own_broker, site):
    if own_broker.kind != "iotcore":
        pytest.skip("this broker speaks MQTT 5")
    own_broker.start()
    bus = Bus(own_broker.url, site=site, client_id="x")
    bus.start()
    assert bus.wait_connected(20), bus.last_error
    bus.stop()


@pytest.mark.real_parts
def test_a_refused_password_is_named_without_being_shown(tmp_path, site):
    (tmp_path / "passwords").touch(mode=0o600)
    broker = parts.Broker("mosquitto", tmp_path / "b", anonymous=False)
    broker.start()
    bus = Bus(f"mqtt://me:secret@127.0.0.1:{broker.port}", site=site, client_id="x")
    bus.start()
    error = eventually(lambda: bus.last_error)
    assert "refused the connection" in error
    assert "check user, password" in error
    assert "secret" not in error + repr(bus)
    bus.stop()
    broker.stop()


@pytest.mark.real_parts
def test_a_message_that_the_broker_refuses_is_not_taken_for_delivered(tmp_path, site):
    (tmp_path / "acl").write_text("topic read #\n")
    broker = parts.Broker("mosquitto", tmp_path / "b", extra=f"acl_file {tmp_path / 'acl'}\nuser root\n")
    broker.start()
    bus = Bus(broker.url, site=site, client_id="x")
    bus.start()
    try:
        assert bus.wait_connected(15)
        assert not bus.publish_confirmed(ActiveModel(stage="detector", artifact="a"), "models", "detector")
        assert "refused a message" in bus.last_error
        assert bus.counters["refused"] == 1
    finally:
        bus.stop()
        broker.stop()


def test_two_clients_of_one_name_do_not_throw_each_other_out(make_bus):
    first, second = make_bus(client_id="same"), make_bus(client_id="same")
    assert not threading.Event().wait(0.5)
    assert first.connected
    assert second.connected


@pytest.mark.parametrize(("url", "culprit"), [("http://x", "http"), ("mqtt://:1883", "mqtt://"), ("mqtt://h:99999", "Port")])
def test_an_unusable_address_is_refused(url, culprit):
    with pytest.raises(BusError, match=culprit):
        parse_address(url)


def test_an_address_shows_no_password():
    address = parse_address("mqtts://me:s%40crt@gateway")
    assert (address.host, address.port, address.password) == ("gateway", 8883, "s@crt")
    assert "crt" not in f"{address} {address!r}"
