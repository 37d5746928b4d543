"""`posebus tail`: live alerts and status, for people and for pipes."""

from __future__ import annotations

import queue
import sys
import time
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from common.bus import Bus
from posebus.connection import BusOption, SiteOption, connected, make_bus
from posebus.live import SiteView

_TOPICS = (("alerts", 2), ("state", 2), ("occupancy", 2), ("status", 2))
_MAX_WAITING = 10_000


def tail(
    bus: BusOption = None,
    site: SiteOption = "home",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per message, for pipes")] = False,
    count: Annotated[int | None, typer.Option("--count", min=1, help="end after so many messages")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0, help="end after so many seconds")] = None,
) -> None:
    """Show live alerts and status; Ctrl-C ends it."""
    connection = make_bus(bus, site=site, name="tail")
    deadline = time.monotonic() + seconds if seconds is not None else None
    try:
        if as_json:
            _tail_json(connection, count, deadline)
        else:
            _tail_view(connection, count, deadline)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()


def _tail_json(bus: Bus, count: int | None, deadline: float | None) -> None:
    waiting: queue.Queue[dict[str, Any]] = queue.Queue(_MAX_WAITING)

    def listen(name: str, levels: int) -> None:
        def on_message(message: Any, names: tuple[str, ...]) -> None:
            if message is not None and not waiting.full():
                waiting.put({"topic": "/".join((name, *names)), **msgspec.to_builtins(message)})

        bus.subscribe(on_message, name, *["+"] * levels)

    for name, levels in _TOPICS:
        listen(name, levels)
    with connected(bus):
        left = count
        while left is None or left > 0:
            timeout = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
            if timeout <= 0:
                return
            try:
                message = waiting.get(timeout=timeout)
            except queue.Empty:
                continue
            sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
            sys.stdout.buffer.flush()
            left = left - 1 if left is not None else None


def _tail_view(bus: Bus, count: int | None, deadline: float | None) -> None:
    console = Console()
    view = SiteView(bus)
    with connected(bus):
        if console.is_terminal:
            with Live(console=console, refresh_per_second=4, transient=False) as live:
                _follow(view, count, deadline, lambda: live.update(view.render(f"posebus {bus.site}")))
        else:
            _follow(view, count, deadline, lambda: None, echo=True)


def _follow(view: SiteView, count: int | None, deadline: float | None, redraw: Any, *, echo: bool = False) -> None:
    """Until enough lines, the deadline or Ctrl-C."""
    seen = 0
    while (count is None or seen < count) and (deadline is None or time.monotonic() < deadline):
        for line in view.take_lines():
            if echo and (count is None or seen < count):
                typer.echo(line)
            seen += 1
        redraw()
        time.sleep(0.1)
