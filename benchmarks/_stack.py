"""A real broker and real stores for a benchmark: those of the embedded default, or Mosquitto and Redis where installed."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from posebus.embedded import EmbeddedStack
from tests import parts

# As the embedded ones are set (posebus/embedded.py).
FRAMES = "appendonly no\nmaxmemory 256mb\nmaxmemory-policy volatile-ttl\n"
STATE = "appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n"


@dataclass(frozen=True)
class Stack:
    """Addresses, the MQTT version to speak, and process ids by name."""

    bus_url: str
    frames_url: str
    state_url: str
    protocol: str
    pids: dict[str, int]

    def environment(self) -> dict[str, str]:
        """What a service needs to find this stack."""
        return {
            "POSEBUS_BUS": self.bus_url,
            "POSEBUS_BUS_PROTOCOL": self.protocol,
            "POSEBUS_FRAMES_URL": self.frames_url,
            "POSEBUS_STATE_URL": self.state_url,
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    """--broker and --store."""
    parser.add_argument("--broker", choices=parts.BROKERS, default="iotcore")
    parser.add_argument("--store", choices=parts.STORES, default="valkey")


def label(arguments: argparse.Namespace) -> str:
    """A name for results on another broker or store than the embedded ones; empty for those."""
    chosen = (arguments.broker, arguments.store)
    return "" if chosen == ("iotcore", "valkey") else "-".join(chosen)


@contextmanager
def open_stack(arguments: argparse.Namespace) -> Iterator[Stack]:
    """Start broker, frame store and state store; all are ended on leaving."""
    if label(arguments) == "":
        with EmbeddedStack() as embedded:
            yield Stack(embedded.bus_url, embedded.frames_url, embedded.state_url, "3.1.1", embedded.pids)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posebus-bench-")))
        broker = parts.Broker(arguments.broker, folder / "broker")
        frames = parts.Store(arguments.store, folder / "frames", settings=FRAMES)
        state = parts.Store(arguments.store, folder / "state", settings=STATE)
        pids = {}
        for name, part in (("broker", broker), ("frames-store", frames), ("state-store", state)):
            stack.callback(part.stop)
            part.start()
            assert part.process is not None
            pids[name] = part.process.pid
        protocol = "3.1.1" if arguments.broker == "iotcore" else "5"
        yield Stack(broker.url, frames.url, state.url, protocol, pids)
