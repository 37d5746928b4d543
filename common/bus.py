"""MQTT: connect, publish, subscribe. MQTT 5 where the broker speaks it, 3.1.1 where not.

Nothing here blocks a callback and no buffer grows while the broker is gone: QoS 0 messages are then dropped and counted, of
QoS 1 messages the newest of each topic is kept. A topic has at most one QoS 1 message in flight, so that a message resent
after a reconnect can never overwrite a newer retained one.
"""

from __future__ import annotations

import collections
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import paho.mqtt.client as mqtt
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion

from common import topics
from common.messages import PayloadError, decode, encode

log = logging.getLogger(__name__)

Handler = Callable[[Any, tuple[str, ...]], None]

MAX_QUEUED = 2_000  # QoS 0 messages handed to the socket but not yet written; ~2 MB at 1 KB each
MAX_UNCONFIRMED = 64
BACKOFF_FIRST_S = 0.25
BACKOFF_CAP_S = 5.0
GARBAGE_LOG_INTERVAL_S = 60.0
UNSUPPORTED_VERSION = (132, 1)  # reason code of MQTT 5, return code of MQTT 3.1.1


class BusError(ValueError):
    """A bus address that cannot be used. The message names it and the fix."""


@dataclass
class _Retained:
    """One QoS 1 topic: what is in flight, and what is to follow it."""

    in_flight: bool = False
    pending: tuple[bytes, bool] | None = None  # payload, retain


@dataclass(frozen=True)
class Address:
    """A parsed bus address; its text form shows no password."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_address(url: str) -> Address:
    """Parse `mqtt[s]://[user[:password]@]host[:port]`; raises BusError."""
    try:
        parts = urlsplit(url if "://" in url else f"mqtt://{url}")
        port = parts.port
    except ValueError as error:
        raise BusError(f"bus address is not valid ({error}): use mqtt://host:1883 or mqtts://host:8883") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise BusError(f"bus address {parts.scheme}://{parts.hostname or ''} is not mqtt://host:port or mqtts://host:port")
    tls = parts.scheme == "mqtts"
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return Address(parts.hostname, port or (8883 if tls else 1883), tls, user, password)


class Bus:
    """One connection to the broker, kept alive in the background.

    url: `mqtt[s]://[user:password@]host:port`. client_id: must be unique on the broker; a random tail is added.
    protocol: `auto` tries MQTT 5 first, `5` and `3.1.1` insist. password: overrides the one in the url.
    Raises BusError for an unusable url or protocol; connection trouble is told by `connected` and `last_error`.
    """

    def __init__(
        self, url: str, *, site: str, client_id: str, protocol: str = "auto", password: str | None = None
    ) -> None:
        if protocol not in ("auto", "5", "3.1.1"):
            raise BusError(f"bus protocol {protocol!r} is not one of auto, 5, 3.1.1")
        self.address = parse_address(url)
        self.site = topics.check_name("site", site)
        self.client_id = f"{client_id}-{random.getrandbits(32):08x}"
        self.counters: collections.Counter[str] = collections.Counter()
        self.connected = False
        self.last_error: str | None = None
        self._password = password if password is not None else self.address.password
        self._auto = protocol == "auto"
        self._version = mqtt.MQTTv311 if protocol == "3.1.1" else mqtt.MQTTv5
        self._will: tuple[str, bytes, int, bool] | None = None
        self._client: mqtt.Client | None = None
        # Never call paho's publish with this lock held: paho calls _on_publish, which takes it, with its own lock held.
        self._lock = threading.RLock()
        self._up = threading.Condition(self._lock)
        self._handlers: list[tuple[tuple[str, ...], str, int, Handler]] = []
        self._retained: dict[str, _Retained] = {}
        self._mids: dict[int, str] = {}
        self._refused_mids: collections.deque[int] = collections.deque(maxlen=256)
        self._early: collections.deque[int] = collections.deque(maxlen=256)  # acknowledged before publish() returned
        self._unconfirmed: dict[bytes, mqtt.MQTTMessageInfo] = {}
        self._queued = 0
        self._attempt = 0
        self._ever_connected = False
        self._stopped = False
        self._garbage_logged: dict[str, float] = {}

    def __repr__(self) -> str:
        state = "connected" if self.connected else f"disconnected, {self.last_error or 'not started'}"
        return f"<Bus {self.address} {self.client_id} {state}>"

    # -- connection ---------------------------------------------------------------------------------------------------

    def set_will(self, message: Struct, name: str, *levels: str) -> None:
        """What the broker publishes for us if we vanish. Call before `start`."""
        spec = topics.BY_NAME[name]
        self._will = (topics.topic(self.site, name, *levels), encode(message), spec.qos, spec.retain)

    def start(self) -> None:
        """Connect in the background and stay connected; returns at once."""
        with self._lock:
            if self._client is None and not self._stopped:
                self._client = self._make_client()
                self._client.loop_start()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until connected; False after timeout_s."""
        with self._up:
            return self._up.wait_for(lambda: self.connected or self._stopped, timeout_s) and self.connected

    def stop(self, *, flush_s: float = 1.0) -> None:
        """Let what is queued go out for at most flush_s, then disconnect. Safe to call twice."""
        deadline = time.monotonic() + flush_s
        while self.connected and time.monotonic() < deadline and self._unsent():
            time.sleep(0.005)
        with self._up:
            self._stopped = True
            client, self._client = self._client, None
            self._up.notify_all()
        if client is not None:
            client.disconnect()
            client.loop_stop()
        self.connected = False

    def _unsent(self) -> bool:
        with self._lock:
            return self._queued > 0 or bool(self._retained)

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=self._version)
        client.max_inflight_messages_set(100)
        client.max_queued_messages_set(1_000)
        if self.address.user is not None:
            client.username_pw_set(self.address.user, self._password)
        if self.address.tls:
            client.tls_set()
        if self._will is not None:
            topic, payload, qos, retain = self._will
            client.will_set(topic, payload, qos, retain)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        self._set_backoff(client)
        client.connect_async(self.address.host, self.address.port, keepalive=10)
        return client

    def _set_backoff(self, client: mqtt.Client) -> None:
        """Full jitter: a fleet that lost its broker must not return in one instant."""
        ceiling = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2 ** min(self._attempt, 10))
        delay = random.uniform(0.02, ceiling)
        client.reconnect_delay_set(min_delay=delay, max_delay=delay)  # type: ignore[arg-type]  # seconds may be a fraction
        self._attempt += 1

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if client is not self._client:
            return
        if reason.is_failure:
            self._refused(client, reason)
            return
        with self._up:
            if self._ever_connected:
                self.counters["reconnects"] += 1
            self.connected, self._ever_connected, self.last_error = True, True, None
            self._attempt = self._queued = 0
            wanted = sorted({("/".join(levels), qos) for levels, _, qos, _ in self._handlers})
            if wanted:
                client.subscribe(wanted)
            waiting = list(self._retained)
            self._up.notify_all()
        for topic in waiting:
            self._send_pending(topic)
        log.info("bus connected address=%s protocol=%s", self.address, "5" if self._version == mqtt.MQTTv5 else "3.1.1")

    def _refused(self, client: mqtt.Client, reason: Any) -> None:
        if self._auto and self._version == mqtt.MQTTv5 and reason.value in UNSUPPORTED_VERSION:
            self._swap_version()
            return
        hint = "check user, password and access rights" if "uthoriz" in str(reason) or "assword" in str(reason) else ""
        self._failed(f"{self.address} refused the connection: {reason}{'; ' + hint if hint else ''}")
        self._set_backoff(client)

    def _on_connect_fail(self, client: mqtt.Client, _data: Any) -> None:
        if client is self._client:
            self._failed(f"{self.address} cannot be reached: is the broker running, are host and port right?")
            self._set_backoff(client)

    def _on_disconnect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if client is not self._client:
            return
        was_connected, self.connected = self.connected, False
        if was_connected:
            self._failed(f"{self.address} closed the connection: {reason}")
        elif self.last_error is None or not reason.is_failure or "refused" not in self.last_error:
            self._failed(f"{self.address} closed the connection before accepting it: {reason}")
            if self._auto and not self._ever_connected and self._attempt >= 2:
                self._swap_version()  # some brokers hang up on a protocol that they do not speak
                return
        self._set_backoff(client)

    def _failed(self, error: str) -> None:
        if error != self.last_error:
            log.warning("bus %s", error)
        self.last_error = error

    def _swap_version(self) -> None:
        """Go on with the other protocol version, on a new client; paho cannot change it on a live one."""
        self._version = mqtt.MQTTv311 if self._version == mqtt.MQTTv5 else mqtt.MQTTv5
        threading.Thread(target=self._replace_client, name="bus-protocol", daemon=True).start()

    def _replace_client(self) -> None:
        with self._lock:
            if self._stopped or self._client is None:
                return
            old, self._client = self._client, self._make_client()
            self._client.loop_start()
        old.disconnect()
        old.loop_stop()

    # -- publishing ---------------------------------------------------------------------------------------------------

    def publish(self, message: Struct, name: str, *levels: str) -> bool:
        """Publish without blocking; QoS and retain come from the topic table.

        Returns False for a QoS 0 message that was dropped (disconnected, or the socket does not keep up). A QoS 1 message
        is kept until the broker has it, or until a newer one of the same topic replaces it.
        """
        spec = topics.BY_NAME[name]
        return self._publish(topics.topic(self.site, name, *levels), encode(message), spec.qos, spec.retain)

    def clear_retained(self, name: str, *levels: str) -> None:
        """Remove the retained message of a topic."""
        self._publish(topics.topic(self.site, name, *levels), b"", 1, True)

    def publish_raw(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Publish bytes as they are; for tools and tests."""
        return self._publish(topic, payload, qos, retain)

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> bool:
        if qos == 0:
            return self._publish_now(topic, payload, retain)
        with self._lock:
            entry = self._retained.setdefault(topic, _Retained())
            if entry.pending is not None:
                self.counters["superseded"] += 1
            entry.pending = (payload, retain)
        self._send_pending(topic)
        return True

    def _publish_now(self, topic: str, payload: bytes, retain: bool) -> bool:
        with self._lock:
            client = self._client
            if client is None or not self.connected or self._queued >= MAX_QUEUED:
                self.counters["dropped"] += 1
                return False
            self._queued += 1
        if client.publish(topic, payload, 0, retain).rc != mqtt.MQTT_ERR_SUCCESS:
            with self._lock:
                self._queued -= 1
                self.counters["dropped"] += 1
            return False
        self.counters["published"] += 1
        return True

    def _send_pending(self, topic: str) -> None:
        """Send a topic's newest QoS 1 message, if none is in flight."""
        with self._lock:
            entry, client = self._retained.get(topic), self._client
            if entry is None or entry.in_flight or entry.pending is None or client is None or not self.connected:
                return
            payload, retain = entry.pending
            entry.in_flight, entry.pending = True, None
        info = client.publish(topic, payload, 1, retain)
        with self._lock:
            if info.rc not in (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_NO_CONN):  # NO_CONN: paho keeps it and sends it later
                entry.in_flight, entry.pending = False, entry.pending or (payload, retain)
                return
            self.counters["published"] += 1
            if info.mid not in self._early:
                self._mids[info.mid] = topic
                return
        self._acknowledged(topic)

    def _acknowledged(self, topic: str) -> None:
        with self._lock:
            entry = self._retained[topic]
            entry.in_flight = False
            if entry.pending is None:
                del self._retained[topic]
        self._send_pending(topic)

    def _on_publish(self, client: mqtt.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        if client is not self._client:
            return
        with self._lock:
            if getattr(reason, "is_failure", False):  # MQTT 5 only: 3.1.1 has no way to say no
                self.counters["refused"] += 1
                self._refused_mids.append(mid)
                self._failed(f"{self.address} refused a message: {reason}; check the access rights of this account")
            topic = self._mids.pop(mid, None)
            if topic is None:
                self._early.append(mid)
                self._queued = max(0, self._queued - 1)
        if topic is not None:
            self._acknowledged(topic)

    def publish_confirmed(self, message: Struct, name: str, *levels: str, timeout_s: float = 5.0) -> bool:
        """Publish at QoS 1 and wait for the broker's acknowledgement; False when it did not come in time.

        Asking again for the same message waits for the one already under way instead of sending another.
        """
        topic, payload = topics.topic(self.site, name, *levels), encode(message)
        key = hashlib.sha256(topic.encode() + b"\0" + payload).digest()
        with self._lock:
            if self._client is None or not self.connected:
                return False
            client, info = self._client, self._unconfirmed.pop(key, None)
        if info is None:
            info = client.publish(topic, payload, 1, topics.BY_NAME[name].retain)
            self.counters["published"] += 1
        try:
            info.wait_for_publish(timeout_s)
            done = info.is_published()
        except (ValueError, RuntimeError):
            return False
        if done and info.mid in self._refused_mids:
            with self._lock:
                self._refused_mids.remove(info.mid)  # ids come round again
            return False
        if not done:
            with self._lock:
                self._unconfirmed[key] = info
                while len(self._unconfirmed) > MAX_UNCONFIRMED:
                    self._unconfirmed.pop(next(iter(self._unconfirmed)))
        return done

    # -- subscribing --------------------------------------------------------------------------------------------------

    def subscribe(self, handler: Handler, name: str, *levels: str) -> None:
        """Call handler(message, levels) for each message; it runs on the bus thread and must be quick.

        `levels` are those below the topic's name; `+` and `#` are wildcards. The payload is decoded by the topic table: what
        does not decode is counted, logged once a minute with its topic, and dropped. A cleared retained topic calls
        handler(None, levels).
        """
        topic = topics.topic(self.site, name, *levels)
        qos = topics.BY_NAME[name].qos
        with self._lock:
            self._handlers.append((tuple(topic.split("/")), name, qos, handler))
            if self._client is not None and self.connected:
                self._client.subscribe(topic, qos)

    def _on_message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if client is not self._client:
            return
        levels = tuple(message.topic.split("/"))
        with self._lock:
            handlers = [(name, handler) for pattern, name, _, handler in self._handlers if _matches(pattern, levels)]
        if not handlers:
            return
        try:
            payload = self._decode(handlers[0][0], bytes(message.payload))
        except PayloadError as error:
            self._garbage(message.topic, error)
            return
        self.counters["received"] += 1
        for _, handler in handlers:
            try:
                handler(payload, levels[3:])
            except Exception:
                self.counters["handler_errors"] += 1
                log.exception("bus handler failed topic=%s", message.topic)

    def _decode(self, name: str, payload: bytes) -> Any:
        spec = topics.BY_NAME[name]
        if not payload and spec.retain:
            return None
        if spec.payload is not None:
            return decode(spec.payload, payload)
        try:
            return msgspec.json.decode(payload, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise PayloadError(f"not a JSON object: {error}") from error

    def _garbage(self, topic: str, error: PayloadError) -> None:
        self.counters["garbage"] += 1
        now = time.monotonic()
        if now - self._garbage_logged.get(topic, -GARBAGE_LOG_INTERVAL_S) >= GARBAGE_LOG_INTERVAL_S:
            if len(self._garbage_logged) > 1_000:
                self._garbage_logged.clear()
            self._garbage_logged[topic] = now
            log.warning("dropped a payload topic=%s reason=%s", topic, error)


def _matches(pattern: tuple[str, ...], levels: tuple[str, ...]) -> bool:
    """Does a topic match a subscription filter? Both split into levels."""
    for i, part in enumerate(pattern):
        if part == "#":
            return True
        if i >= len(levels) or part not in ("+", levels[i]):
            return False
    return len(pattern) == len(levels)
