"""Real brokers and stores as child processes on loopback, which tests may stop, kill and start again on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import redis
from paho.mqtt.enums import CallbackAPIVersion

from posebus.embedded import free_port, store_binary

BROKERS = ("iotcore", "mosquitto")
STORES = ("valkey", "redis")

IOTCORE_CONFIG = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 65536
max_segment_count = 2
[v4.1]
name = "v4-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
"""
MOSQUITTO_CONFIG = "listener {port} 127.0.0.1\nallow_anonymous {anonymous}\npersistence false\n{extra}"


class Part:
    """A child process that listens on a port of 127.0.0.1."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start, and return when it answers."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + 15
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.kind} did not start: {(self.folder / 'log').read_text()[-800:]}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by its id; SIGKILL for a crash."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)
        self.process = None


class Broker(Part):
    """iotcore or Mosquitto. extra: lines for mosquitto.conf."""

    def __init__(self, kind: str, folder: Path, *, anonymous: bool = True, extra: str = "") -> None:
        super().__init__(kind, folder)
        self.anonymous = anonymous
        self.extra = extra

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        config = self.folder / "broker.toml"
        if self.kind == "mosquitto":
            flag = "true" if self.anonymous else "false"
            config.write_text(MOSQUITTO_CONFIG.format(port=self.port, anonymous=flag, extra=self.extra))
            return [find("mosquitto"), "-c", str(config)]
        config.write_text(IOTCORE_CONFIG.format(port=self.port))
        return [sys.executable, "-m", "iotcore", "--config", str(config), "--log-level", "CRITICAL"]

    def answers(self) -> bool:
        return accepts(self.port)


class Store(Part):
    """Valkey or Redis. settings: lines for its configuration."""

    def __init__(self, kind: str, folder: Path, *, settings: str = "") -> None:
        super().__init__(kind, folder)
        self.settings = settings

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        config = self.folder / "store.conf"
        config.write_text(f'bind 127.0.0.1\nport {self.port}\nsave ""\ndir "{self.folder}"\n{self.settings}')
        binary = find("redis-server") if self.kind == "redis" else str(store_binary())
        return [binary, str(config)]

    def answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def find(program: str) -> str:
    """The path of an installed program; Debian keeps servers in /usr/sbin, which is not on every PATH."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise RuntimeError(f"{program} is not installed; apt-get install it, or run the tests without --broker/--store")
    return path


def accepts(port: int) -> bool:
    """Does something on this port of loopback accept connections?"""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def plain_client(port: int) -> mqtt.Client:
    """A bare MQTT client, for what our own Bus would not send."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client
