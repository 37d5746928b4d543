"""`posebus up`: a whole site on this machine, from one file."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from common.config import PosebusConfig, load
from posebus.apply import ConfigPublisher, LiveConfig
from posebus.running import RunningSite, bus_from_environment, interruptible, why_unreachable
from posebus.supervisor import STOP_ORDER


def up(
    config: Annotated[Path, typer.Option("--config", "-c", help="the configuration file")] = Path("posebus.yaml"),
    scale: Annotated[list[str] | None, typer.Option("--scale", help="SERVICE=N, e.g. detector=2; repeatable")] = None,
    embedded: Annotated[
        bool | None,
        typer.Option("--embedded/--no-embedded", help="own broker and stores [default: when the bus is not reachable]"),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="keep broker and store data here [temporary]")] = None,
    logs: Annotated[Path, typer.Option("--logs", help="one log file per service")] = Path("out/logs"),
) -> None:
    """Run all services until Ctrl-C; edits of the configuration file apply at once."""
    settings = load(config)
    counts = {**default_scale(settings), **parse_scale(scale or [])}
    bus_url, note = choose_bus(settings, embedded)
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
    site = RunningSite(site=settings.name, logs=logs.resolve(), scale=counts, bus_url=bus_url, data=data)
    with interruptible():
        started = time.monotonic()
        try:
            _run(site, config, note)
        except KeyboardInterrupt:
            typer.echo("stopping; Ctrl-C again kills", err=True)
            started = time.monotonic()
        finally:
            killed = site.stop()
    how = f"; killed: {', '.join(killed)}" if killed else ""
    typer.echo(f"stopped in {time.monotonic() - started:.1f} s{how}", err=True)


def choose_bus(settings: PosebusConfig, embedded: bool | None) -> tuple[str | None, str]:
    """The bus to use, None for an embedded one, and a line that says why."""
    url = bus_from_environment(settings)
    if embedded is True:
        return None, "embedded broker and stores"
    reason = why_unreachable(url)
    if reason is None:
        return url, f"bus {url.rsplit('@', 1)[-1]}"
    if embedded is False:
        return url, f"{reason}; waiting for it, as --no-embedded was given"
    return None, f"{reason}: running an embedded broker and stores instead"


def default_scale(settings: PosebusConfig) -> dict[str, int]:
    """How many of a service where it is not one: no detector for a pose service that works bottom-up, nobody would hear it."""
    return {"detector": 0} if settings.pose.approach == "bottom_up" else {}


def parse_scale(items: list[str]) -> dict[str, int]:
    """`["detector=2"]` to `{"detector": 2}`; raises typer.BadParameter naming the culprit."""
    counts: dict[str, int] = {}
    for item in items:
        service, _, number = item.partition("=")
        if service not in STOP_ORDER:
            raise typer.BadParameter(f"--scale {item}: no service {service!r}; there are {', '.join(sorted(STOP_ORDER))}")
        if not number.isdigit() or int(number) > 64:
            raise typer.BadParameter(f"--scale {item}: give a number from 0 to 64, e.g. {service}=2")
        counts[service] = int(number)
    return counts


def _run(site: RunningSite, file: Path, note: str) -> None:
    """Until KeyboardInterrupt."""
    console = Console()
    site.open()
    live_config = LiveConfig(file, ConfigPublisher(site.bus), say=site.view.say, adapt=site.adapt)
    site.start()
    notes = [note, f"posebus tail --bus {site.bus.address} --site {site.bus.site}   logs {site.logs}"]
    is_terminal = console.is_terminal
    display = Live(console=console, refresh_per_second=4)
    screen: AbstractContextManager[object] = display if is_terminal else nullcontext()
    if not is_terminal:
        for line in notes:
            typer.echo(line)
    said: list[str] = []
    with screen:
        while True:
            site.poll()
            if site.bus.connected:
                live_config.poll()
            said = (said + site.view.take_lines())[-200:]
            if is_terminal:
                display.update(site.view.render(f"posebus {site.bus.site}", [*notes, *said[-5:]]))
            else:
                for line in said:
                    typer.echo(line)
                said = []
            time.sleep(0.2)
