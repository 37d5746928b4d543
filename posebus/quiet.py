"""Keeps native libraries from writing to the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()  # descriptor 2 belongs to the whole process


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Discard what C and C++ code writes to stderr: OpenCV and LiteRT have no switch for these lines."""
    with _lock:
        sys.stderr.flush()
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
