from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.data.synthetic.effects import Sensor, develop, draw_sensor, smear_kernel, to_jpeg

CLEAN = Sensor(0.2, False, (0.0, 0.0), 0.0, (0.0, 0.0), 1.0, (1.0, 1.0, 1.0), 1.0, 0.0, 90)
GREY = np.full((24, 32, 3), 0.2, np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_clean_sensor_only_applies_gamma() -> None:
    picture = develop(GREY, CLEAN, rng())
    assert picture.dtype == np.uint8
    assert np.unique(picture).tolist() == [round(255 * 0.2 ** (1 / 2.2))]


def test_the_exposure_follows_the_light_as_far_as_it_reaches() -> None:
    assert np.array_equal(develop(GREY * 2.0, CLEAN, rng()), develop(GREY, CLEAN, rng()))
    assert develop(GREY * 0.01, CLEAN, rng()).mean() < develop(GREY, CLEAN, rng()).mean()


def test_infrared_is_grey() -> None:
    coloured = GREY * np.array([1.5, 1.0, 0.2], np.float32)
    picture = develop(coloured, replace(CLEAN, infrared=True, noise=(0.02, 0.05)), rng())
    assert (picture == picture[..., :1]).all()
    assert np.ptp(develop(coloured, CLEAN, rng()), axis=2).min() > 20


def test_noise_is_the_sensors() -> None:
    noisy = develop(GREY, replace(CLEAN, noise=(0.02, 0.0)), rng())
    assert noisy.std() > 2
    assert np.array_equal(noisy, develop(GREY, replace(CLEAN, noise=(0.02, 0.0)), rng()))


def test_a_coarse_sensor_keeps_the_size_of_the_picture() -> None:
    assert develop(GREY, replace(CLEAN, scale=0.5), rng()).shape == GREY.shape


@pytest.mark.parametrize("angle", [0.0, 45.0, 90.0])
def test_smearing_keeps_the_light_and_goes_along_its_line(angle: float) -> None:
    kernel = smear_kernel(6.0, angle)
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel.shape[0] % 2 == 1
    y, x = np.nonzero(kernel)
    middle = kernel.shape[0] // 2
    across = (x - middle) * np.sin(np.radians(angle)) - (y - middle) * np.cos(np.radians(angle))
    assert np.abs(across).max() < 1.0
    assert len(x) >= 5


def test_drawn_sensors_differ_and_deliver_pictures() -> None:
    generator = rng()
    sensors = [draw_sensor(generator) for _ in range(40)]
    assert len({sensor.quality for sensor in sensors}) > 10
    assert {sensor.infrared for sensor in sensors} == {True, False}
    for sensor in sensors[:5]:
        assert develop(GREY, sensor, generator).shape == GREY.shape


def test_the_jpeg_has_the_colours_of_the_picture() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    decoded = cv2.imdecode(np.frombuffer(to_jpeg(red, 95), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded[8, 8, 2] > 180  # OpenCV's order is BGR
    assert decoded[8, 8, 0] < 20
