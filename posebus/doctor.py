"""`posebus doctor`: what works here, what does not, and the fix for each."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posebus import checks
from posebus.checks import Finding
from posebus.connection import BusOption, SiteOption

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def doctor(
    bus: BusOption = None,
    frames_url: Annotated[str | None, typer.Option("--frames-url", envvar="POSEBUS_FRAMES_URL")] = None,
    state_url: Annotated[str | None, typer.Option("--state-url", envvar="POSEBUS_STATE_URL")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="also check this file")] = None,
    site: SiteOption = "home",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per finding")] = False,
) -> None:
    """Check this machine, the bus and the stores; exits 1 when something fails."""
    findings = [
        *checks.python(),
        *checks.runtimes(),
        *checks.accelerators(),
        *checks.models(config),
        *checks.bus(bus, site),
        *checks.stores(frames_url, state_url),
        *checks.clock(frames_url or state_url),
        *checks.disk(),
        *checks.configuration(config),
    ]
    if as_json:
        for finding in findings:
            typer.echo(json.dumps(asdict(finding)))
    else:
        _report(findings)
    failed = sum(finding.level == "fail" for finding in findings)
    if failed:
        raise typer.Exit(1)


def _report(findings: list[Finding]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("", "what", "finding", "fix"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        fix = "" if finding.level == "ok" else finding.fix
        table.add_row(Text(finding.level, style=_STYLE[finding.level]), finding.what, Text(finding.text), Text(fix))
    console = Console(width=None if os.isatty(1) else 160)
    console.print(table)
    counts = {level: sum(finding.level == level for finding in findings) for level in ("ok", "warn", "fail", "skip")}
    typer.echo(", ".join(f"{n} {level}" for level, n in counts.items() if n))
