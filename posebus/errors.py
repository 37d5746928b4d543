"""Errors that a user can mend: shown as one line, without a traceback."""

from __future__ import annotations


class SetupError(RuntimeError):
    """Something outside posebus is missing or refuses to start. The message names the culprit and the fix."""
