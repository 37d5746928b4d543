"""How the commands find bus and stores: option, environment, then the default address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from common.bus import Bus
from posebus.errors import SetupError

DEFAULT_BUS = "mqtt://127.0.0.1:1883"

BusOption = Annotated[
    str | None, typer.Option("--bus", envvar="POSEBUS_BUS", help=f"mqtt[s]://[user:password@]host:port [{DEFAULT_BUS}]")
]
SiteOption = Annotated[str, typer.Option("--site", envvar="POSEBUS_SITE", help="second level of every topic")]
StateUrlOption = Annotated[
    str, typer.Option("--state-url", envvar="POSEBUS_STATE_URL", help="Redis for leases, state and alerts")
]


def make_bus(url: str | None, *, site: str, name: str) -> Bus:
    """A bus connection, not yet started, with the credential and protocol of the environment.

    Raises SetupError when POSEBUS_BUS_PASSWORD_FILE names a file that cannot be read.
    """
    password = None
    password_file = os.environ.get("POSEBUS_BUS_PASSWORD_FILE")
    if password_file:
        try:
            password = Path(password_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SetupError(
                f"POSEBUS_BUS_PASSWORD_FILE {password_file!r} cannot be read: {error.strerror}; mend or unset it"
            ) from error
    protocol = os.environ.get("POSEBUS_BUS_PROTOCOL", "auto")
    return Bus(url or DEFAULT_BUS, site=site, client_id=f"posebus-{name}", protocol=protocol, password=password)


@contextmanager
def connected(bus: Bus, *, timeout_s: float = 8.0) -> Iterator[Bus]:
    """Start the bus, wait for the connection, stop it at the end; SetupError tells why there is none."""
    bus.start()
    try:
        if not bus.wait_connected(timeout_s):
            reason = bus.last_error or f"{bus.address} did not answer within {timeout_s:g} s"
            raise SetupError(f"bus: {reason}; set --bus or POSEBUS_BUS, `posebus doctor` tells more")
        yield bus
    finally:
        bus.stop()
