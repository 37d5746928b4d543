"""Child processes in their own sessions, with a log file each, that never outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_WATCHDOG = Path(__file__).with_name("watchdog.py")


class Watchdog:
    """One small process that ends our children if we die without stopping them (see `posebus.watchdog`).

    Started with the first child; it exits by itself when `close` or our death closes its pipe.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def add(self, pid: int) -> None:
        """Watch over a child that leads its own process group."""
        self._write(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        """The child has ended."""
        self._write(f"-{pid}\n")

    def own(self, folder: Path) -> None:
        """Remove this folder after our death."""
        self._write(f"={folder}\n")

    def close(self) -> None:
        """No children are left: end the watchdog too."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()

    def _write(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", str(_WATCHDOG)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                    text=True,
                )
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # killed by hand: nothing to guard with any more
                self._process.stdin.write(line)
                self._process.stdin.flush()


class Child:
    """One child process. Ctrl-C in the terminal does not reach it: it leads its own session.

    Output goes to the end of `log`. Raises OSError when the program cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        watchdog: Watchdog,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.started_s = time.monotonic()
        self._watchdog = watchdog
        self._watched = True
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        watchdog.add(self.pid)

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self.pid} code={self._process.returncode}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        code = self._process.poll()
        if code is not None and self._watched:
            self._watched = False
            self._watchdog.remove(self.pid)
        return code

    def terminate(self) -> None:
        """Ask it to stop; returns at once."""
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and its own children now, and wait for that."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            self.poll()

    def wait(self, timeout_s: float) -> bool:
        """True when it ended in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(timeout_s, 0.0))
        return self.poll() is not None

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of its log, for error messages."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


def describe_exit(code: int) -> str:
    """`exit code 1`, or `killed by SIGSEGV`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
