"""A file that is touched while a service is healthy; `python -m common.health` is the container's health check."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path


def health_file(service: str) -> Path:
    """Where the service's health file is: POSEBUS_HEALTH_FILE, or a file in the temporary folder."""
    named = os.environ.get("POSEBUS_HEALTH_FILE")
    return Path(named) if named else Path(tempfile.gettempdir()) / f"posebus-{service}-{os.getpid()}.health"


def touch(path: Path) -> None:
    """Say that the service is healthy now. A disk that is full must not stop it: errors are ignored."""
    try:
        path.touch()
        os.utime(path)
    except OSError:
        return


def main(arguments: list[str]) -> int:
    """Exit 0 when POSEBUS_HEALTH_FILE was touched within `--max-age-s` (15) seconds."""
    limit_s = float(arguments[arguments.index("--max-age-s") + 1]) if "--max-age-s" in arguments else 15.0
    path = health_file("service")
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError as error:
        sys.stderr.write(f"unhealthy: {path}: {error.strerror}\n")
        return 1
    if age_s > limit_s:
        sys.stderr.write(f"unhealthy: {path} was last touched {age_s:.0f} s ago\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
