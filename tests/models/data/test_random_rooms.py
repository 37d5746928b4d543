"""Random rooms and cameras: reproducible, inside their room, never the demo's camera."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.random_rooms import DEMO_PITCH_DEG, DEMO_PLACE_M, DEMO_YAW_DEG, draw_camera, draw_layout, near_demo
from models.data.raster import Camera


@pytest.mark.parametrize("seed", range(40))
def test_rooms_hold_their_furniture_and_their_camera(seed: int):
    rng = np.random.default_rng(seed)
    layout = draw_layout(rng)
    low, high = np.array(layout.low), np.array(layout.high)
    for box in layout.boxes:
        assert (np.array(box.low) < box.high).all()
        assert (np.array(box.low) >= low - 1e-9).all()
        assert (np.array(box.high) <= high + 1e-9).all()
    camera = draw_camera(layout, rng)
    assert (low < camera.position_m).all()
    assert (np.array(camera.position_m) < high).all()
    assert max(camera.width_px, camera.height_px) <= 480
    assert not near_demo(camera)
    assert layout.lights
    assert max(layout.surfaces.wall) <= 1


def test_the_same_seed_draws_the_same_room_and_another_seed_another():
    first, again, other = (draw_layout(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_the_camera_of_the_demo_clip_is_told():
    from_file = {"position_m": [0.55, 0.0, 2.4], "yaw_deg": 4.0, "pitch_deg": 20.0}  # posebus/assets/room.truth.json
    assert (list(DEMO_PLACE_M), DEMO_YAW_DEG, DEMO_PITCH_DEG) == tuple(from_file.values())
    assert near_demo(Camera(DEMO_PLACE_M, 4.0, 20.0, 64.0, 640, 480))
    assert near_demo(Camera((0.6, 0.1, 2.35), 6.0, 22.0, 80.0, 480, 360))
    assert not near_demo(Camera((0.6, 0.1, 2.35), -30.0, 22.0, 64.0, 480, 360))
    assert not near_demo(Camera((1.6, 0.1, 2.35), 4.0, 20.0, 64.0, 480, 360))
