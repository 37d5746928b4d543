"""A whole site as child processes: embedded broker and stores if wanted, services, and their orderly end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.bus import Bus, parse_address
from common.config import PosebusConfig, StoreSettings
from posebus.connection import make_bus
from posebus.embedded import PROTOCOL, EmbeddedStack
from posebus.live import SiteView
from posebus.supervisor import Supervisor, service_specs


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does; and SIGINT too where a shell started us with it ignored."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def why_unreachable(bus_url: str) -> str | None:
    """None when something listens at the bus address, else why not."""
    address = parse_address(bus_url)
    try:
        with socket.create_connection((address.host, address.port), timeout=1.5):
            return None
    except OSError as error:
        return f"{address} cannot be reached ({error.strerror or error})"


class RunningSite:
    """Bus connection, services and, unless `bus_url` is given, an embedded stack. Start with `start`, end with `stop`.

    data: where the embedded stack keeps its data, None for a temporary folder. logs: one file per service.
    """

    def __init__(
        self, *, site: str, logs: Path, scale: Mapping[str, int], bus_url: str | None = None, data: Path | None = None
    ) -> None:
        self.stack = EmbeddedStack(data) if bus_url is None else None
        self.logs = logs
        self._site = site
        self._scale = scale
        self._bus_url = bus_url
        self.bus: Bus
        self.view: SiteView
        self.supervisor: Supervisor

    def open(self) -> None:
        """Start the embedded stack, if any, and prepare the connection; subscribe now, then call `start`."""
        if self.stack is not None:
            self.stack.start()
            self.bus = Bus(self.stack.bus_url, site=self._site, client_id="posebus-up", protocol=PROTOCOL)
        else:
            self.bus = make_bus(self._bus_url, site=self._site, name="up")
        self.view = SiteView(self.bus)
        specs = service_specs(self.environment(), self._scale, logs=self.logs)
        self.supervisor = Supervisor(specs, logs=self.logs, say=self.view.say)

    def start(self) -> None:
        """Connect and start the services; they wait for their configuration on the bus."""
        self.bus.start()
        self.supervisor.start()

    def poll(self) -> None:
        """Start again what has ended. Call a few times a second."""
        for line in self.stack.revive() if self.stack is not None else []:
            self.view.say(line)
        self.supervisor.poll()

    def environment(self) -> dict[str, str]:
        """What the services are told."""
        where = self.stack.environment() if self.stack is not None else {"POSEBUS_BUS": self._bus_url or ""}
        return {**where, "POSEBUS_SITE": self._site}

    def adapt(self, config: PosebusConfig) -> PosebusConfig:
        """The configuration with the addresses of the embedded stack."""
        if self.stack is None:
            return config
        store = StoreSettings(frames_url=self.stack.frames_url, state_url=self.stack.state_url)
        return config.model_copy(update={"bus": self.stack.bus_url, "store": store})

    def stop(self) -> list[str]:
        """Stop services, connection, stores, broker, in this order, within five seconds; returns what had to be killed.

        A KeyboardInterrupt on the way (a second Ctrl-C) kills everything at once.
        """
        killed: list[str] = []
        try:
            if hasattr(self, "supervisor"):
                killed = self.supervisor.stop()
                self.bus.stop(flush_s=0.2)
            if self.stack is not None:
                self.stack.stop(0.8)
        except KeyboardInterrupt:
            killed = ["everything"]
        finally:
            with shielded():
                if hasattr(self, "supervisor"):
                    self.supervisor.kill()
                if self.stack is not None:
                    self.stack.kill()
        return killed


@contextmanager
def shielded() -> Iterator[None]:
    """Let no further signal interrupt the killing of what is left."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def bus_from_environment(config: PosebusConfig) -> str:
    """POSEBUS_BUS, or the address in the file."""
    return os.environ.get("POSEBUS_BUS") or config.bus
