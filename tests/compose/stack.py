"""The compose stack under a random project name, on a free port, gone at the end with volumes and image names."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from typing import Any

from common.bus import Bus
from posebus.embedded import free_port
from tests.conftest import REPO

SERVICES = ("mosquitto", "redis", "frames", "config", "camera", "detector", "pose", "analytics")


class EngineError(RuntimeError):
    """A docker command that failed; the message has its last output."""


def engine_missing() -> str | None:
    """Why there is no usable engine; None when there is one."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{' '.join(command)}: {error}"
        if done.returncode:
            return f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()[-200:]}"
    return None


def docker(*arguments: str, timeout_s: float = 60, environment: dict[str, str] | None = None) -> str:
    """Run docker in the repository; returns its stdout, raises EngineError."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=REPO,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace")[-3000:]
        raise EngineError(f"docker {' '.join(arguments)} exited {done.returncode}: {output}")
    return done.stdout.decode(errors="replace")


class Stack:
    """One project of compose.yaml, with the example configuration."""

    def __init__(self) -> None:
        self.project = f"posebus-test-{secrets.token_hex(4)}"
        self.port = free_port()
        self.environment = {
            "POSEBUS_PORT": str(self.port),
            "POSEBUS_TAG": self.project,
            "POSEBUS_CONFIG": "./posebus.example.yaml",
            "POSEBUS_SITE": "home",
            "POSEBUS_BIND": "127.0.0.1",
        }
        self.images = [f"posebus-core:{self.project}", f"posebus-tflite:{self.project}"]
        self.timings_s: dict[str, float] = {}

    def compose(self, *arguments: str, timeout_s: float = 60) -> str:
        return docker("compose", "-p", self.project, *arguments, timeout_s=timeout_s, environment=self.environment)

    def timed(self, what: str, *arguments: str, timeout_s: float) -> None:
        started = time.monotonic()
        try:
            self.compose(*arguments, timeout_s=timeout_s)
        except EngineError as error:
            raise EngineError(f"{error}\n{self.logs()}") from error
        self.timings_s[what] = time.monotonic() - started

    def up(self, *arguments: str) -> None:
        """Return when every service is healthy."""
        self.timed("up", "up", "-d", "--wait", "--wait-timeout", "180", *arguments, timeout_s=240)

    def containers(self, service: str) -> list[str]:
        """Ids of the running containers of a service."""
        return self.compose("ps", "-q", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(docker("inspect", container))
        return found[0]

    def health(self, container: str) -> str:
        return str(self.inspect(container)["State"].get("Health", {}).get("Status"))

    def password(self, account: str) -> str:
        """Read as docs/deploy.md says."""
        if account == "viewer":
            return self.compose("exec", "-T", "mosquitto", "cat", "/run/posebus/viewer/password").strip()
        return self.compose("exec", "-T", account, "cat", "/run/posebus/credential/password").strip()

    def bus(self, account: str) -> Bus:
        """A connection from outside with that account, not started."""
        return Bus(
            f"mqtt://{account}@127.0.0.1:{self.port}",
            site="home",
            client_id=f"test-{account}-{secrets.token_hex(3)}",
            password=self.password(account),
        )

    def logs(self) -> str:
        return self.compose("logs", "--tail", "15", "--no-color")[-8000:]

    def down(self) -> None:
        self.timed("down", "down", "-v", "--remove-orphans", timeout_s=120)

    def remove_images(self) -> None:
        """The names only; the builder's cache stays for the next build."""
        for image in self.images:
            subprocess.run(["docker", "image", "rm", "-f", image], capture_output=True, timeout=60, check=False)
