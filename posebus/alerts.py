"""`posebus alerts`: the history of alerts, from the state store."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from common.frames import connect_store
from common.messages import Alert
from common.outbox import Outbox
from posebus.connection import StateUrlOption

DEFAULT_STATE = "redis://127.0.0.1:6379/1"


def alerts(
    state_url: StateUrlOption = DEFAULT_STATE,
    count: Annotated[int, typer.Option("--count", min=1, help="how many of the newest steps")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per line")] = False,
) -> None:
    """Show past alerts, oldest first: every step from raised to resolved."""
    history = Outbox(connect_store(state_url)).history(count)
    if as_json:
        for alert in history:
            typer.echo(msgspec.json.encode(alert).decode())
    elif not history:
        typer.echo("no alerts yet")
    else:
        Console().print(history_table(history))


def history_table(history: list[Alert]) -> Table:
    """One row for each step of each alert."""
    table = Table(title=f"{len(history)} steps of {len({alert.id for alert in history})} alerts", title_justify="left")
    for column in ("time", "camera", "alert", "event", "severity", "id", "message"):
        table.add_column(column, overflow="fold", no_wrap=column in ("time", "event"))
    for alert in history:
        when = datetime.fromtimestamp(alert.updated_at_ns / 1e9).strftime("%Y-%m-%d %H:%M:%S")
        reason = f" ({alert.reason})" if alert.reason else ""
        table.add_row(when, alert.camera, alert.kind, alert.event, alert.severity, alert.id, alert.message + reason)
    return table
