"""Ends a program's child processes when the program itself is gone, however it went.

Run by its path (`python -I watchdog.py`), with the read end of a pipe as stdin. The owner writes `+PID` for each child
that it starts and `-PID` for each one that it has seen ending; each PID leads its own process group. When the pipe
closes, the owner is dead: what is still listed gets SIGTERM in reverse order, and SIGKILL three seconds later. Then the
folder that the owner named with `=PATH`, if it did, is removed: nothing of a trial stays on the disk. The kernel's
PR_SET_PDEATHSIG is no substitute: it fires when the *thread* that started the child ends, and exists on Linux only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

GRACE_S = 3.0


def read_orders(lines: Iterable[str]) -> tuple[list[int], str | None]:
    """The process ids still listed when the input ends, in the order of their start, and the folder to remove."""
    children: list[int] = []
    folder: str | None = None
    for line in lines:
        sign, value = line[0], line[1:].rstrip("\n")
        if sign == "=":
            folder = value
        elif sign == "+":
            children.append(int(value))
        elif int(value) in children:
            children.remove(int(value))
    return children, folder


def end_all(children: list[int]) -> None:
    """SIGTERM to each group, last started first; SIGKILL to what is left after GRACE_S."""
    _signal(children[::-1], signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(map(_alive, children)):
        time.sleep(0.05)
    _signal([pid for pid in children if _alive(pid)], signal.SIGKILL)


def _signal(children: list[int], number: signal.Signals) -> None:
    for pid in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def _alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    children, folder = read_orders(sys.stdin)
    end_all(children)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
