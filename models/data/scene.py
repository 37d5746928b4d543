"""Puts the posed body into the room: light, soft shadow on the floor, hiding behind furniture, and the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.body import Ints, relax, vertex_normals
from models.data.raster import Camera, rasterise
from models.data.room import Backdrop

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bytes = NDArray[np.uint8]

CELL_M = 0.02  # the shadow map's floor grid
GRID_LOW, GRID_SIZE = np.array([-4.5, 0.5]), (460, 360)  # metres, cells
SKIN_DEPTH_M = 0.16  # a joint lies at most this deep under what the camera sees of it


class Mesh(Protocol):
    """Triangles (F, 3) of vertices, and the linear reflectance (V, 3) of each vertex."""

    @property
    def faces(self) -> Ints: ...

    @property
    def colours(self) -> Floats: ...


@dataclass(frozen=True)
class Film:
    """How light becomes a picture. noise: the sensor's, share of full scale; grey: as by infrared light."""

    exposure: float = 1.55
    noise: float = 0.006
    grey: bool = False


@dataclass(frozen=True)
class Truth:
    """box: (4,) xyxy pixels or None when nothing shows; keypoints: (17, 3) x, y and 0 out, 1 hidden, 2 visible.

    area_px: of what shows, in square pixels.
    """

    box: Floats | None
    keypoints: Floats
    area_px: float = 0.0


class Scene:
    """Renders frames of the people of one mesh in one room."""

    def __init__(self, body: Mesh, camera: Camera, room: Backdrop, scale: int) -> None:
        self.body, self.camera, self.room, self.scale = body, camera, room, scale
        self.floor = np.isfinite(room.floor_xy[..., 0])
        cells = (np.nan_to_num(room.floor_xy, nan=-99.0) - GRID_LOW) / CELL_M - 0.5
        self.cell_x, self.cell_y = (cells[..., i].astype(np.float32) for i in (0, 1))
        self.spots = [light.samples(4) for light in room.layout.lights]

    def frame(self, vertices: Floats, keypoints: Floats, rng: np.random.Generator) -> tuple[Bytes, Truth]:
        """One RGB picture (H, W, 3) of the body with vertices (V, 3) metres, and its truth."""
        picture, truths = self.people(vertices, [keypoints], np.zeros(len(self.body.faces), np.int64), Film(), rng)
        return picture, truths[0]

    def people(
        self, vertices: Floats, keypoints: Sequence[Floats], whose: Ints, film: Film, rng: np.random.Generator
    ) -> tuple[Bytes, list[Truth]]:
        """One RGB picture (H, W, 3) of a mesh of several people, and the truth of each.

        vertices: (V, 3) metres; keypoints: (17, 3) metres of each person; whose: (F,) the person of each face, -1 for things.
        """
        pixels, depth = self.camera.project(vertices)
        shape = self.room.depth.shape
        owner, weights, near = rasterise(pixels * self.scale, depth, self.body.faces, (shape[0], shape[1]))
        visible = (owner >= 0) & (near < self.room.depth)
        linear = self.room.albedo * self._floor_light(vertices)
        if visible.any():
            faces = self.body.faces[owner[visible]]
            linear[visible] = (weights[visible][:, :, None] * self._body_light(vertices)[faces]).sum(axis=1)
        size = (self.camera.width_px, self.camera.height_px)
        small = cv2.resize(linear, size, interpolation=cv2.INTER_AREA)
        nearest = np.minimum(near, self.room.depth)
        shown = np.where(visible, np.append(whose, -1)[owner], -1)
        truths = [self._truth(shown == i, nearest, points) for i, points in enumerate(keypoints)]
        return _develop(small, film, rng), truths

    def _floor_light(self, vertices: Floats) -> Singles:
        light = self.room.ambient.copy()
        ground = _splat(vertices[:, :2], np.clip(1.0 - vertices[:, 2] / 0.45, 0.0, 1.0))
        hush = cv2.GaussianBlur(ground, (0, 0), 5.0)
        light[self.floor] *= 1.0 - 0.85 * np.clip(self._on_floor(hush), 0.0, 1.0)[:, None]
        for spots, direct in zip(self.spots, self.room.direct, strict=True):
            shadow = np.mean([self._shadow(vertices, spot) for spot in spots], axis=0)
            part = direct.copy()
            part[self.floor] *= 1.0 - self._on_floor(cv2.GaussianBlur(shadow, (0, 0), 1.2))[:, None]
            light += part
        return light

    def _shadow(self, vertices: Floats, spot: Floats) -> Singles:
        reach = spot[2] / np.maximum(spot[2] - vertices[:, 2], 0.05)
        return _splat(spot[:2] + (vertices[:, :2] - spot[:2]) * reach[:, None], np.ones(len(vertices)))

    def _on_floor(self, grid: Singles) -> Singles:
        sampled = cv2.remap(grid, self.cell_x, self.cell_y, cv2.INTER_LINEAR, borderValue=0.0)
        return np.asarray(sampled, dtype=np.float32)[self.floor]

    def _body_light(self, vertices: Floats) -> Floats:
        """Colour of each vertex in linear light, (V, 3)."""
        normals = vertex_normals(vertices, self.body.faces)
        up = 0.5 + 0.5 * normals[:, 2]
        close = np.clip(vertices[:, 2] / 0.35, 0.0, 1.0)  # the floor closes off the sky below
        open_sky = (0.55 + 0.45 * up * (0.6 + 0.4 * close)) * (0.55 + 0.45 * close)
        sky = np.array(self.room.layout.ambient) * open_sky[:, None]
        light = sky + 0.10 * (1.0 - up)[:, None] * close[:, None]
        for lamp in self.room.layout.lights:
            to_light = np.array(lamp.centre) - vertices
            distance = np.linalg.norm(to_light, axis=1, keepdims=True)
            rays = to_light / distance
            cosine = np.clip((rays * normals).sum(axis=1) * 0.85 + 0.15, 0.0, None) * rays[:, 2]
            shade = _self_shadow(vertices, np.array(lamp.centre))[:, None]
            for _ in range(4):
                shade = relax(shade, self.body.faces)
            light = light + (cosine * (1.0 - 0.8 * shade[:, 0]))[:, None] / distance**2 * np.array(lamp.intensity) / np.pi
        lit: Floats = self.body.colours * light
        return lit

    def _truth(self, visible: NDArray[np.bool_], nearest: Floats, keypoints: Floats) -> Truth:
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        pixels, depth = self.camera.project(keypoints)
        marks = np.concatenate([pixels, np.zeros((len(pixels), 1))], axis=1)
        size = np.array([self.camera.width_px, self.camera.height_px])
        inside = ((pixels >= 0) & (pixels < size)).all(axis=1) & (depth > 0)
        at = np.clip(pixels * self.scale, 0, size * self.scale - 1).astype(int)
        seen = depth < nearest[at[:, 1], at[:, 0]] + SKIN_DEPTH_M
        marks[:, 2] = np.where(inside, np.where(seen, 2.0, 1.0), 0.0)
        if visible.sum() < 40 * self.scale**2:
            return Truth(None, marks)
        area = float(visible.sum()) / self.scale**2
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / self.scale
        return Truth(box, marks, area)


def _splat(points: Floats, weight: Floats) -> Singles:
    """Marks floor points (N, 2) metres on the grid; closes the gaps between a mesh's vertices."""
    width, height = GRID_SIZE
    cell = np.floor((points - GRID_LOW) / CELL_M).astype(int)
    inside = ((cell >= 0) & (cell < (width, height))).all(axis=1)
    grid = np.zeros((height, width), dtype=np.float32)
    np.maximum.at(grid, (cell[inside, 1], cell[inside, 0]), weight[inside].astype(np.float32))
    return np.asarray(cv2.morphologyEx(grid, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), dtype=np.float32)


def _self_shadow(vertices: Floats, light: Floats, cells_per_m: float = 40.0, bias_m: float = 0.06) -> Floats:
    """How much of the body's other parts stand between each vertex and a light, 0 to 1, by a small depth map."""
    offset = vertices - light
    flat = offset[:, :2] / offset[:, 2:] * float(offset[:, 2].mean())
    cell = np.floor((flat - flat.min(axis=0)) * cells_per_m).astype(int)
    width, height = cell.max(axis=0) + 1
    highest = np.full((height, width), -1e3, dtype=np.float32)
    np.maximum.at(highest, (cell[:, 1], cell[:, 0]), offset[:, 2].astype(np.float32))
    below = (highest[cell[:, 1], cell[:, 0]] - offset[:, 2]) / bias_m - 1.0
    return np.asarray(np.clip(below, 0.0, 1.0), dtype=np.float64)


def _develop(linear: Singles, film: Film, rng: np.random.Generator) -> Bytes:
    """Exposure, a soft shoulder, gamma, a little vignetting and sensor noise."""
    height, width = linear.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    if film.grey:
        linear = np.repeat(linear @ np.array([[0.3], [0.5], [0.2]], np.float32), 3, axis=2)
    value = linear * film.exposure * (1.0 - 0.14 * (x * x + y * y) / 2)[..., None]
    value = np.where(value > 0.7, 0.7 + 0.3 * np.tanh((value - 0.7) / 0.3), value)
    picture = np.clip(value, 0.0, 1.0) ** (1 / 2.2) + rng.normal(0.0, film.noise, (height, width, 1))
    return np.asarray(np.clip(picture * 255.0 + 0.5, 0, 255), dtype=np.uint8)
