"""Tables of TOML, and of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(head: str, rows: Mapping[str, Any]) -> str:
    """A table of TOML; a mapping as a value becomes an inline table."""
    return "\n".join([head, *(f"{key} = {_value(value)}" for key, value in rows.items())]) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # JSON's strings, numbers, arrays and booleans are TOML's too


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
