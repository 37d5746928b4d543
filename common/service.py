"""What every service process does: environment, logging, bus, stores, clock, signals, status, an orderly end."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import redis

from common import config, health
from common.bus import Bus, BusError
from common.clock import Clock, StoreClock
from common.frames import FrameStore, StoreError, connect_store, store_errors
from common.messages import ConfigPart, ServiceStatus
from common.status import StatusReporter
from common.topics import check_name

log = logging.getLogger(__name__)

STATUS_INTERVAL_S = 5.0
CLOCK_INTERVAL_S = 60.0
S = TypeVar("S", bound=config.Settings)


class BadEnvironmentError(ValueError):
    """A wrong environment variable. The message names it and the fix."""


class Stopped(Exception):
    """The service was asked to stop while it waited."""


@dataclass(frozen=True)
class Environment:
    """What a process is told from outside; everything else comes over the bus."""

    bus: str
    site: str
    instance: str
    bus_password: str | None
    bus_protocol: str
    frames_url: str | None
    state_url: str | None
    log: str

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Environment:
        """Read POSEBUS_* variables; raises BadEnvironmentError naming the variable and the fix."""
        bus = variables.get("POSEBUS_BUS", "")
        if not bus:
            raise BadEnvironmentError("POSEBUS_BUS is not set: give the broker's address, such as mqtt://gateway:1883")
        password = None
        if file := variables.get("POSEBUS_BUS_PASSWORD_FILE"):
            try:
                password = Path(file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise BadEnvironmentError(f"POSEBUS_BUS_PASSWORD_FILE={file}: {error.strerror}") from error
        host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname().lower()).strip("-") or "node"
        level = variables.get("POSEBUS_LOG", "info").upper()
        if not isinstance(logging.getLevelName(level), int):
            raise BadEnvironmentError(f"POSEBUS_LOG={level.lower()} is not one of debug, info, warning, error")
        try:
            return cls(
                bus=bus,
                site=check_name("POSEBUS_SITE", variables.get("POSEBUS_SITE", "home")),
                instance=check_name(
                    "POSEBUS_INSTANCE", variables.get("POSEBUS_INSTANCE") or f"{host[:50]}-{random.getrandbits(16):04x}"
                ),
                bus_password=password,
                bus_protocol=variables.get("POSEBUS_BUS_PROTOCOL", "auto"),
                frames_url=variables.get("POSEBUS_FRAMES_URL"),
                state_url=variables.get("POSEBUS_STATE_URL"),
                log=level,
            )
        except ValueError as error:
            raise BadEnvironmentError(str(error)) from error


class Service:
    """What a service's `run` is handed. See the attributes; all of them are ready to use."""

    def __init__(self, name: str, environment: Environment) -> None:
        self.name = name
        self.environment = environment
        self.instance = environment.instance
        self.site = environment.site
        self.stopping = threading.Event()
        self.bus = Bus(
            environment.bus,
            site=environment.site,
            client_id=f"{name}-{environment.instance}",
            protocol=environment.bus_protocol,
            password=environment.bus_password,
        )
        self.bus.set_will(
            ServiceStatus(service=name, instance=self.instance, state="offline", reason="connection lost"),
            "status", name, self.instance,
        )  # fmt: skip
        self.general: config.SiteSettings
        self.frames: FrameStore
        self.state: redis.Redis
        self.clock: Clock
        self.status: StatusReporter
        self._store_clock: StoreClock

    def open(self) -> None:
        """Connect, learn the general settings and the stores' addresses, and set the clock; raises Stopped."""
        self.bus.start()
        self.general = self.wait_config("general", config.SiteSettings)
        urls = (self.environment.frames_url, self.environment.state_url)
        if not all(urls):
            store = self.wait_config("store", config.StoreSettings)
            urls = (urls[0] or store.frames_url, urls[1] or store.state_url)
        self.frames = FrameStore(connect_store(str(urls[0])), ttl_s=2 * self.general.max_age_s)
        self.state = connect_store(str(urls[1]))
        self._store_clock = StoreClock(self.frames.store)
        self.clock = self._store_clock
        self._first_sync()
        self.status = StatusReporter(self.name, self.instance, self.clock, self._publish_status, version=own_version())

    def _publish_status(self, status: ServiceStatus) -> None:
        self.bus.publish(status, "status", self.name, self.instance)

    def _first_sync(self) -> None:
        while not self._sync_clock():
            if self.stopping.wait(0.5):
                raise Stopped

    def _sync_clock(self) -> bool:
        try:
            with store_errors(self.frames.store):
                self._store_clock.sync()
        except StoreError as error:
            log.warning("clock not set: %s", error)
            return False
        if abs(self._store_clock.last_step_ns) > 50_000_000:
            log.warning("the store's clock jumped step_ms=%d", self._store_clock.last_step_ns // 1_000_000)
        return True

    def wait_config(self, part: str, kind: type[S]) -> S:
        """Wait for a part of the configuration and return it; raises Stopped when the service is to end first."""
        arrived: list[S] = []
        event = threading.Event()

        def on_part(settings: S) -> None:
            arrived.append(settings)
            event.set()

        self.watch_config(part, kind, on_part)
        waited = 0
        while not event.wait(0.1):
            if self.stopping.is_set():
                raise Stopped
            waited += 1
            if waited % 100 == 0:
                why = self.bus.last_error or f"no config/{part} on the bus; publish it with `posebus config apply`"
                log.warning("waiting for configuration part=%s: %s", part, why)
        return arrived[-1]

    def watch_config(self, part: str, kind: type[S], on_change: Callable[[S], None]) -> None:
        """Call on_change(settings), on the bus thread, with each valid revision of a part, the present one included.

        A revision that does not validate is refused, said in the status, and changes nothing.
        """
        seen: list[str] = []

        def on_message(message: ConfigPart | None, _levels: tuple[str, ...]) -> None:
            if message is None:
                return
            if message.revision in seen[-1:]:  # the one in force, perhaps again after one that was refused
                if hasattr(self, "status"):
                    self.status.sound(f"config/{part}")
                return
            try:
                settings = config.parse_part(kind, message)
            except config.ConfigError as error:
                log.error("configuration refused: %s", error)
                if hasattr(self, "status"):
                    self.status.degraded(f"configuration refused: {error}", about=f"config/{part}")
                return
            seen.append(message.revision)
            del seen[:-1]
            if hasattr(self, "status"):
                self.status.sound(f"config/{part}")
            on_change(settings)

        self.bus.subscribe(on_message, "config", part)

    def housekeeping(self, path: Path) -> None:
        """Until the end: touch the health file each second, publish the status, keep the clock right."""
        since_status = since_clock = 0.0
        while not self.stopping.wait(1.0):
            health.touch(path)
            since_status, since_clock = since_status + 1.0, since_clock + 1.0
            try:
                if (since_clock >= CLOCK_INTERVAL_S or self._clock_is_off()) and self._sync_clock():
                    since_clock = 0.0
                    self.status.set(clock_error_ms=self.clock_error_ms)
                if since_status >= STATUS_INTERVAL_S:
                    since_status = 0.0
                    self._report()
            except Exception:  # without this thread the service would look dead
                log.exception("housekeeping failed")

    def _report(self) -> None:
        for name, value in tuple(self.bus.counters.items()):
            self.status.count(f"bus_{name}", value - self.status.counters.get(f"bus_{name}", 0))
        self.status.interval()

    def _clock_is_off(self) -> bool:
        """After a step of the store's clock, services that still had the old time would drop each other's frames."""
        try:
            with store_errors(self.frames.store):
                return self._store_clock.has_jumped()
        except StoreError:
            return False

    @property
    def clock_error_ms(self) -> float:
        """Bound of this service's clock error against the store."""
        return round((self._store_clock.error_bound_ns or 0) / 1e6, 3)

    def close(self, reason: str) -> None:
        """Say goodbye and disconnect."""
        if hasattr(self, "status"):
            self._publish_status(self.status.offline(reason))
        self.bus.stop()
        for store in (getattr(self, "state", None), self.frames.store if hasattr(self, "frames") else None):
            if store is not None:
                store.close()


def own_version() -> str:
    """The installed version of posebus."""
    try:
        return version("posebus")
    except PackageNotFoundError:
        return "0+unknown"


def run_service(name: str, run: Callable[[Service], None]) -> int:
    """Run a service until SIGTERM or SIGINT; returns the exit code.

    0: ended in order. 1: `run` raised. 2: the environment is wrong, with one line that says how.
    """
    try:
        environment = Environment.read()
        logging.basicConfig(
            level=environment.log, stream=sys.stderr, format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s"
        )
        service = Service(name, environment)
    except (BadEnvironmentError, BusError, ValueError) as error:
        sys.stderr.write(f"posebus {name}: {error}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        # On a thread: the main thread may hold the event's own lock, inside wait(), when the signal comes.
        signal.signal(number, lambda _number, _frame: threading.Thread(target=service.stopping.set).start())
    path = health.health_file(name)
    health.touch(path)
    try:
        return _run(service, run, path)
    finally:
        path.unlink(missing_ok=True)


def _run(service: Service, run: Callable[[Service], None], path: Path) -> int:
    reason, code = "stopped", 0
    try:
        waiting = _touch_while_waiting(service, path)
        service.open()
        waiting.set()
        log.info("service starts instance=%s site=%s bus=%s", service.instance, service.site, service.bus.address)
        threading.Thread(target=service.housekeeping, args=(path,), name="housekeeping", daemon=True).start()
        service.status.set(clock_error_ms=service.clock_error_ms)
        run(service)
    except Stopped:
        pass
    except Exception as error:
        log.exception("service failed")
        reason, code = f"failed: {error}", 1
    finally:
        service.stopping.set()
        service.close(reason)
    return code


def _touch_while_waiting(service: Service, path: Path) -> threading.Event:
    """Waiting for the bus or a configuration is healthy: a restart would not help."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(1.0) and not service.stopping.is_set():
            health.touch(path)

    threading.Thread(target=loop, name="waiting", daemon=True).start()
    return over


