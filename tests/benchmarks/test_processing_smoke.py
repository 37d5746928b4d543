"""The processing benchmark runs from end to end, with the per-person way checked against ours. No speed is judged here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import _per_person
from tests.benchmarks.test_smoke import check_common, movenet, run_quick

__all__ = ["movenet"]


@pytest.mark.usefixtures("movenet")
def test_processing_times_both_ways_and_finds_the_same_keypoints(tmp_path: Path) -> None:
    numbers = run_quick("processing", tmp_path)
    check_common(numbers, "processing")
    rows = {row["way"]: row for row in numbers["rows"]}
    assert rows["per person"]["parts_ms"].keys() == {"normalise", "crop", "parse"}
    assert rows["ours"]["parts_ms"].keys() == {"crop", "parse"}
    assert rows["ours, table"]["parts_ms"].keys() == {"normalise", "crop", "parse"}
    for row in rows.values():
        assert min(row["parts_ms"].values()) > 0
        assert row["all_ms"] == pytest.approx(sum(row["parts_ms"].values()), abs=0.01)
    assert numbers["engine_ms"] > 0
    assert numbers["keypoints_differ_px"] <= 0.01


def test_the_yardstick_takes_a_crop_and_its_points_where_they_belong() -> None:
    """A white pixel at (40, 30) of a window of 48 x 64 pixels from (20, 10): pixel (20, 20) of a crop as large."""
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[30, 40] = 255
    floats = _per_person.normalise(frame, np.zeros(3, np.float32), np.full(3, 255, np.float32))
    (window,) = _per_person.windows(np.array([[20, 10, 68, 74]], np.float32), (48, 64), 1.0)
    assert window == (20, 10, 48, 64)
    (crop,) = _per_person.crop(floats, [window], (48, 64))
    assert np.unravel_index(crop[0].argmax(), (64, 48)) == (20, 20)
    maps = np.zeros((1, 17, 16, 12), np.float32)
    maps[0, :, 5, 5] = 1
    np.testing.assert_allclose(_per_person.parse(maps, [window])[0], np.broadcast_to([40, 30, 1], (17, 3)), atol=1e-4)
