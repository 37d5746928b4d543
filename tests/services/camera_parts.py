"""What the camera tests share: small real media, fake captures, a server that speaks a little RTSP, a status to look at."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from common.clock import FakeClock
from common.config import CameraSettings
from common.frames import FrameStore, StoreError
from common.messages import ServiceStatus
from common.status import StatusReporter
from services.camera.sources import Frame

BITS = 8


def camera(source: str, name: str = "lobby", **settings: Any) -> CameraSettings:
    return CameraSettings(name=name, source=source, **settings)


def numbered(number: int, size: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    """A picture that shows its number as eight bars, black or white, lowest bit first; survives any codec."""
    bits = (number >> np.arange(BITS)) & 1
    row = np.repeat(bits * 255, -(-size[0] // BITS))[: size[0]].astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (size[1], size[0], 3)))


def number_of(image: NDArray[np.uint8]) -> int:
    """The number that a picture shows."""
    bars = np.array_split(image.mean(axis=(0, 2)), BITS)
    return sum(1 << i for i, bar in enumerate(bars) if np.median(bar) > 127)


def write_video(path: Path, frames: int = 90, fps: float = 30.0, size: tuple[int, int] = (160, 120)) -> Path:
    """A video whose frame i shows the number i; the suffix chooses mp4v or Motion JPEG."""
    fourcc = cv2.VideoWriter.fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG"))
    writer = cv2.VideoWriter(str(path), fourcc, fps, size)
    for number in range(frames):
        writer.write(numbered(number, size))
    writer.release()
    return path


def write_picture(path: Path, number: int = 100, size: tuple[int, int] = (64, 48)) -> Path:
    assert cv2.imwrite(str(path), numbered(number, size))
    return path


def frame(width_px: int = 64, height_px: int = 48, level: int = 200, clock: FakeClock | None = None) -> Frame:
    image = np.full((height_px, width_px, 3), level, np.uint8)
    return Frame(image, (clock or FakeClock()).now_ns())


def reporter(clock: FakeClock | None = None) -> tuple[StatusReporter, list[ServiceStatus]]:
    """A status reporter that is ready, and the list of what it publishes."""
    said: list[ServiceStatus] = []
    status = StatusReporter("camera", "camera-1", clock or FakeClock(), said.append)
    status.ready()
    return status, said


class Said:
    """A bus that keeps what is published."""

    def __init__(self) -> None:
        self.messages: list[tuple[Struct, tuple[str, ...]]] = []

    def publish(self, message: Struct, name: str, *levels: str) -> bool:
        self.messages.append((message, (name, *levels)))
        return True


class Shelf(FrameStore):
    """A frame store in memory; `error` is raised while it is set."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.error: StoreError | None = None

    def put(self, camera: str, seq: int, jpeg: bytes) -> str:
        if self.error is not None:
            raise self.error
        self.kept[f"frame:{camera}:{seq}"] = jpeg
        return f"frame:{camera}:{seq}"


class FakeCapture:
    """A capture that yields the numbers of a script; `grab` waits until the test lets it go on."""

    def __init__(self, frames: int, *, on_grab: Callable[[int], None] | None = None, media: list[float] | None = None):
        self.frames = frames
        self.grabbed = 0
        self.retrieved: list[int] = []
        self.closed = threading.Event()
        self._on_grab = on_grab
        self._media = media

    def grab(self) -> bool:
        if self.grabbed >= self.frames:
            return False
        if self._on_grab is not None:
            self._on_grab(self.grabbed)
        self.grabbed += 1
        return True

    def retrieve(self) -> NDArray[np.uint8]:
        self.retrieved.append(self.grabbed - 1)
        return np.full((8, 8, 3), (self.grabbed - 1) % 256, np.uint8)

    def media_s(self) -> float:
        return self._media[self.grabbed - 1] if self._media else 0.0

    def close(self) -> None:
        self.closed.set()


Reply = Callable[[str], bytes]


def _serve(connection: socket.socket, reply: Reply | None, once: bool) -> None:
    """Answer one connection until it ends."""
    received = b""
    connection.settimeout(5)
    try:
        while reply is not None and (chunk := connection.recv(8192)):
            received += chunk
            while b"\r\n\r\n" in received:
                request, _, received = received.partition(b"\r\n\r\n")
                answer = reply(request.decode())
                connection.sendall(answer)
                if once or not answer:
                    return
    except OSError:
        pass
    finally:
        if reply is not None:
            connection.close()


@contextmanager
def speaking(reply: Reply | None, *, once: bool = False) -> Iterator[int]:
    """A server on a free port of loopback: answers each request with reply(request). None: accepts and stays silent.

    An empty answer closes the connection; with `once` each answer does.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    over = threading.Event()
    connections: list[socket.socket] = []

    def listen() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connections[:] = [other for other in connections if other.fileno() >= 0] + [connection]
            threading.Thread(target=_serve, args=(connection, reply, once), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        thread.join(2)
        for connection in connections:
            connection.close()
        listener.close()


def rtsp(status: str, *headers: str, body: str = "") -> bytes:
    """One RTSP answer. OPTIONS and DESCRIBE may get the same."""
    lines = [f"RTSP/1.0 {status}", "CSeq: 1", *headers, f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def refused_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def mjpeg(frames: int) -> bytes:
    """An HTTP answer with a Motion JPEG stream of so many frames, as many cheap cameras send it."""
    parts = [b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n"]
    for number in range(frames):
        jpeg = cv2.imencode(".jpg", numbered(number))[1].tobytes()
        parts.append(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n")
    return b"".join(parts)
