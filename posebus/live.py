"""What is known of a site right now, and how it looks on a terminal: shared by `tail`, `up` and `demo`."""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.bus import Bus
from common.messages import Alert, CameraHealth, ServiceStatus

_STATE_STYLE = {"ready": "green", "starting": "yellow", "degraded": "yellow", "offline": "red",
                "streaming": "green", "ended": "cyan", "connecting": "yellow", "failed": "red"}  # fmt: skip
_SEVERITY_STYLE = {"critical": "bold white on red", "warning": "bold black on yellow", "info": "bold white on blue"}
_ORDER = ("camera", "detector", "pose", "analytics")
_DROPS = ("drop", "late", "stale", "expired", "superseded")  # a lost claim is none: another worker has the frame


class SiteView:
    """Collects status and alerts from the bus; `render` draws them. Thread-safe. Create it before the bus starts."""

    def __init__(self, bus: Bus, *, keep: int = 8) -> None:
        self._bus = bus
        self._lock = threading.Lock()
        self._services: dict[tuple[str, str], ServiceStatus] = {}
        self._alerts: deque[Alert] = deque(maxlen=keep)
        self._open: dict[str, Alert] = {}
        self._seen: deque[tuple[str, int]] = deque(maxlen=1_000)
        self._lines: deque[str] = deque(maxlen=500)
        bus.subscribe(self._on_status, "status", "+", "+")
        bus.subscribe(self._on_alert, "alerts", "+", "+")

    def _on_status(self, status: Any, levels: tuple[str, ...]) -> None:
        key = (levels[0], levels[1])
        with self._lock:
            before = self._services.get(key)
            if status is None:
                self._services.pop(key, None)
                return
            self._services[key] = status
            if before is None or (before.state, before.reason) != (status.state, status.reason):
                self._lines.append(status_line(status))
            self._lines += camera_lines(status, before.cameras if before else {})

    def _on_alert(self, alert: Alert, _levels: tuple[str, ...]) -> None:
        with self._lock:
            if (alert.id, alert.revision) in self._seen:
                return
            self._seen.append((alert.id, alert.revision))
            self._alerts.append(alert)
            self._lines.append(alert_line(alert))
            if alert.event == "resolved":
                self._open.pop(alert.id, None)
            else:
                self._open[alert.id] = alert

    def take_lines(self) -> list[str]:
        """What happened since the last call, one line each; for output that is no terminal."""
        with self._lock:
            lines = list(self._lines)
            self._lines.clear()
            return lines

    def say(self, line: str) -> None:
        """Add a line of our own."""
        with self._lock:
            self._lines.append(line)

    def services(self) -> dict[tuple[str, str], ServiceStatus]:
        """Latest status by (service, instance)."""
        with self._lock:
            return dict(self._services)

    def is_ready(self, *services: str) -> bool:
        """Whether each of the services has an instance that works."""
        ready = {service for (service, _), status in self.services().items() if status.state in ("ready", "degraded")}
        return ready >= set(services)

    def render(self, title: str, notes: list[str] | None = None) -> RenderableType:
        """The whole picture."""
        with self._lock:
            services = sorted(self._services.values(), key=_position)
            alerts, is_open = list(self._alerts), set(self._open)
        link = "[green]connected[/]" if self._bus.connected else f"[red]{self._bus.last_error or 'connecting'}[/]"
        parts: list[RenderableType] = [Text.from_markup(f"[bold]{title}[/]  bus {self._bus.address} {link}")]
        parts.append(_service_table(services))
        if troubles := _troubles(services):
            parts.append(troubles)
        if any(status.cameras for status in services if status.service == "camera"):
            parts.append(_camera_table(services))
        parts.append(_alert_panel(alerts, is_open))
        if notes:
            parts.append(Text("\n".join(notes), style="dim"))
        return Group(*parts)


def _position(status: ServiceStatus) -> tuple[int, str, str]:
    known = status.service in _ORDER
    return _ORDER.index(status.service) if known else len(_ORDER), status.service, status.instance


def _service_table(services: list[ServiceStatus]) -> Table:
    table = Table(expand=True, box=None, header_style="dim", pad_edge=False)
    for column in ("service", "state", "model", "device"):
        table.add_column(column, no_wrap=column != "model", overflow="fold")  # where it is narrow, only models are folded
    for column in ("per s", "age ms", "dropped", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for status in services:
        state = Text(status.state, style=_STATE_STYLE.get(status.state, ""))
        memory = f"{status.rss_bytes / 2**20:.0f}" if status.rss_bytes else ""
        device = " ".join(word for word in (status.runtime, status.device) if word)
        table.add_row(_name(status), state, status.model or "", device, _rate(status),
                      ages_text(status.ages_ms), str(dropped(status.counters) or ""), memory)  # fmt: skip
    return table


def _troubles(services: list[ServiceStatus]) -> Text:
    """Why services are degraded and models refused, a line each: too long for a column."""
    lines = [f"{_name(status)}: {status.reason}" for status in services if status.reason]
    lines += [f"{_name(status)}: model refused: {status.model_error}" for status in services if status.model_error]
    return Text("\n".join(lines), style="yellow")


def _name(status: ServiceStatus) -> str:
    """The instance, after its service where it does not tell it itself."""
    return status.instance if status.instance.startswith(status.service) else f"{status.service} {status.instance}"


def _camera_table(services: list[ServiceStatus]) -> Table:
    table = Table(expand=True, box=None, header_style="dim", pad_edge=False)
    table.add_column("camera", no_wrap=True)
    table.add_column("state", ratio=1, overflow="fold")
    for column in ("fps", "reconnects", "on"):
        table.add_column(column, justify="left" if column == "on" else "right", no_wrap=True)
    for status in services:
        for name, health in sorted(status.cameras.items() if status.service == "camera" else ()):
            state = Text(health.state, style=_STATE_STYLE.get(health.state, ""))
            if health.reason:
                state.append(f" {health.reason}", style="dim")
            table.add_row(name, state, f"{health.fps:.1f}", str(health.reconnects), status.instance)
    return table


def _alert_panel(alerts: list[Alert], is_open: set[str]) -> Panel:
    text = Text()
    for alert in reversed(alerts):
        style = _SEVERITY_STYLE.get(alert.severity, "") if alert.id in is_open and alert.event != "resolved" else "dim"
        text.append(f" {clock_text(alert.updated_at_ns)} ", style="dim")
        text.append(f" {alert.event} {alert.kind} ", style=style)
        text.append(f" {alert.camera}: {alert.message}\n")
    if not alerts:
        text.append("none yet", style="dim")
    text.rstrip()
    return Panel(text, title=f"alerts ({len(is_open)} open)", title_align="left", border_style="red" if is_open else "dim")


def _rate(status: ServiceStatus) -> str:
    """Frames a second: the rate that the service itself calls so."""
    for name in ("published", "frames", "done"):
        if name in status.rates_hz:
            return f"{status.rates_hz[name]:.1f}"
    return ""


def dropped(counters: dict[str, int]) -> int:
    """Sum of all counters that tell of something thrown away."""
    return sum(drop_reasons(counters).values())


def drop_reasons(counters: dict[str, int]) -> dict[str, int]:
    """The counters that tell of something thrown away, those above zero."""
    return {name: n for name, n in counters.items() if n > 0 and any(word in name for word in _DROPS)}


def ages_text(ages_ms: dict[str, float]) -> str:
    """`12 / 40`, or nothing."""
    if not ages_ms:
        return ""
    return f"{ages_ms.get('p50', 0):.0f} / {ages_ms.get('p99', 0):.0f}"


def clock_text(ns: int) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(ns / 1e9).strftime("%H:%M:%S") if ns else time.strftime("%H:%M:%S")


def alert_line(alert: Alert) -> str:
    """One plain line for one step of an alert."""
    return (
        f"{clock_text(alert.updated_at_ns)} ALERT {alert.event} {alert.kind} camera={alert.camera} "
        f"severity={alert.severity} id={alert.id} {alert.message}"
    )


def status_line(status: ServiceStatus) -> str:
    """One plain line for a service's state."""
    model = f" model={status.model}" if status.model else ""
    runtime = f" runtime={status.runtime}" if status.runtime else ""
    reason = f" ({status.reason})" if status.reason else ""
    return f"{clock_text(status.updated_at_ns)} {status.service}/{status.instance} {status.state}{model}{runtime}{reason}"


def camera_lines(status: ServiceStatus, before: dict[str, CameraHealth]) -> list[str]:
    """One plain line for each camera whose state changed; only the camera services tell of it."""
    if status.service != "camera":
        return []
    lines = []
    for name, health in status.cameras.items():
        old = before.get(name)
        if old is None or (old.state, old.reason) != (health.state, health.reason):
            reason = f" ({health.reason})" if health.reason else ""
            lines.append(f"{clock_text(status.updated_at_ns)} camera {name} {health.state}{reason}")
    return lines
