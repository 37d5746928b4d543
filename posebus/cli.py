"""The `posebus` command."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from common.bus import BusError
from common.config import ConfigError
from common.frames import StoreError
from common.manifest import ModelError
from common.service import own_version
from posebus import alerts, config_cmd, demo, doctor, models_cmd, tail, up
from posebus.errors import SetupError

app = typer.Typer(
    help="Cameras to safety alerts: people, poses, falls and zones over MQTT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(demo.demo)
app.command()(up.up)
app.add_typer(config_cmd.app, name="config")
app.command()(tail.tail)
app.command()(alerts.alerts)
app.add_typer(models_cmd.app, name="models")
app.command()(doctor.doctor)

USER_ERRORS = (ConfigError, ModelError, StoreError, BusError, SetupError)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"posebus {own_version()}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="log everything, show tracebacks")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")] = False,
) -> None:
    """Options of all commands."""
    del version  # its callback has done the work
    # What goes wrong is said once, by the command itself.
    logging.basicConfig(level=logging.DEBUG if debug else logging.CRITICAL, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the command. Errors that the user can mend are one message on stderr and exit code 2."""
    try:
        app()
    except USER_ERRORS as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"posebus: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("models.") or "--debug" in sys.argv:
            raise
        # The service images carry the manifests only.
        typer.echo(f"posebus: {error.name} is not part of this installation; run the command from a checkout", err=True)
        sys.exit(2)
