"""A few lines of RTSP and HTTP, to ask a camera what it thinks of an address."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

_LIMIT = 65_536
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_RTPMAP = re.compile(r"^a=rtpmap:\d+\s+([\w.-]+)/", re.MULTILINE)


class ProtocolError(ValueError):
    """What came back is not an answer in the protocol asked."""


@dataclass(frozen=True)
class Answer:
    """One answer: status code, reason phrase, headers by lower-case name, body."""

    status: int
    reason: str
    headers: dict[str, str]
    body: str


def describe(connection: socket.socket, url: str) -> Answer:
    """RTSP DESCRIBE (RFC 2326), with the credential of the URL if the server asks for one.

    Raises ProtocolError, TimeoutError (the connection's), ConnectionError.
    """
    return _with_credential(connection, url, "DESCRIBE", "RTSP/1.0", {"Accept": "application/sdp"})


def get(connection: socket.socket, url: str) -> Answer:
    """HTTP GET up to the headers; the same errors."""
    headers = {"Host": urlsplit(url).hostname or "", "Connection": "keep-alive"}
    return _with_credential(connection, url, "GET", "HTTP/1.1", headers)


def codecs(answer: Answer) -> str:
    """The codecs that a session description offers, such as `H265, PCMA`."""
    return ", ".join(dict.fromkeys(_RTPMAP.findall(answer.body))) or "no stream"


def _with_credential(connection: socket.socket, url: str, method: str, protocol: str, headers: dict[str, str]) -> Answer:
    parts = urlsplit(url)
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    target = plain if protocol.startswith("RTSP") else urlunsplit(("", "", parts.path or "/", parts.query, ""))
    answer = _exchange(connection, method, target, protocol, headers | {"CSeq": "1"})
    if answer.status != 401 or parts.username is None:
        return answer
    user, password = unquote(parts.username), unquote(parts.password or "")
    credential = authorization(answer.headers.get("www-authenticate", ""), user, password, method, target)
    return _exchange(connection, method, target, protocol, headers | {"CSeq": "2", "Authorization": credential})


def authorization(challenge: str, user: str, password: str, method: str, target: str) -> str:
    """The Authorization header for a Basic or Digest challenge (RFC 7617, RFC 7616)."""
    if "digest" not in challenge.lower():
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    _, _, rest = challenge.partition(challenge[challenge.lower().index("digest") :][:6])
    given = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
    realm, nonce = given.get("realm", ""), given.get("nonce", "")
    algorithm = given.get("algorithm", "MD5")

    def digest(text: str) -> str:
        return hashlib.new("sha256" if "256" in algorithm else "md5", text.encode(), usedforsecurity=False).hexdigest()

    first, second = digest(f"{user}:{realm}:{password}"), digest(f"{method}:{target}")
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    extra = f", algorithm={algorithm}" if "algorithm" in given else ""
    if "auth" in given.get("qop", ""):
        count, client = "00000001", "0a4f113b"
        fields |= {"cnonce": client, "response": digest(f"{first}:{nonce}:{count}:{client}:auth:{second}")}
        extra += f", qop=auth, nc={count}"
    else:
        fields["response"] = digest(f"{first}:{nonce}:{second}")
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items()) + extra


def _exchange(connection: socket.socket, method: str, target: str, protocol: str, headers: dict[str, str]) -> Answer:
    lines = [f"{method} {target} {protocol}", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall(("\r\n".join(lines) + "\r\nUser-Agent: posebus\r\n\r\n").encode())
    deadline_s = time.monotonic() + (connection.gettimeout() or 5.0)
    received = b""
    while b"\r\n\r\n" not in received:
        received = _more(connection, received, deadline_s)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("utf-8", "replace").split("\r\n")
    words = first.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(protocol[:5]) or not words[1].isdigit():
        raise ProtocolError(f"it answers {first[:40]!r}")
    fields = _fields(rest)
    if protocol.startswith("RTSP") or words[1] == "401":  # the body of a stream never ends, nobody waits for that
        while not _is_whole(fields, body):
            body = _more(connection, body, deadline_s)
    return Answer(int(words[1]), words[2] if len(words) > 2 else "", fields, body.decode("utf-8", "replace"))


def _fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        # A server may send several challenges; Digest is the one to answer.
        if key not in fields or value.strip().lower().startswith("digest"):
            fields[key] = value.strip()
    return fields


def _is_whole(fields: dict[str, str], body: bytes) -> bool:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return body.endswith(b"0\r\n\r\n")
    length = fields.get("content-length", "0")
    return len(body) >= (min(int(length), _LIMIT) if length.isdigit() else 0)


def _more(connection: socket.socket, received: bytes, deadline_s: float) -> bytes:
    chunk = connection.recv(8192)
    if not chunk:
        raise ConnectionError("it closes the connection" if not received else f"it answers {received[:40]!r}")
    if len(received) + len(chunk) > 2 * _LIMIT or time.monotonic() > deadline_s:
        raise ProtocolError("its answer does not end")
    return received + chunk
