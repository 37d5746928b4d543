"""Keeps converters quiet: what they print is held back, and its end is shown where they fail."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO

from models.convert.source import ConversionError

_TAIL = 600  # characters of a converter's own words that an error quotes


@contextlib.contextmanager
def quiet(doing: str) -> Iterator[None]:
    """Hold back stdout, stderr (C++ code's too) and warnings.

    doing: what is under way, for errors. Whatever is raised inside becomes a ConversionError with the reason and the end of
    what was printed; ConversionError, MemoryError and interrupts pass as they are.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            with _descriptors_to(log), contextlib.redirect_stdout(log), contextlib.redirect_stderr(log), \
                    warnings.catch_warnings():  # fmt: skip
                warnings.simplefilter("ignore")
                yield
        except (ConversionError, MemoryError, OSError):
            raise
        except Exception as error:
            reason = str(error).strip() or type(error).__name__
            raise ConversionError(f"{doing} failed: {reason[:_TAIL]}{_said(log)}") from error


@contextlib.contextmanager
def _descriptors_to(log: IO[str]) -> Iterator[None]:
    """Descriptors 1 and 2 into the file: C++ knows no other way."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        for number in kept:
            os.dup2(log.fileno(), number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


def _said(log: IO[str]) -> str:
    log.flush()
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _TAIL))
    said = log.read().strip()
    return f"\nthe converter's last words:\n{said}" if said else ""
