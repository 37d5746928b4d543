"""The default networks against MoveNet: the benchmark runs from end to end, and its chain raises what a clip shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks._clip_chain import ClipChain, frames
from benchmarks.defaults import broken_promises
from common.artifact import ArtifactError
from common.config import CameraSettings, DetectorSettings, PoseSettings, ZoneSettings
from posebus.clips import Programme, built_in
from tests.benchmarks.test_smoke import check_common, movenet, run_quick

__all__ = ["movenet"]


@pytest.fixture(scope="module")
def programme() -> Programme:
    """The demo's clips."""
    try:
        return built_in(8.0, None)
    except ArtifactError as error:
        pytest.skip(f"the demo's real clip is not to be had: {error}")


@pytest.mark.usefixtures("movenet", "programme")
def test_both_pairs_see_the_same_frames(tmp_path: Path) -> None:
    numbers = run_quick("defaults", tmp_path)
    check_common(numbers, "defaults")
    assert numbers["pairs"].keys() == {"defaults", "against"}
    for pair in numbers["pairs"].values():
        assert pair["frames"] == 12
        assert pair["cpu_ms"] == pytest.approx(pair["detector_cpu_ms"] + pair["pose_cpu_ms"], abs=0.01)
    assert numbers["cpu_ratio"] > 0


def walker(folder: Path) -> Path:
    """A bright rectangle that moves from left to right: a person, to the network `fake-person`."""
    path = folder / "walker.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8, (320, 240))
    for step in range(24):
        image = np.zeros((240, 320, 3), np.uint8)
        image[80:200, 20 + 10 * step : 60 + 10 * step] = 255
        video.write(image)
    video.release()
    return path


def test_the_chain_raises_the_alert_of_a_zone_once(tmp_path: Path) -> None:
    zone = ZoneSettings(name="right", polygon=((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)), dwell_s=0.5)
    camera = CameraSettings(name="cam", source=str(walker(tmp_path)), fps=8, zones=(zone,))
    chain = ClipChain(DetectorSettings(model="fake-person"), PoseSettings(model="fake-person"))
    for _ in range(2):  # the second time as if there had been no first
        chain.open(camera)
        for seq, (at_s, jpeg, size_px) in enumerate(frames(Path(camera.source), camera), start=1):
            chain.frame(seq, at_s, jpeg, size_px)
        ((kind, at_s),) = chain.play.raised
        assert kind == "intrusion"
        assert 1.5 < at_s < 3  # the foot point crosses x = 160 after about 1.5 s
        assert len(chain.play.spent) == 24
        assert all(spent.people == 1 and spent.detector_cpu_ms >= 0 for spent in chain.play.spent)
    chain.close()


def test_promises_that_are_broken_are_told(programme: Programme) -> None:
    def played(*raised: tuple[str, float]):
        from benchmarks._clip_chain import Played

        return {"room": Played(raised=list(raised)), "walk": Played()}

    truth = {event["kind"]: event for event in programme.truth["room"]}
    good = ("intrusion", truth["intrusion"]["enter_s"] + 1.2), ("fall", truth["fall"]["impact_s"] + 1.0)
    assert broken_promises(played(*good), programme) == []
    (twice,) = broken_promises(played(*good, good[1]), programme)
    assert "2 fall alerts at" in twice
    (late,) = broken_promises(played(good[0], ("fall", truth["fall"]["impact_s"] + 9)), programme)
    assert "fall alert +9.0 s after its ground truth" in late
