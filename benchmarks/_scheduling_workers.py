"""The processes of the scheduling benchmark: cameras that send, and workers that claim or are dealt frames.

A worker's engine is a sleep, as an accelerator is to the processor. Everything around it is the product's own: bus, clock,
claims, inbox, hold-back, frame store, messages.
"""

from __future__ import annotations

import multiprocessing.connection
import os
import queue
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from common import topics
from common.bus import Bus, parse_address
from common.claims import Claims
from common.clock import StoreClock
from common.frames import FrameStore, connect_store
from common.messages import FrameNotice, PeopleFound, Person, ServiceStatus, StageTiming, decode
from common.worker import ClaimWorker

MAX_AGE_S = 1.0
TTL_S = 10.0  # longer than the product's 2 x max_age, so that the ages of a shared subscription can be seen at all
STAGE = "detector"


@dataclass(frozen=True)
class Ends:
    """Where a process of the benchmark connects to."""

    bus_url: str
    protocol: str
    frames_url: str
    site: str


@dataclass(frozen=True)
class Load:
    """cameras send `frames` frames each, fps a second; phases: `even`, `random`, or `together` (all in one instant)."""

    cameras: int
    fps: float
    frames: int
    jpeg_bytes: int = 50_000
    phases: str = "even"

    @property
    def seconds(self) -> float:
        """From a camera's first frame to its last."""
        return (self.frames - 1) / self.fps


@dataclass(frozen=True)
class Worker:
    """One worker: how it comes by its frames (`shared`, `claims`, `hold-back`), and how long its engine takes."""

    name: str
    service_ms: float
    mode: str


class Connection:
    """What every process here needs: a bus, a store, the store's clock, and a flag that SIGTERM raises."""

    def __init__(self, ends: Ends, name: str) -> None:
        self.stopping = threading.Event()
        self._parent = os.getppid()  # the fork server, which ends with the benchmark
        signal.signal(signal.SIGTERM, lambda _number, _frame: self.stopping.set())
        self.store = connect_store(ends.frames_url)
        self.frames = FrameStore(self.store, ttl_s=TTL_S)
        self.clock = StoreClock(self.store)
        self.clock.sync()
        self.bus = Bus(ends.bus_url, site=ends.site, client_id=name, protocol=ends.protocol)
        self.bus.start()
        if not self.bus.wait_connected(10):
            raise RuntimeError(f"no broker: {self.bus.last_error}")

    def wanted(self) -> bool:
        """False after SIGTERM, and when the benchmark itself is gone."""
        return not self.stopping.is_set() and os.getppid() == self._parent

    def tell(self, name: str, state: str, counters: dict[str, int]) -> None:
        """Publish a status."""
        status = ServiceStatus(service=STAGE, instance=name, state=state, pid=os.getpid(), counters=counters)
        self.bus.publish(status, "status", STAGE, name)


def send(ends: Ends, load: Load, start: multiprocessing.connection.Connection) -> None:
    """Be all cameras: put each frame into the store at its instant and tell of it.

    start: says when this process is ready, and waits there for the word to begin.
    """
    connection = Connection(ends, "cameras")
    jpeg = os.urandom(load.jpeg_bytes)
    instants = sorted(_instants(load, 1 / load.fps))
    start.send("ready")
    start.recv()
    began_s = time.monotonic()
    clock = connection.clock
    for at_s, camera, number in instants:
        wait_s = began_s + at_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        captured_ns = clock.now_ns()
        name = f"camera-{camera}"
        key = connection.frames.put(name, number, jpeg)
        notice = FrameNotice(
            camera=name, seq=number, captured_at_ns=captured_ns, published_at_ns=clock.now_ns(), key=key, width_px=640,
            height_px=480, stored_width_px=640, stored_height_px=480, jpeg_bytes=len(jpeg),
        )  # fmt: skip
        connection.bus.publish(notice, "frames", name)
    connection.bus.stop()


def _instants(load: Load, period_s: float) -> list[tuple[float, int, int]]:
    """(seconds, camera, number of the frame) of all frames; the same at every call."""
    dice = random.Random(7)
    even = [camera * period_s / load.cameras for camera in range(load.cameras)]
    offsets = {"even": even, "together": [0.0] * load.cameras, "random": [dice.uniform(0, period_s) for _ in even]}
    phases = offsets[load.phases]
    return [(n * period_s + phases[camera], camera, n + 1) for camera in range(load.cameras) for n in range(load.frames)]


def work(ends: Ends, worker: Worker) -> None:
    """Be a worker until SIGTERM."""
    connection = Connection(ends, worker.name)
    counters: Counter[str] = Counter()
    if worker.mode == "shared":
        _dealt(ends, worker, connection, counters)
    else:
        _claiming(worker, connection, counters)
    connection.tell(worker.name, "offline", dict(counters))
    connection.bus.stop()


def _claiming(worker: Worker, connection: Connection, counters: Counter[str]) -> None:
    claims = Claims(connection.store, STAGE, worker.name, max_age_s=MAX_AGE_S)
    chooser: ClaimWorker[FrameNotice] = ClaimWorker(
        claims, connection.clock, max_age_s=MAX_AGE_S, count=lambda name: counters.update([name])
    )
    chooser.alone = worker.mode == "claims"  # alone on the stage means: no hold-back
    connection.bus.subscribe(lambda message, levels: chooser.hear(message), "frames", "+")
    connection.tell(worker.name, "ready", {})
    while connection.wanted():
        taken = chooser.next(0.1, connection.stopping)
        if taken is not None:
            _finish(worker, connection, taken.notice, taken.wait_ms, taken.fetch_ms)
            chooser.done(taken)


def _dealt(ends: Ends, worker: Worker, connection: Connection, counters: Counter[str]) -> None:
    """A shared subscription, as it is commonly used: what the broker deals to this worker is done in that order."""
    dealt: queue.SimpleQueue[FrameNotice] = queue.SimpleQueue()
    client = _subscribe_shared(ends, worker.name, dealt)
    connection.tell(worker.name, "ready", {})
    while connection.wanted():
        try:
            notice = dealt.get(timeout=0.1)
        except queue.Empty:
            continue
        before_s, wait_ms = time.monotonic(), (connection.clock.now_ns() - notice.published_at_ns) / 1e6
        if connection.frames.get(notice.key) is None:
            counters["expired"] += 1
            continue
        _finish(worker, connection, notice, wait_ms, (time.monotonic() - before_s) * 1e3)
    client.disconnect()
    client.loop_stop()


def _subscribe_shared(ends: Ends, name: str, dealt: queue.SimpleQueue[FrameNotice]) -> mqtt.Client:
    address = parse_address(ends.bus_url)
    version = mqtt.MQTTv311 if ends.protocol == "3.1.1" else mqtt.MQTTv5
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-shared", protocol=version)
    subscribed = threading.Event()

    def on_message(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        dealt.put(decode(FrameNotice, bytes(message.payload)))

    def on_connect(*_: Any) -> None:
        client.subscribe(f"$share/{STAGE}/{topics.topic(ends.site, 'frames', '+')}")

    client.on_message, client.on_connect = on_message, on_connect
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(address.host, address.port)
    client.loop_start()
    if not subscribed.wait(10):
        raise RuntimeError("the broker did not accept a shared subscription")
    return client


def _finish(worker: Worker, connection: Connection, notice: FrameNotice, wait_ms: float, fetch_ms: float) -> None:
    """Infer, that is sleep, and publish."""
    before_s = time.monotonic()
    time.sleep(worker.service_ms / 1e3)
    slept_ms = (time.monotonic() - before_s) * 1e3  # more than asked for, above all on a busy machine
    timing = StageTiming(stage=STAGE, instance=worker.name, wait_ms=wait_ms, fetch_ms=fetch_ms, infer_ms=slept_ms)
    found = PeopleFound(
        camera=notice.camera, seq=notice.seq, captured_at_ns=notice.captured_at_ns,
        published_at_ns=connection.clock.now_ns(), key=notice.key, width_px=notice.width_px, height_px=notice.height_px,
        people=(Person(box_xyxy_px=(100.0, 50.0, 220.0, 400.0), score=0.8),), model="sleep", stages=(timing,),
    )  # fmt: skip
    connection.bus.publish(found, "people", notice.camera)
