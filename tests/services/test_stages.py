"""Detector and pose at the bus: real broker, real store, real processes; the network is the built-in fake one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from common import config
from common.bus import Bus
from common.frames import FrameStore, connect_store
from common.messages import ActiveModel, FrameNotice, PeopleFound, Person, PosesFound, ServiceStatus
from models import zoo
from services.pose.service import choose
from tests import parts
from tests.wait import eventually

FAKE = Path(zoo.__file__).parent / "fake-person"


def picture(people: int = 1, width: int = 640, height: int = 480) -> bytes:
    """A JPEG with bright rectangles, which the fake network takes for people."""
    image = np.zeros((height, width, 3), np.uint8)
    for i in range(people):
        cv2.rectangle(image, (40 + 90 * i, 100), (80 + 90 * i, 300), (255, 255, 255), -1)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


class Rig:
    """A site with a configuration, a listener, and the means to act as the camera."""

    def __init__(self, bus: Bus, stores, configure, start_service, detector: dict, pose: dict) -> None:
        self.bus, self.stores, self._start = bus, stores, start_service
        self.people: list[PeopleFound] = []
        self.poses: list[PosesFound] = []
        self.status: dict[str, ServiceStatus] = {}
        self.frames = FrameStore(connect_store(stores.frames_url), ttl_s=5)
        self.seq = 0
        settings = config.PosebusConfig.model_validate(
            {
                "general": {"max_age_s": 5.0},
                "store": {"frames_url": stores.frames_url, "state_url": stores.state_url},
                "cameras": [{"name": "lobby", "source": "none.mp4"}],
                "detector": {"model": "fake-person", "runtime": "fake", **detector},
                "pose": {"model": "fake-person", "runtime": "fake", **pose},
            }
        )
        configure(bus, settings)
        bus.subscribe(lambda message, levels: self.people.append(message), "people", "+")
        bus.subscribe(lambda message, levels: self.poses.append(message), "poses", "+")
        bus.subscribe(self._on_status, "status", "+", "+")

    def _on_status(self, message: ServiceStatus | None, levels: tuple[str, ...]) -> None:
        if message is not None:
            self.status[levels[-1]] = message

    def start(self, name: str, instance: str, **environment: str):
        process = self._start(name, instance=instance, **environment)
        eventually(lambda: self.is_ready(instance), 30, what=f"{instance} ready")
        return process

    def is_ready(self, instance: str) -> bool:
        return instance in self.status and self.status[instance].state == "ready"

    def send(self, jpeg: bytes, *, camera: str = "lobby", captured: tuple[int, int] = (640, 480)) -> int:
        self.seq += 1
        now_ns = self.now_ns()
        notice = FrameNotice(
            camera=camera, seq=self.seq, captured_at_ns=now_ns, published_at_ns=now_ns, width_px=captured[0],
            height_px=captured[1], stored_width_px=640, stored_height_px=480, jpeg_bytes=len(jpeg),
            key=self.frames.put(camera, self.seq, jpeg),
        )  # fmt: skip
        self.bus.publish(notice, "frames", camera)
        return self.seq

    def now_ns(self) -> int:
        seconds, micros = self.frames.store.time()
        return seconds * 10**9 + micros * 1000

    def found(self, seq: int) -> PeopleFound:
        return eventually(lambda: next((m for m in self.people if m.seq == seq), None), what=f"people of frame {seq}")

    def posed(self, seq: int) -> PosesFound:
        return eventually(lambda: next((m for m in self.poses if m.seq == seq), None), what=f"poses of frame {seq}")


@pytest.fixture
def make_rig(make_bus, stores, configure, start_service):
    def make(*, url: str | None = None, on=stores, detector: dict | None = None, pose: dict | None = None) -> Rig:
        bus = make_bus(url=url) if url else make_bus()
        return Rig(bus, on, configure, start_service, detector or {}, pose or {})

    return make


def test_frames_become_people_and_skeletons_in_pixels_of_the_frame_as_captured(make_rig):
    rig = make_rig()
    rig.start("detector", "d1")
    rig.start("pose", "p1")
    seq = rig.send(picture(3), captured=(1280, 960))
    people, poses = rig.found(seq), rig.posed(seq)
    assert len(people.people) == len(poses.people) == 3
    box = min(person.box_xyxy_px for person in people.people)
    assert box == pytest.approx((80, 200, 160, 600), abs=14)
    keypoints = np.array(min(poses.people, key=lambda p: p.box_xyxy_px).keypoints_px)
    assert keypoints.shape == (17, 3)
    assert (keypoints[:, 0] > 60).all()
    assert (keypoints[:, 0] < 180).all()
    assert keypoints[0, 1] < keypoints[11, 1] < keypoints[15, 1]  # nose above hip above ankle
    assert [timing.stage for timing in poses.stages] == ["detector", "pose"]
    assert poses.captured_at_ns == people.captured_at_ns


def test_a_frame_without_people_is_passed_on_without_fetching_it(make_rig):
    rig = make_rig()
    rig.start("pose", "p1")
    message = PeopleFound(
        camera="lobby", seq=1, captured_at_ns=time.time_ns(), published_at_ns=time.time_ns(), key="frame:lobby:gone",
        width_px=640, height_px=480, people=(),
    )  # fmt: skip
    rig.bus.publish(message, "people", "lobby")
    assert rig.posed(1).people == ()


def test_garbage_frames_and_payloads_are_said_and_the_next_frame_works(make_rig, shared_broker, site):
    rig = make_rig()
    process = rig.start("detector", "d1")
    raw = parts.plain_client(shared_broker.port)
    for payload in (b"", b"\xc1garbage", b"\x00" * 3000):
        raw.publish(f"posebus/{site}/frames/lobby", payload)
        raw.publish(f"posebus/{site}/config/detector", payload or b"{}")
        raw.publish(f"posebus/{site}/models/detector", payload or b"{}")
    for jpeg in (b"", b"\xff\xd8\xff", picture()[:700]):
        rig.send(jpeg)
    eventually(lambda: "lobby" in (rig.status["d1"].reason or ""))
    assert rig.status["d1"].state == "degraded"
    seq = rig.send(picture(2))
    assert len(rig.found(seq).people) == 2
    eventually(lambda: rig.status["d1"].state == "ready")
    raw.loop_stop()
    assert process.poll() is None


def test_work_is_shared_and_each_frame_is_done_once_and_a_killed_worker_is_survived(make_rig):
    rig = make_rig(detector={"device": "sleep:30ms"})
    first = rig.start("detector", "d1")
    rig.start("detector", "d2")
    sent = []
    for _ in range(20):
        sent += [rig.send(picture(1), camera=camera) for camera in ("a", "b", "c", "d")]
        time.sleep(0.07)
    eventually(lambda: len({m.seq for m in rig.people}) >= 0.7 * len(sent))
    assert len({m.seq for m in rig.people}) == len(rig.people)
    assert {m.stages[-1].instance for m in rig.people} == {"d1", "d2"}
    first.send_signal(signal.SIGKILL)
    eventually(lambda: rig.status["d1"].state == "offline")
    for _ in range(5):
        assert rig.found(rig.send(picture(1))).stages[-1].instance == "d2"


LOSES_ITS_DEVICE = """
from pathlib import Path
from common.manifest import DeviceLost
from common.runtimes import fake
answer = fake.bright_people
def lose(batch):
    if Path({flag!r}).exists():
        raise DeviceLost("inference on the GPU: CUDA_ERROR_LAUNCH_FAILED: the GPU was lost")
    return answer(batch)
fake.bright_people = lose
"""


@pytest.fixture
def loses_its_device(tmp_path: Path) -> str:
    """A PYTHONPATH with which a service's fake network loses its device once {tmp_path}/lost is there."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(LOSES_ITS_DEVICE.format(flag=str(tmp_path / "lost")))
    return os.pathsep.join((str(tmp_path / "site"), str(Path(__file__).parents[2])))


def test_a_worker_that_lost_its_device_ends_and_leaves_the_frames_to_its_peers(make_rig, loses_its_device, tmp_path):
    rig = make_rig(detector={"runtime": "auto"})
    first = rig.start("detector", "d1", PYTHONPATH=loses_its_device)
    assert rig.found(rig.send(picture(1))).stages[-1].instance == "d1"
    rig.start("detector", "d2")
    (tmp_path / "lost").touch()
    eventually(lambda: rig.send(picture(1)) and first.poll() is not None, every_s=0.1)
    assert first.returncode == 1  # whoever started it starts it again
    assert rig.status["d1"].state == "offline"
    assert "the GPU was lost" in (rig.status["d1"].reason or "")
    assert {rig.found(rig.send(picture(1))).stages[-1].instance for _ in range(5)} == {"d2"}


def test_a_worker_whose_next_model_finds_the_device_lost_ends_too(make_rig, loses_its_device, tmp_path):
    rig = make_rig(detector={"runtime": "auto"})
    process = rig.start("detector", "d1", PYTHONPATH=loses_its_device)
    (tmp_path / "lost").touch()
    other = make_artifact(tmp_path, "fake-other")
    rig.bus.publish(ActiveModel(stage="detector", artifact=str(other)), "models", "detector")
    assert process.wait(10) == 1


def make_artifact(folder: Path, name: str) -> Path:
    shutil.copytree(FAKE, folder / name)
    manifest = folder / name / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('name = "fake-person"', f'name = "{name}"'))
    return folder / name


def test_the_model_is_swapped_between_two_frames_without_losing_one(make_rig, tmp_path):
    rig = make_rig()
    rig.start("detector", "d1")
    other = make_artifact(tmp_path, "fake-other")
    sent = []
    for i in range(40):
        sent.append(rig.send(picture(1), camera=f"c{i % 4}"))
        if i == 10:
            rig.bus.publish(ActiveModel(stage="detector", artifact=str(other), previous="fake-person"), "models", "detector")
        rig.found(sent[-1])
    assert rig.people[0].model.startswith("fake-person")
    eventually(lambda: rig.found(rig.send(picture(1))).model.startswith("fake-other"))
    assert {m.seq for m in rig.people} >= set(sent)
    assert "fake-other" in rig.status["d1"].model


def test_a_model_that_cannot_be_had_is_refused_and_the_old_one_works_on(make_rig, tmp_path):
    rig = make_rig()
    rig.start("detector", "d1")
    broken = make_artifact(tmp_path, "fake-broken")
    (broken / "manifest.toml").write_text((broken / "manifest.toml").read_text() + "\ncolour = 'red'\n")
    for artifact, culprit in ((str(broken), "colour"), ("no-such-model", "no-such-model")):
        rig.bus.publish(ActiveModel(stage="detector", artifact=artifact), "models", "detector")
        eventually(lambda culprit=culprit: culprit in (rig.status["d1"].model_error or ""))
        assert rig.found(rig.send(picture(1))).model.startswith("fake-person")
    assert rig.status["d1"].state == "ready"


def test_a_wrong_configuration_on_the_bus_changes_nothing(make_rig, shared_broker, site):
    rig = make_rig()
    rig.start("detector", "d1")
    raw = parts.plain_client(shared_broker.port)
    bad = {"type": "config/1", "part": "detector", "revision": "x", "data": {"score_min": 7}}
    raw.publish(f"posebus/{site}/config/detector", json.dumps(bad))
    eventually(lambda: "score_min" in (rig.status["d1"].reason or ""))
    assert len(rig.found(rig.send(picture(1))).people) == 1
    raw.loop_stop()


def test_store_and_broker_gone_and_back_and_the_stage_works_again_by_itself(make_rig, own_broker, own_stores, make_bus):
    frames, state = own_stores
    for part in (own_broker, frames, state):
        part.start()

    class Urls:
        frames_url, state_url = frames.url, state.url

    rig = make_rig(url=own_broker.url, on=Urls)
    process = rig.start("detector", "d1", POSEBUS_BUS=own_broker.url)
    jpeg = picture(1)
    assert rig.found(rig.send(jpeg))
    notice = FrameNotice(
        camera="lobby", seq=900, captured_at_ns=rig.now_ns(), published_at_ns=rig.now_ns(), key="frame:lobby:900",
        width_px=640, height_px=480, stored_width_px=640, stored_height_px=480, jpeg_bytes=1,
    )  # fmt: skip
    frames.stop()
    rig.bus.publish(notice, "frames", "lobby")
    eventually(lambda: "cannot be reached" in (rig.status["d1"].reason or ""))
    frames.start()
    rig.seq = 1000
    eventually(lambda: rig.send(jpeg) and rig.people[-1].seq > 1000, 30, every_s=0.2)
    own_broker.stop(signal.SIGKILL)
    eventually(lambda: not rig.bus.connected)
    own_broker.start()
    rig.seq = 2000
    eventually(lambda: rig.bus.connected and rig.send(jpeg) and rig.people[-1].seq > 2000, 30, every_s=0.2)
    assert process.poll() is None


def test_a_service_ends_in_order_and_says_goodbye(make_rig):
    rig = make_rig()
    process = rig.start("pose", "p1")
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert time.monotonic() - started < 3
    eventually(lambda: rig.status["p1"].state == "offline" and rig.status["p1"].reason == "stopped")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"POSEBUS_BUS": ""}, "POSEBUS_BUS is not set"),
        ({"POSEBUS_BUS": "http://x"}, "not mqtt://"),
        ({"POSEBUS_SITE": "My Home"}, "POSEBUS_SITE 'My Home'"),
        ({"POSEBUS_LOG": "loud"}, "POSEBUS_LOG=loud"),
        ({"POSEBUS_BUS_PASSWORD_FILE": "/nowhere"}, "POSEBUS_BUS_PASSWORD_FILE=/nowhere"),
    ],
)
def test_a_wrong_environment_ends_a_service_with_one_clear_line(start_service, tmp_path, environment, words):
    process = start_service("pose", instance="p1", **environment)
    assert process.wait(20) == 2
    log = (tmp_path / "p1.log").read_text()
    assert words in log
    assert len(log.splitlines()) == 1


def test_the_cap_on_people_keeps_the_largest_and_most_certain():
    boxes = [(0, 0, 10, 10), (0, 0, 50, 50), (0, 0, 50, 50), (0, 0, 20, 20)]
    people = tuple(
        Person(box_xyxy_px=box, score=score) for box, score in zip(boxes, (0.9, 0.3, 0.8, 0.9), strict=True)
    )
    assert choose(people, 2) == (people[2], people[1])
    assert choose(people, 9) == people
