"""Rendering meshes in a room: who is seen, who hides whom, and that nobody is no trouble. Boxes stand in for people."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.layout import Box, Layout, Light
from models.data.raster import Camera
from models.data.rendered_people import Mesh, box_mesh, join
from models.data.room import render_room
from models.data.scene import Film, Scene

CAMERA = Camera((0.0, 0.0, 1.2), 0.0, 10.0, 70.0, 96, 72)
RED, BLUE = (0.7, 0.05, 0.05), (0.05, 0.05, 0.7)


def layout(*boxes: Box) -> Layout:
    return Layout((-2.5, -1.0, 0.0), (2.5, 6.0, 2.6), boxes, (Light((0.0, 3.0, 2.58), (0.5, 0.5), (14.0,) * 3),), (0.3,) * 3)


def person(x: float, y: float, colour: tuple[float, float, float]) -> tuple[Mesh, np.ndarray]:
    """A box as large as somebody who stands, and 17 marks inside it."""
    mesh = box_mesh(np.array([x - 0.2, y - 0.15, 0.0]), np.array([x + 0.2, y + 0.15, 1.6]), colour)
    heights = np.linspace(0.1, 1.5, 17)
    return mesh, np.stack([np.full(17, x), np.full(17, y), heights], axis=1)


def shoot(*people, boxes=(), scale=2):
    room = render_room(CAMERA, scale, np.random.default_rng(3), layout(*boxes), light_step=4)
    meshes = [mesh for mesh, _ in people]
    mesh = join(meshes) if meshes else Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 3)))
    whose = np.concatenate([np.zeros(0, np.int64), *(np.full(len(m.faces), i) for i, m in enumerate(meshes))])
    scene = Scene(mesh, CAMERA, room, scale)
    return scene.people(mesh.vertices, [marks for _, marks in people], whose, Film(noise=0.0), np.random.default_rng(0))


def test_a_box_is_found_where_its_corners_are_projected_to():
    one = person(0.3, 3.0, RED)
    picture, (truth,) = shoot(one)
    pixels, _ = CAMERA.project(one[0].vertices)
    np.testing.assert_allclose(truth.box, [*pixels.min(axis=0), *pixels.max(axis=0)], atol=0.6)
    x, y = ((truth.box[:2] + truth.box[2:]) / 2).astype(int)
    assert picture[y, x, 0] > 1.5 * picture[y, x, 2]  # red
    assert 0 < truth.area_px <= np.prod(truth.box[2:] - truth.box[:2])


def test_of_two_people_the_nearer_hides_the_other_and_each_keeps_their_own_box():
    near, far = person(0.0, 2.5, BLUE), person(0.25, 3.6, RED)
    _, (first, second) = shoot(near, far)
    _, (alone,) = shoot(far)
    assert (first.keypoints[:, 2] == 2).all()
    assert second.area_px < 0.8 * alone.area_px
    assert (second.keypoints[:, 2] == 2).sum() < (alone.keypoints[:, 2] == 2).sum()
    np.testing.assert_allclose(second.box[2], alone.box[2], atol=0.6)  # the right edge shows


def test_furniture_hides_legs():
    counter = Box((-1.0, 2.0, 0.0), (1.0, 2.4, 0.8), (0.5, 0.4, 0.3))
    _, (hidden,) = shoot(person(0.0, 3.2, RED), boxes=(counter,))
    _, (free,) = shoot(person(0.0, 3.2, RED))
    assert hidden.box[3] < free.box[3] - 3
    assert (hidden.keypoints[0, 2], free.keypoints[0, 2]) == (1, 2)


def test_an_empty_room_is_a_picture_without_people():
    picture, truths = shoot()
    assert truths == []
    assert picture.shape == (72, 96, 3)
    assert picture.std() > 5


def test_infrared_pictures_have_no_colour():
    mesh, marks = person(0.0, 3.0, RED)
    room = render_room(CAMERA, 1, np.random.default_rng(3), layout(), light_step=4)
    scene = Scene(mesh, CAMERA, room, 1)
    whose = np.zeros(len(mesh.faces), np.int64)
    picture, _ = scene.people(mesh.vertices, [marks], whose, Film(grey=True), np.random.default_rng(0))
    assert np.ptp(picture.astype(int), axis=2).max() <= 1


@pytest.mark.parametrize("step", [2, 3])
def test_light_from_fewer_pixels_is_about_the_same_light(step: int):
    full = render_room(CAMERA, 1, np.random.default_rng(3), layout())
    spread = render_room(CAMERA, 1, np.random.default_rng(3), layout(), light_step=step)
    np.testing.assert_array_equal(full.depth, spread.depth)
    error = np.abs(full.direct - spread.direct).mean() / full.direct.mean()
    assert error < 0.1
