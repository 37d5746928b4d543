"""The embedded stack: on loopback only, durable where it must be, and gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from common.bus import Bus
from common.messages import ActiveModel
from posebus import embedded
from posebus.embedded import EmbeddedStack
from posebus.errors import SetupError
from tests.posebus.conftest import REPO
from tests.wait import eventually


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tmp_path / "data") as running:
        yield running


def listening(pid: int) -> set[str]:
    """Addresses on which a process listens."""
    return {c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN}


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_all_three_listen_on_loopback_only(stack: EmbeddedStack) -> None:
    assert set(stack.pids) == {"frames-store", "state-store", "broker"}
    for name, pid in stack.pids.items():
        assert listening(pid) == {"127.0.0.1"}, name


def test_the_stores_are_set_up_for_their_roles(stack: EmbeddedStack) -> None:
    with redis.Redis.from_url(stack.frames_url) as frames, redis.Redis.from_url(stack.state_url) as state:
        assert frames.config_get("maxmemory") == {"maxmemory": str(256 * 2**20)}
        assert frames.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-ttl"}
        assert frames.config_get("appendonly") == {"appendonly": "no"}
        assert state.config_get("appendfsync") == {"appendfsync": "always"}
        assert state.config_get("appendonly") == {"appendonly": "yes"}
        assert state.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_broker_carries_retained_messages(stack: EmbeddedStack) -> None:
    sender = Bus(stack.bus_url, site="home", client_id="sender", protocol=embedded.PROTOCOL)
    receiver = Bus(stack.bus_url, site="home", client_id="receiver", protocol=embedded.PROTOCOL)
    got: list[object] = []
    receiver.subscribe(lambda message, levels: got.append(message), "models", "+")
    model = ActiveModel(stage="pose", artifact="x" * 500_000)  # far above a broker's usual default for embedded use
    try:
        sender.start()
        assert sender.wait_connected(10)
        assert sender.publish_confirmed(model, "models", "pose")
        receiver.start()
        eventually(lambda: got == [model], what="the retained message")
    finally:
        sender.stop()
        receiver.stop()


def test_stop_leaves_no_process_and_no_temporary_folder() -> None:
    stack = EmbeddedStack()
    stack.start()
    folder, pids = stack.folder, list(stack.pids.values())
    assert folder is not None
    assert folder.is_dir()
    stack.stop()
    assert gone(pids)
    assert not folder.exists()
    stack.stop()  # twice does no harm


def test_state_survives_in_a_given_folder(tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path) as first, redis.Redis.from_url(first.state_url) as store:
        store.set("kept", "yes")
        os.kill(first.pids["state-store"], signal.SIGKILL)  # a power cut
    with EmbeddedStack(tmp_path) as second, redis.Redis.from_url(second.state_url) as store:
        assert store.get("kept") == b"yes"


def test_what_was_killed_is_started_again_on_its_port(stack: EmbeddedStack) -> None:
    os.kill(stack.pids["frames-store"], signal.SIGKILL)
    said = eventually(stack.revive, what="the restart")
    assert "frames-store ended (killed by SIGKILL)" in said[0]
    with redis.Redis.from_url(stack.frames_url) as store:
        eventually(lambda: _answers(store), what="the store on its old port")


def _answers(store: redis.Redis) -> bool:
    try:
        return bool(store.ping())
    except redis.RedisError:
        return False


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from posebus.embedded import EmbeddedStack
        stack = EmbeddedStack(Path(sys.argv[1]))
        stack.start()
        print(*stack.pids.values(), flush=True)
        time.sleep(60)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    watchdogs = [child.pid for child in psutil.Process(parent.pid).children() if child.pid not in pids]
    assert len(pids) == 3
    assert len(watchdogs) == 1
    parent.kill()
    parent.wait(5)
    parent.stdout.close()
    eventually(lambda: gone(pids + watchdogs), what="the end of the children")


def test_a_port_that_is_taken_meanwhile_is_not_used(
    tmp_path: Path, stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [int(url.rsplit(":", 1)[1].split("/")[0]) for url in (stack.frames_url, stack.state_url, stack.bus_url)]
    free = embedded.free_port
    offers = iter([taken[0], free(), taken[1], free(), taken[2], free()])
    monkeypatch.setattr(embedded, "free_port", lambda: next(offers))
    with EmbeddedStack(tmp_path / "second") as second:
        urls = {second.frames_url, second.state_url, second.bus_url}
        assert urls.isdisjoint({stack.frames_url, stack.state_url, stack.bus_url})
        assert len(second.pids) == 3


@pytest.mark.parametrize("package", ["iotcore", embedded._STORE_PACKAGE])
def test_a_missing_package_is_named_with_its_fix(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf"{package}.*pip install 'posebus\[embedded\]'"):
        EmbeddedStack().start()


def test_a_store_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "state" / "appendonlydir"
    broken.parent.mkdir()
    broken.write_text("not a folder")
    (broken.parent / "appendonly.aof").mkdir()  # what Redis before 7 writes to, as on Python 3.10
    stack = EmbeddedStack(tmp_path)
    with pytest.raises(SetupError, match="state-store ended while starting"):
        stack.start()
    assert stack.pids == {}
