from __future__ import annotations

import numpy as np
import pytest

from models.data.synthetic.lens import Lens, aim


def lens(k1: float = 0.0, **changes: float) -> Lens:
    values = {"yaw_deg": 20.0, "pitch_deg": 30.0, "roll_deg": 5.0} | changes
    return Lens((0.5, -3.0, 2.5), values["yaw_deg"], values["pitch_deg"], values["roll_deg"], 200.0, k1, 64, 48)


def test_what_is_straight_ahead_is_in_the_middle_of_the_picture() -> None:
    eye = lens(k1=-0.1)
    pixels, depth = eye.project(np.array(eye.position_m) + 4.0 * eye.axes()[2:])
    assert pixels[0] == pytest.approx([32.0, 24.0])
    assert depth[0] == pytest.approx(4.0)


def test_higher_things_are_higher_in_the_picture_and_those_at_the_right_are_right() -> None:
    eye = Lens((0.0, 0.0, 1.0), 0.0, 0.0, 0.0, 100.0, 0.0, 64, 48)  # looks along y, x is right
    pixels, _ = eye.project(np.array([[0.0, 4.0, 1.0], [0.0, 4.0, 1.5], [1.0, 4.0, 1.0]]))
    assert pixels[1, 1] < pixels[0, 1]
    assert pixels[2, 0] > pixels[0, 0]


@pytest.mark.parametrize("k1", [0.0, -0.16, 0.03])
def test_rays_go_where_the_projection_comes_from(k1: float) -> None:
    eye = lens(k1)
    rays = eye.rays()
    pixels, depth = eye.project(np.array(eye.position_m) + 3.0 * rays.reshape(-1, 3))
    y, x = np.mgrid[0:48, 0:64] + 0.5
    assert np.allclose(pixels, np.stack([x, y], axis=-1).reshape(-1, 2), atol=1e-3)
    assert np.allclose(depth, 3.0)


def test_barrel_distortion_pulls_the_edge_inward() -> None:
    point = np.array([[0.5, -1.0, 0.5]])
    straight, bent = (lens(k1, yaw_deg=0.0).project(point)[0][0] for k1 in (0.0, -0.15))
    middle = np.array([32.0, 24.0])
    assert np.linalg.norm(bent - middle) < np.linalg.norm(straight - middle)


def test_what_is_behind_the_lens_or_beyond_its_fold_has_no_depth() -> None:
    eye = lens(-0.16)
    right, _, forward = eye.axes()
    points = np.array(eye.position_m) + np.stack([-forward, forward + 3.0 * right])
    assert (eye.project(points)[1] == -1.0).all()


def test_cameras_see_the_person_they_are_aimed_at_from_human_heights() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        eye = aim(rng, 0.6, 1.7)
        pixels, depth = eye.project(np.array([[0.0, 0.0, 0.6]]))
        assert depth[0] > 0
        assert (pixels[0] > 0).all()
        assert (pixels[0] < (eye.width_px, eye.height_px)).all()
        assert max(eye.width_px, eye.height_px) <= 384
