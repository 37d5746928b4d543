"""Puts a configuration on the bus: its parts, retained, and only those that changed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.bus import Bus
from common.config import PARTS, ConfigError, PosebusConfig, load, split
from common.messages import ConfigPart
from posebus.errors import SetupError

log = logging.getLogger(__name__)
SETTLE_S = 1.0  # MQTT does not say when all retained messages have come; so much after the connection they have


class ConfigPublisher:
    """Knows which parts are on the bus and publishes the others. Create it before the bus starts."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, str] = {}
        self._changed = threading.Condition()
        self._reconnects = 0
        bus.subscribe(self._on_part, "config", "+")

    def _on_part(self, part: Any, levels: tuple[str, ...]) -> None:
        with self._changed:
            if isinstance(part, ConfigPart):
                self._known[levels[0]] = part.revision
            else:
                self._known.pop(levels[0], None)
            self._changed.notify_all()

    def reconnected(self) -> bool:
        """True once after each reconnect; what was known is forgotten: a broker may return without its memory."""
        count = self._bus.counters["reconnects"]
        if count == self._reconnects:
            return False
        self._reconnects = count
        with self._changed:
            self._known.clear()
        return True

    def apply(self, config: PosebusConfig, *, settle_s: float = SETTLE_S) -> list[str]:
        """Publish the parts of a configuration that differ from those on the bus; returns their names. See `publish`."""
        return self.publish(split(config), settle_s=settle_s)

    def publish(self, parts: Mapping[str, ConfigPart], *, settle_s: float = SETTLE_S) -> list[str]:
        """Publish the parts that differ from those on the bus; returns their names. Removes nothing.

        Waits at most settle_s to learn what is on the bus. `cameras` goes last, so that what it needs is there before it.
        Raises SetupError when the broker does not confirm a part.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._known.keys() >= PARTS.keys(), settle_s)
            changed = [name for name in parts if self._known.get(name) != parts[name].revision]
        for name in sorted(changed, key=_order):
            if not self._bus.publish_confirmed(parts[name], "config", name):
                reason = self._bus.last_error or "may this user write config/#?"
                raise SetupError(f"bus: {self._bus.address} did not confirm config/{name}: {reason}")
            with self._changed:
                self._known[name] = parts[name].revision
        return changed


def _order(part: str) -> int:
    order = ("general", "store", "detector", "pose", "analytics", "sources", "cameras")
    return order.index(part) if part in order else len(order)


class FileWatcher:
    """Tells when a file changed: by what `stat` says, as inotify does not see through every mount."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def changed(self) -> bool:
        """True once after each change; also when the file vanished or came back."""
        now = self._look()
        before, self._seen = self._seen, now
        return now != before

    def _look(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class LiveConfig:
    """Keeps the bus at what the file says: call `poll` often; a bad edit is reported and changes nothing.

    say: gets one line for each thing that happened. adapt: last changes before publishing, e.g. the embedded stores.
    """

    def __init__(
        self,
        path: Path,
        publisher: ConfigPublisher,
        *,
        say: Callable[[str], None],
        adapt: Callable[[PosebusConfig], PosebusConfig] = lambda config: config,
    ) -> None:
        self._path = path
        self._publisher = publisher
        self._say = say
        self._adapt = adapt
        self._watcher = FileWatcher(path)
        self._dirty = True
        self._retry_at_s = 0.0
        self.config: PosebusConfig | None = None  # the last good one

    @property
    def applied(self) -> bool:
        """Whether the last good configuration is on the bus."""
        return self.config is not None and not self._dirty

    def poll(self) -> None:
        """Read the file if it changed; publish if it or the connection did."""
        if self._watcher.changed() or (self.config is None and self._dirty):
            self._read()
        self._dirty = self._publisher.reconnected() or self._dirty
        if self._dirty and self.config is not None and time.monotonic() >= self._retry_at_s:
            self._publish()

    def _read(self) -> None:
        try:
            config = load(self._path)
            if self.config is not None and config.name != self.config.name:
                raise ConfigError(f"{self._path}: site: cannot change from {self.config.name!r} while running; restart")
        except ConfigError as error:
            kept = "; the configuration before stays" if self.config is not None else ""
            self._say(f"refused: {error}{kept}")
            self._dirty = self._dirty and self.config is not None
            return
        self.config, self._dirty = config, True

    def _publish(self) -> None:
        assert self.config is not None
        try:
            changed = self._publisher.apply(self._adapt(self.config))
        except SetupError as error:
            self._retry_at_s = time.monotonic() + 2.0
            self._say(f"not applied yet: {error}")
            return
        self._dirty = False
        self._say(f"applied {self._path}: {', '.join(changed) if changed else 'nothing changed'}")
