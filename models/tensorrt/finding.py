"""One thing that a check has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# error: TensorRT will refuse the network; warning: some release does, or it runs worse than it could; note: good to know.
Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """subject: the operator or tensor; text: what of it; fix: what to do; by: `rules`, or the parser that said it."""

    level: Level
    subject: str
    text: str
    fix: str = ""
    by: str = "rules"


def error(subject: str, text: str, fix: str = "") -> Finding:
    return Finding("error", subject, text, fix)


def warning(subject: str, text: str, fix: str = "") -> Finding:
    return Finding("warning", subject, text, fix)


def note(subject: str, text: str) -> Finding:
    return Finding("note", subject, text)
