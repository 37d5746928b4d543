"""Alerts that survive a crash: a Redis stream is written before anything is said.

Analytics commits alerts and its own state in one step, guarded by its lease, so a replica that lost its camera cannot add to
it. The publisher reads the stream as a consumer group, publishes at QoS 1 and acknowledges an entry only when the broker
has it: a crash or an outage delays alerts; they may come twice, never not at all. Consumers deduplicate by (id, revision).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import redis

from common.bus import Bus
from common.frames import StoreError, store_errors
from common.leases import Leases
from common.messages import Alert, PayloadError, decode, encode

log = logging.getLogger(__name__)

GROUP = "publisher"
CONSUMER = "publisher"  # one name for all owners, so that a new owner finds what the old one left unacknowledged
KEEP = 100_000  # entries of history
RETRY_S = 0.5

_COMMIT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 4, #ARGV do redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'alert', ARGV[i]) end
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""


class Outbox:
    """The stream of alerts in the state store."""

    def __init__(self, store: redis.Redis, *, stream: str = "alerts") -> None:
        self.store = store
        self.stream = stream
        self._commit = store.register_script(_COMMIT)

    def commit(self, leases: Leases, name: str, state_key: str, state: bytes, alerts: Sequence[Alert]) -> bool:
        """Save state and append alerts in one step, if the lease `name` is still ours.

        Returns False, with nothing written, when the lease is lost. Raises StoreError, with nothing known to be written:
        commit again then; what was written twice carries the same (id, revision).
        """
        with store_errors(self.store):
            done = self._commit(
                keys=[leases.key(name), state_key, self.stream],
                args=[leases.me, state, KEEP, *(encode(alert) for alert in alerts)],
            )
        return bool(done)

    def history(self, count: int = 100) -> list[Alert]:
        """The newest alerts, oldest first. Raises StoreError."""
        with store_errors(self.store):
            entries: Any = self.store.xrevrange(self.stream, count=count)
        return [decode(Alert, fields[b"alert"]) for _, fields in reversed(entries)]


class OutboxPublisher:
    """A thread that carries alerts from the stream to the bus; of all replicas, the holder of the lease does it."""

    def __init__(self, store: redis.Redis, bus: Bus, *, owner: str, stream: str = "alerts") -> None:
        self._store = store
        self._bus = bus
        self._stream = stream
        self._leases = Leases(store, "outbox", owner)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._grouped = False

    def start(self) -> None:
        """Begin in the background."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Finish the entry in hand and give the lease to another replica."""
        self._stopping.set()
        self._thread.join(timeout_s)
        try:
            self._leases.release(self._stream)
        except StoreError as error:
            log.warning("outbox lease not released: %s", error)

    def _run(self) -> None:
        pending = True  # after (re)gaining the lease, first what a former owner left
        while not self._stopping.is_set():
            try:
                if not self._leases.acquire(self._stream):
                    pending = True
                    self._stopping.wait(RETRY_S)
                    continue
                pending = self._round(pending)
            except StoreError as error:
                self._grouped, pending = False, True
                log.warning("outbox waits: %s", error)
                self._stopping.wait(RETRY_S)

    def _round(self, pending: bool) -> bool:
        """Publish one batch; returns whether unacknowledged entries may remain."""
        with store_errors(self._store):
            self._ensure_group()
            found: Any = self._store.xreadgroup(
                GROUP, CONSUMER, {self._stream: "0" if pending else ">"}, count=16, block=None if pending else 500
            )
        entries = found[0][1] if found else []
        for entry_id, fields in entries:
            if self._stopping.is_set() or not self._leases.renew(self._stream):
                return True
            if not self._publish(entry_id, fields):
                self._stopping.wait(RETRY_S)
                return True
        return pending and bool(entries)

    def _publish(self, entry_id: bytes, fields: dict[bytes, bytes] | None) -> bool:
        try:
            alert = decode(Alert, (fields or {}).get(b"alert", b""))
        except PayloadError as error:  # trimmed or foreign: it can never be published, so it must not block the rest
            log.error("outbox skips entry=%s: %s", entry_id.decode(), error)
        else:
            if not self._bus.publish_confirmed(alert, "alerts", alert.camera, alert.kind, timeout_s=2.0):
                return False
        with store_errors(self._store):
            self._store.xack(self._stream, GROUP, entry_id)
        return True

    def _ensure_group(self) -> None:
        if self._grouped:
            return
        try:
            self._store.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._grouped = True
