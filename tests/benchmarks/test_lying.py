"""The measure of people on the floor: what counts as found, and one fall from end to end."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _lying_clips, lying
from benchmarks._lying_clips import Seen

PLACE = np.array([[30, 392, 400, 480]], np.float32)


def seen(*boxes: tuple[float, float, float, float], score: float = 0.9, followed: bool = True) -> Seen:
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return Seen(2.0, rows, np.full(len(rows), score, np.float32), [0] * len(rows), 0, 1, rows if followed else rows[:0])


def test_found_is_a_certain_box_at_the_place_and_followed_is_a_track_there():
    there, elsewhere = (20.0, 390.0, 390.0, 478.0), (360.0, 165.0, 450.0, 480.0)
    assert lying.found(seen(elsewhere, there), PLACE)
    assert not lying.found(seen(elsewhere), PLACE)
    assert not lying.found(seen(there, score=0.34), PLACE)
    assert not lying.found(seen(), PLACE)
    assert lying.is_followed(seen(there, score=0.34), PLACE)
    assert not lying.is_followed(seen(there, followed=False), PLACE)


def test_the_interval_over_clips_holds_the_mean_and_is_a_point_where_clips_agree():
    low, high = lying._interval([0.0, 1.0, 1.0, 0.5, 1.0])
    assert low < 0.7 < high
    assert lying._interval([0.25, 0.25]) == (0.25, 0.25)
    assert math.isnan(lying._mean([]))


def test_a_picture_from_farther_away_is_the_same_smaller_in_the_middle():
    image = np.zeros((480, 640, 3), np.uint8)
    image[200:300, 100:200] = 200
    far = _lying_clips._farther(image, 2.0)
    x, y = _lying_clips.corner(640, 480, 2.0)
    assert far.shape == image.shape
    assert (far[y + 105 : y + 145, x + 55 : x + 95] == 200).all()
    assert _lying_clips._farther(image, 1.0) is image


def test_answers_of_networks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_lying_clips, "CACHE", tmp_path)
    asked: list[int] = []

    def answer() -> list[float]:
        asked.append(1)
        return [0.5, 2.0]

    for _ in range(2):
        assert _lying_clips.Kept("some/network").ask((b"shape", b"pixels"), answer) == [0.5, 2.0]
    assert _lying_clips.Kept("some/network").ask((b"shape", b"other"), answer) == [0.5, 2.0]
    assert len(asked) == 2


def test_every_fall_of_the_kit_has_a_place_inside_its_picture(kit):
    falls = {name for name, is_fall in _lying_clips.clips() if is_fall}
    assert falls == _lying_clips.FALLS.keys()
    for fall in _lying_clips.FALLS.values():
        assert 0 < fall.onset_s < fall.impact_s
        for x0, y0, x1, y1 in (fall.upright, fall.lying):
            assert 0 <= x0 < x1 <= 640
            assert 0 <= y0 < y1 <= 480


def test_one_fall_from_end_to_end(kit, tmp_path: Path):
    file = tmp_path / "numbers.json"
    command = [sys.executable, "-m", "benchmarks.lying", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=_lying_clips.REPO, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    without, with_it = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert (without["second_look"], with_it["second_look"]) == (False, True)
    assert without["runs_per_frame_after"] == without["runs_per_frame_daily"] == 0
    assert with_it["after"] > without["after"], "RTMDet-nano loses this person and finds him again turned"
    assert with_it["runs_per_frame_after"] <= 3
