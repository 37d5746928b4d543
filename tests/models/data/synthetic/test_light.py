from __future__ import annotations

import numpy as np

from models.data.synthetic.lens import Lens
from models.data.synthetic.light import Light, draw_light, floor_shadow, seen_by_lamp, shade

ABOVE = Light(np.array([0.0, 0.0, 1.0]), np.ones(3), np.full(3, 0.4), np.full(3, 0.2), 0.8, 1.5)
DOWN = Lens((0.0, 0.0, 4.0), 0.0, 90.0, 0.0, 40.0, 0.0, 80, 60)  # looks at the floor: the world's origin is in the middle


def block(low: float, high: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Points of a block of 1 m around the z axis."""
    grid = np.linspace(-0.5, 0.5, 41)
    x, y, z = np.meshgrid(grid, grid, np.linspace(low, high, 3))
    return np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)


def test_a_body_darkens_the_floor_under_it_and_no_other() -> None:
    left = floor_shadow(block(0.0, 0.3), ABOVE, DOWN)
    assert left.shape == (60, 80)
    assert left[30, 40] < 0.4
    assert left[2, 2] == 1.0


def test_the_shadow_of_a_lamp_at_the_left_falls_to_the_right() -> None:
    towards = np.array([-1.0, 0.0, 1.0]) / np.sqrt(2.0)  # x is the picture's right
    left = floor_shadow(block(0.8, 1.0), Light(towards, np.ones(3), np.ones(3), np.ones(3), 0.8, 1.5), DOWN)
    x = (1.0 - left).sum(axis=0) @ np.arange(80) / (1.0 - left).sum()
    assert x > 45  # 0.9 m to the right are 9 px


def test_what_lies_under_something_else_does_not_see_the_lamp() -> None:
    seen = seen_by_lamp(block(0.0, 1.0), ABOVE)
    heights = block(0.0, 1.0)[:, 2]
    assert (seen[heights == 1.0] == 1.0).all()
    assert seen[heights == 0.0].mean() < 0.1


def test_surfaces_that_look_up_get_more_light_than_those_that_look_down() -> None:
    normals = np.array([[0, 0, 1], [1, 0, 0], [0, 0, -1]], np.float32)
    light = shade(ABOVE, normals, np.ones(3, np.float32), np.ones(3, np.float32)).mean(axis=1)
    assert light[0] > light[1] > light[2] > 0
    dark = shade(ABOVE, normals, np.ones(3, np.float32), np.zeros(3, np.float32)).mean(axis=1)
    assert dark[0] < light[0]


def test_light_comes_from_above_and_is_reproducible() -> None:
    lights = [draw_light(np.random.default_rng(seed), np.ones(3)) for seed in range(30)]
    assert min(light.towards[2] for light in lights) > 0.5
    assert np.array_equal(lights[3].lamp, draw_light(np.random.default_rng(3), np.ones(3)).lamp)
