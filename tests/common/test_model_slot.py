from __future__ import annotations

import threading

import pytest

from common.model_slot import ModelSlot
from tests.wait import eventually


class Model:
    def __init__(self, name: str) -> None:
        self.name, self.closed = name, False

    def close(self) -> None:
        self.closed = True


class Rig:
    def __init__(self) -> None:
        self.ready: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.broken: set[str] = {"broken"}
        self.gate = threading.Event()
        self.gate.set()
        self.slot: ModelSlot[Model] = ModelSlot(
            self.load,
            on_ready=lambda name, model: self.ready.append(name),
            on_refused=lambda name, error: self.refused.append((name, str(error))),
            retry_s=0.05,
        )

    def load(self, name: str) -> Model:
        self.gate.wait(5)
        if name in self.broken:
            raise RuntimeError(f"checksum of {name} is wrong")
        return Model(name)


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.gate.set()
    rig.slot.close()


def test_a_new_model_takes_over_between_two_frames_and_the_old_one_is_closed(rig):
    rig.slot.request("one")
    first = eventually(rig.slot.current)
    rig.slot.request("two")
    eventually(lambda: rig.ready == ["one", "two"])
    assert not first.closed
    second = rig.slot.current()
    assert second.name == "two"
    assert first.closed


def test_a_model_that_fails_its_check_leaves_the_old_one_running(rig):
    rig.slot.request("one")
    first = eventually(rig.slot.current)
    rig.slot.request("broken")
    eventually(lambda: rig.refused)
    assert rig.refused == [("broken", "checksum of broken is wrong")]
    assert rig.slot.current() is first
    assert not first.closed


def test_loading_does_not_hold_up_the_running_model(rig):
    rig.slot.request("one")
    first = eventually(rig.slot.current)
    rig.gate.clear()
    rig.slot.request("two")
    assert all(rig.slot.current() is first for _ in range(100))
    rig.gate.set()
    eventually(lambda: rig.slot.current().name == "two")


def test_a_first_model_that_does_not_load_is_tried_again_until_it_does(rig):
    rig.slot.request("broken")
    eventually(lambda: len(rig.refused) >= 2)
    assert rig.slot.current() is None
    rig.broken.clear()
    assert eventually(rig.slot.current).name == "broken"


def test_closing_frees_the_models(rig):
    rig.slot.request("one")
    first = eventually(rig.slot.current)
    rig.slot.close()
    assert first.closed
