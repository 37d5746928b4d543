"""`posebus config`: check a file, put it on the bus, print what may stand in it."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from common import health
from common.config import ConfigError, PosebusConfig, load
from posebus.apply import ConfigPublisher, LiveConfig
from posebus.connection import BusOption, connected, make_bus
from posebus.reference import settings_reference
from posebus.running import interruptible

app = typer.Typer(help="Check, apply and describe posebus.yaml.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(help="the configuration file", show_default=False)]


@app.command()
def check(file: FileArgument) -> None:
    """Validate a file; prints every problem as file:line: key: reason and exits 1 when there is one."""
    try:
        config = load(file)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    zones = sum(len(camera.zones) for camera in config.cameras)
    typer.echo(f"{file}: good: site={config.name} cameras={len(config.cameras)} zones={zones}")


@app.command()
def apply(
    file: FileArgument,
    bus: BusOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="keep running: apply each change and after reconnects")] = False,
) -> None:
    """Validate a file and publish its parts, retained; only those that changed."""
    if watch:
        _watch(file, bus)
        return
    config = load(file)
    connection = make_bus(bus or config.bus, site=config.name, name="config")
    publisher = ConfigPublisher(connection)
    with connected(connection):
        changed = publisher.apply(config)
    typer.echo(f"applied {file} to {connection.address}: {', '.join(changed) if changed else 'nothing changed'}")


def _watch(file: Path, bus: str | None) -> None:
    """Until SIGTERM or Ctrl-C, which also end a wait for the broker's answer."""
    with contextlib.suppress(KeyboardInterrupt), interruptible():
        config = _wait_for_good(file)
        connection = make_bus(bus or config.bus, site=config.name, name="config")
        live = LiveConfig(file, ConfigPublisher(connection), say=_say)
        path = health.health_file("config")
        connection.start()
        try:
            while True:
                if connection.connected:
                    live.poll()
                if connection.connected and live.applied:
                    health.touch(path)
                time.sleep(0.5)
        finally:
            connection.stop(flush_s=0.2)
            path.unlink(missing_ok=True)


def _wait_for_good(file: Path) -> PosebusConfig:
    """The file's content once it is good: this is a service in compose, where files come and go."""
    said = ""
    while True:
        try:
            return load(file)
        except ConfigError as error:
            if str(error) != said:
                said = str(error)
                _say(f"refused: {said}; waiting for a good file")
        time.sleep(0.5)


def _say(line: str) -> None:
    typer.echo(line, err=True)


@app.command()
def schema(
    json_schema: Annotated[bool, typer.Option("--json-schema", help="JSON Schema, for editors")] = False,
) -> None:
    """Print every key with its type, default and meaning."""
    if json_schema:
        described: dict[str, Any] = PosebusConfig.model_json_schema(by_alias=True)
        typer.echo(json.dumps(described, indent=2))
    else:
        typer.echo(settings_reference())
