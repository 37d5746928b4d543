"""Why a source cannot be opened. OpenCV says only that it could not, so we look ourselves."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from services.camera import probe
from services.camera.address import shown

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}
_MP4_FIRST = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})


@dataclass(frozen=True)
class Finding:
    """reason: culprit and fix, without passwords. patient: another attempt soon would do harm."""

    reason: str
    patient: bool = False


def network(url: str, *, timeout_s: float) -> Finding:
    """Find out why a stream cannot be opened: name, connection, credential, path, protocol. Never raises.

    Blocks about two times timeout_s at most, and as long as the resolver takes.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme.lower(), 0)
    except ValueError as error:
        return Finding(f"{shown(url)} is no valid address: {error}")
    host = parts.hostname or ""
    if not host:
        return Finding(f"{shown(url)} names no host")
    if parts.scheme.lower() not in PORTS:
        return Finding(f"{shown(url)} cannot be opened: is anything sent there?")
    where = f"{host}:{port}"
    try:
        with _connect(parts, host, port, timeout_s) as connection:
            return _ask(connection, parts, url, where)
    except socket.gaierror as error:
        return Finding(f"host name {host!r} cannot be resolved ({error.strerror}): check it, or give the IP address")
    except UnicodeError:
        return Finding(f"{host!r} is no valid host name")
    except ConnectionRefusedError:
        return Finding(f"{where} refused the connection: is the port right, and is streaming switched on in the camera?")
    except TimeoutError:
        return Finding(f"{where} does not answer within {timeout_s:g} s: is the camera powered and in this network?")
    except ssl.SSLError as error:
        return Finding(f"{where}: no TLS connection ({error.reason}): is this a {parts.scheme} port?")
    except OSError as error:
        return Finding(f"{where} cannot be reached: {error.strerror or error}")


def _connect(parts: SplitResult, host: str, port: int, timeout_s: float) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=timeout_s)
    if parts.scheme.lower() not in ("rtsps", "https"):
        return connection
    context = ssl.create_default_context()
    context.check_hostname = False  # cameras have certificates of their own making; FFmpeg does not check either
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _ask(connection: socket.socket, parts: SplitResult, url: str, where: str) -> Finding:
    is_rtsp = parts.scheme.lower().startswith("rtsp")
    if parts.scheme.lower() == "rtmp":
        return Finding(f"{where} is reachable, but {shown(url)} cannot be opened as an RTMP stream")
    what = "RTSP" if is_rtsp else "HTTP"
    try:
        answer = probe.describe(connection, url) if is_rtsp else probe.get(connection, url)
    except TimeoutError:
        return Finding(f"{where} accepts connections but does not answer {what}: is this the right port?")
    except (probe.ProtocolError, ConnectionError) as error:
        return Finding(f"{where} does not speak {what} ({error}): is this the right port?")
    if answer.status in (401, 403):
        if parts.username is None:
            return Finding(f"{where} asks for user and password: give them as {parts.scheme}://user:password@...", True)
        return Finding(f"{where} refuses the credential of user {parts.username!r}: wrong user or password", True)
    if answer.status == 404:
        return Finding(f"{where} has no such stream {shown(parts.path or '/')!r}: check the path in the camera's manual")
    if answer.status != 200:
        return Finding(f"{where} answers {answer.status} {answer.reason} for the stream {shown(parts.path or '/')!r}")
    offers = probe.codecs(answer) if is_rtsp else answer.headers.get("content-type", "no content type")
    return Finding(f"{where} answers and offers {offers}, but no video could be decoded from it: is it H.264, H.265 or MJPEG?")


def video_file(path: Path) -> str | None:
    """What is visibly wrong with a video file: missing, a folder, unreadable, empty, cut short. None: nothing seen."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if not head:
                return f"{path} is empty (0 bytes): copy it again"
            if head[4:8] in _MP4_FIRST:
                return _mp4_problem(path)
    except FileNotFoundError:
        return f"no such file {path}: check the source, and in a container that its folder is mounted"
    except IsADirectoryError:
        return f"{path} is a folder without pictures"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None


def _mp4_problem(path: Path) -> str | None:
    """Walk the top-level boxes of an MP4 or MOV file (ISO 14496-12, 4.2) and look for the index."""
    end = path.stat().st_size
    has_index, at = False, 0
    with path.open("rb") as file:
        while at + 8 <= end and not has_index:
            file.seek(at)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            has_index = kind == b"moov"
            if size == 1:  # a 64-bit size follows
                size = int.from_bytes(head[8:16], "big")
            at = end if size == 0 else at + max(size, 8)
    if has_index:
        return None
    return f"{path} is truncated: its index (moov) is missing, it ends after {end} bytes; copy or record it again"
