"""Why a source cannot be opened is said, and no password with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest

from services.camera import diagnose
from services.camera.address import Kind, kind_of, shown
from services.camera.probe import authorization
from services.camera.sources.base import SourceError
from services.camera.sources.stream import open_stream
from tests.services.camera_parts import refused_port, rtsp, speaking

DIGEST = 'WWW-Authenticate: Digest realm="cam", nonce="abc123"'
SDP = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP9/90000\r\n"


def unauthorised(request: str) -> bytes:
    """Accepts only user `eye`, password `s3cret`, by Digest."""
    found = re.search(r'response="(\w+)"', request)
    uri = request.split()[1]

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    if found is None or found[1] != md5(f"{md5('eye:cam:s3cret')}:abc123:{md5(f'DESCRIBE:{uri}')}"):
        return rtsp("401 Unauthorized", 'WWW-Authenticate: Basic realm="cam"', DIGEST)
    return rtsp("200 OK", "Content-Type: application/sdp", body=SDP)


def test_a_refused_connection_is_named() -> None:
    port = refused_port()
    finding = diagnose.network(f"rtsp://127.0.0.1:{port}/live", timeout_s=1)
    assert f"127.0.0.1:{port} refused the connection" in finding.reason
    assert not finding.patient


def test_a_name_that_does_not_resolve_is_named() -> None:
    finding = diagnose.network("rtsp://no-such-camera.invalid/live", timeout_s=1)
    assert "'no-such-camera.invalid' cannot be resolved" in finding.reason


@pytest.mark.parametrize("url", ["rtsp://" + "a" * 70 + "/x", "rtsp://cam:99999/x", "rtsp:///x", "http://[::1/x"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    assert re.search("no valid|names no host|cannot be resolved", diagnose.network(url, timeout_s=1).reason)


def test_a_silent_server_is_named() -> None:
    with speaking(None) as port:
        finding = diagnose.network(f"rtsp://127.0.0.1:{port}/live", timeout_s=0.3)
    assert "accepts connections but does not answer RTSP" in finding.reason


@pytest.mark.parametrize(
    ("user", "reason", "patient"),
    [
        ("", "asks for user and password", True),
        ("eye:wrong@", "refuses the credential of user 'eye': wrong user or password", True),
        ("eye:s3cret@", "offers VP9, but no video could be decoded", False),
    ],
)
def test_a_credential_is_checked_as_the_camera_does(user: str, reason: str, patient: bool) -> None:
    with speaking(unauthorised) as port:
        finding = diagnose.network(f"rtsp://{user}127.0.0.1:{port}/live", timeout_s=2)
    assert reason in finding.reason
    assert finding.patient is patient
    assert "s3cret" not in finding.reason
    assert "wrong@" not in finding.reason


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda _: rtsp("404 Not Found"), "has no such stream '/live'"),
        (lambda _: rtsp("453 Not Enough Bandwidth"), "answers 453 Not Enough Bandwidth"),
        (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak RTSP"),
        (lambda _: b"\x00\x01\x02garbage\r\n\r\n", "does not speak RTSP"),
        (lambda _: b"", "does not speak RTSP (it closes the connection)"),
    ],
)
def test_what_an_rtsp_server_answers_is_told(reply: Callable[[str], bytes], reason: str) -> None:
    with speaking(reply) as port:
        assert reason in diagnose.network(f"rtsp://127.0.0.1:{port}/live", timeout_s=2).reason


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "has no such stream '/video'"),
        (lambda _: b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", "wrong user or password"),
        (lambda _: b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "offers text/html"),
    ],
)
def test_what_an_http_server_answers_is_told(reply: Callable[[str], bytes], reason: str) -> None:
    with speaking(reply) as port:
        assert reason in diagnose.network(f"http://eye:pw@127.0.0.1:{port}/video?x=1", timeout_s=2).reason


def test_a_plain_port_asked_for_tls_is_named() -> None:
    with speaking(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        finding = diagnose.network(f"rtsps://127.0.0.1:{port}/x", timeout_s=0.5)
    assert re.search("TLS|does not answer", finding.reason)


def test_opening_a_stream_fails_with_the_finding_and_without_the_password() -> None:
    with speaking(unauthorised) as port, pytest.raises(SourceError) as caught:
        open_stream(f"rtsp://eye:hunter2@127.0.0.1:{port}/live", timeout_s=2, open_timeout_s=2)
    assert "wrong user or password" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.patient


def test_digest_with_quality_of_protection_is_the_example_of_rfc_2617() -> None:
    challenge = 'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    header = authorization(challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html")
    client = re.search(r'cnonce="(\w+)"', header)
    assert client is not None

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    first, second = "939e7578ed9e3c518a452acee763bce9", "39aff3a2bab6126f332b942af96d3366"  # from the RFC
    expected = md5(f"{first}:dcd98b7102dd2f0e8b11d0f600bfb0c093:00000001:{client[1]}:auth:{second}")
    assert f'response="{expected}"' in header


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://eye:s3cret@cam/live", "rtsp://eye:***@cam/live"),
        ("cannot open rtsp://eye:p@ss/w@rd@cam:554/live now", "cannot open rtsp://eye:***@cam:554/live now"),
        ("http://cam/mjpg?user=eye&password=s3cret&size=1", "http://cam/mjpg?user=eye&password=***&size=1"),
        ("rtsp://eye@cam/live", "rtsp://eye@cam/live"),
        ("/videos/clip.mp4", "/videos/clip.mp4"),
    ],
)
def test_passwords_are_masked(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("rtsp://cam/1", Kind.STREAM),
        ("HTTP://cam/1", Kind.STREAM),
        ("/dev/video0", Kind.DEVICE),
        ("usb:0", Kind.DEVICE),
        ("csi:1", Kind.CSI),
        ("/videos/clip.mp4", Kind.VIDEO),
        ("/pictures/one.JPG", Kind.FOLDER),
        ("/", Kind.FOLDER),
    ],
)
def test_addresses_name_their_kind(source: str, kind: Kind) -> None:
    assert kind_of(source) is kind
