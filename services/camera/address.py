"""Camera addresses: what kind of source one names, and how to show it without its password."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "srt")
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})

# Greedy up to the last @: a password may hold an @ that nobody escaped.
_USERINFO = re.compile(r"(://[^/\s:@]*):[^\s]*@")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&\s]*(?:pass|pwd|token|secret|key)[^=&\s]*)=[^&\s'\"]+")


class Kind(Enum):
    """The kinds of sources."""

    STREAM = "stream"
    DEVICE = "device"
    CSI = "csi"
    FOLDER = "folder"
    VIDEO = "video"


def kind_of(source: str) -> Kind:
    """Which kind of source an address names; raises ValueError for one that is empty or not supported."""
    if not source.strip():
        raise ValueError("the source is empty: give an address, a device, a file or a folder")
    scheme, separator, _ = source.partition("://")
    if separator:
        if scheme.lower() in STREAM_SCHEMES:
            return Kind.STREAM
        raise ValueError(f"address scheme {scheme!r} is not supported: use one of {', '.join(STREAM_SCHEMES)}")
    if source.startswith("csi:"):
        return Kind.CSI
    if source.startswith(("usb:", "/dev/")):
        return Kind.DEVICE
    path = Path(source)
    if path.is_dir() or path.suffix.lower() in PICTURES:
        return Kind.FOLDER
    return Kind.VIDEO


def number_of(source: str) -> int:
    """The N of `usb:N` and `csi:N`; raises ValueError that names the address."""
    prefix, _, number = source.partition(":")
    if not number.isdigit():
        raise ValueError(f"{source!r}: {number!r} is not a number, write for example {prefix}:0")
    return int(number)


def shown(text: str) -> str:
    """The text with the passwords of all addresses in it replaced by `***`; fit for logs, status and errors."""
    return _QUERY_SECRET.sub(r"\1=***", _USERINFO.sub(r"\1:***@", text))
