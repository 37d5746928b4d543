"""From linear light to what a cheap camera delivers: exposure, infrared, blur, noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Bytes = NDArray[np.uint8]
EXPOSURES = 0.15, 4.0  # range of the automatic exposure
GREY = np.array([0.35, 0.45, 0.20], np.float32)


@dataclass(frozen=True)
class Sensor:
    """How a picture is taken.

    brightness: mean of the picture in linear light that the automatic exposure aims at; infrared: grey; noise: read and shot
    noise, of full scale; blur_px: sigma of the optics; smear: length (px) and angle (degrees) of the camera's own movement;
    scale: resolution of the sensor by that of the picture; balance: (3,) factors; quality: of the JPEG.
    """

    brightness: float
    infrared: bool
    noise: tuple[float, float]
    blur_px: float
    smear: tuple[float, float]
    scale: float
    balance: tuple[float, float, float]
    contrast: float
    vignette: float
    quality: int


def draw_sensor(rng: np.random.Generator) -> Sensor:
    """One in eight infrared, one in eight dark, one in ten shaken; noise grows where light lacks."""
    infrared, dark = rng.random() < 0.125, rng.random() < 0.125
    brightness = rng.uniform(0.02, 0.06) if dark else 0.2 * np.exp(rng.normal(0.0, 0.35))
    gain = rng.uniform(0.4, 1.5) if dark or infrared else rng.uniform(0.1, 1.0)
    smear = rng.uniform(2.0, 8.0) if rng.random() < 0.1 else 0.0
    balance = np.exp(rng.normal(0.0, 0.07, 3))
    return Sensor(
        brightness=float(brightness),
        infrared=bool(infrared),
        noise=(0.008 * gain, 0.02 * gain),
        blur_px=float(abs(rng.normal(0.0, 0.45))),
        smear=(float(smear), float(rng.uniform(0, 180))),
        scale=float(rng.uniform(0.55, 1.0)) if rng.random() < 0.25 else 1.0,
        balance=(float(balance[0]), float(balance[1]), float(balance[2])),
        contrast=float(np.exp(rng.normal(0.0, 0.12))),
        vignette=float(rng.uniform(0.0, 0.35)) + (0.35 if infrared else 0.0),
        quality=int(rng.integers(35, 96)),
    )


def smear_kernel(length_px: float, angle_deg: float) -> Singles:
    """A normalised line of odd size."""
    size = 2 * int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    offset = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))]) * length_px / 2
    ends = [tuple(int(v) for v in np.round(np.array([middle, middle]) + s * offset)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)


def develop(linear: Singles, sensor: Sensor, rng: np.random.Generator) -> Bytes:
    """(H, W, 3) linear light -> (H, W, 3) uint8 RGB, before the JPEG."""
    height, width = linear.shape[:2]
    exposure = float(np.clip(sensor.brightness / max(float(np.minimum(linear, 1.0).mean()), 1e-3), *EXPOSURES))
    light = np.asarray(linear, np.float32) * exposure * np.asarray(sensor.balance, np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    light = light * (1.0 - sensor.vignette * (x * x + y * y) / 2)[..., None]
    if sensor.infrared:
        light = np.repeat((light @ GREY)[..., None], 3, axis=2)
    if sensor.smear[0]:
        light = np.asarray(cv2.filter2D(light, -1, smear_kernel(*sensor.smear)))
    if sensor.blur_px > 0.2:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sensor.blur_px))
    size = width, height
    if sensor.scale < 1:
        small = max(32, round(width * sensor.scale)), max(32, round(height * sensor.scale))
        light = np.asarray(cv2.resize(light, small, interpolation=cv2.INTER_AREA))
    grain = rng.standard_normal(light.shape[:2] + ((1,) if sensor.infrared else (3,)), dtype=np.float32)
    read, shot = sensor.noise
    light = light + grain * np.sqrt(read**2 + shot**2 * np.maximum(light, 0.0))
    light = np.where(light > 0.75, 0.75 + 0.25 * np.tanh((light - 0.75) / 0.25), light)  # a soft shoulder, not a cut
    picture = np.clip(light, 0.0, 1.0) ** np.float32(1 / 2.2)
    picture = np.clip((picture - 0.5) * sensor.contrast + 0.5, 0.0, 1.0)
    if sensor.scale < 1:
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR))
    return np.asarray(picture * 255.0 + 0.5, np.uint8)


def to_jpeg(picture: Bytes, quality: int) -> bytes:
    """The encoded picture, RGB."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f"OpenCV did not encode a picture of shape {picture.shape}")
    return bytes(data.tobytes())
