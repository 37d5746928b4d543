"""The error of everything that reads data."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be trained on. The message names file, person, value and fix."""
