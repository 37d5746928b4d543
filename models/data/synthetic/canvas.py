"""The picture while it is rendered: colour, depth and owner of every pixel, at twice the final resolution."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.body import Body, vertex_normals
from models.data.synthetic.cloth import CLOTH, Outfit, look_up, reflectance
from models.data.synthetic.furniture import Solid
from models.data.synthetic.lens import Lens
from models.data.synthetic.light import Light, seen_by_lamp, shade
from models.data.synthetic.zbuffer import rasterise

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]

SCALE = 2
NOBODY, THING = -1, -2


class Canvas:
    """Draws people and things over nothing; `over` then lays them over a background.

    depth: (2H, 2W) metres, inf where empty; owner: (2H, 2W) index of the person, THING or NOBODY; colour: (2H, 2W, 3) linear.
    """

    def __init__(self, lens: Lens, light: Light) -> None:
        self.lens, self.light = lens, light
        self.shape = lens.height_px * SCALE, lens.width_px * SCALE
        self.colour = np.zeros((*self.shape, 3), np.float32)
        self.depth = np.full(self.shape, np.inf, np.float32)
        self.owner = np.full(self.shape, NOBODY, np.int16)

    def add_person(self, index: int, body: Body, outfit: Outfit, vertices: Floats) -> Bools:
        """Draws a posed body (V, 3), world metres; returns its whole silhouette in the picture, hidden parts too."""
        pixels, depth = self.lens.project(vertices)
        face, bary, near = self._rasterise(pixels, depth, body.faces)
        whole = face >= 0
        seen = np.nonzero(whole & (near < self.depth))
        corners, weights = body.faces[face[seen]], bary[seen]
        normals = _blend(vertex_normals(vertices, body.faces), corners, weights)
        place = _blend(body.vertices, corners, weights)
        cloth = np.isin(outfit.region[face[seen]], CLOTH)
        step = 55.0  # texels a metre: wrinkles some 5 cm apart
        bumps = look_up(outfit.noise, step * (place[cloth, 0] + place[cloth, 1]), step * place[cloth, 2])
        normals[cloth] += outfit.wrinkles * bumps
        normals /= np.maximum(np.sqrt(np.einsum("ij,ij->i", normals, normals)), 1e-6)[:, None]
        more = np.stack([vertices[:, 2], seen_by_lamp(vertices, self.light)], axis=1)
        heights, lit = _blend(more, corners, weights).T
        colour = reflectance(outfit, face[seen], place) * shade(self.light, normals, heights, lit)
        self._put(seen, colour, near, index)
        return whole

    def add_solid(self, solid: Solid) -> None:
        """Draws a piece of furniture."""
        pixels, depth = self.lens.project(solid.vertices)
        face, bary, near = self._rasterise(pixels, depth, solid.faces)
        seen = np.nonzero((face >= 0) & (near < self.depth))
        ids = face[seen]
        heights = _blend(solid.vertices[:, 2:], solid.faces[ids], bary[seen])[:, 0]
        light = shade(self.light, solid.normals[ids].astype(np.float32), heights, np.ones(len(ids), np.float32))
        self._put(seen, solid.colours[ids].astype(np.float32) * light, near, THING)

    def over(self, background: Singles, smear: Singles | None = None) -> Singles:
        """(H, W, 3) linear light: what was drawn, antialiased, over the background; smear: kernel of moving people."""
        size = self.lens.width_px, self.lens.height_px
        alpha = (self.owner != NOBODY).astype(np.float32)
        layer = np.asarray(cv2.resize(np.dstack([self.colour * alpha[..., None], alpha]), size, interpolation=cv2.INTER_AREA))
        if smear is not None:
            layer = np.asarray(cv2.filter2D(layer, -1, smear, borderType=cv2.BORDER_REPLICATE))
        return np.asarray(layer[..., :3] + background * (1.0 - layer[..., 3:]), np.float32)

    def cover(self, area: Bools) -> None:
        """Marks pixels (2H, 2W) as hidden by something in front of everybody."""
        self.owner[area], self.depth[area] = THING, 0.0

    def _rasterise(self, pixels: Floats, depth: Floats, faces: NDArray[np.int64]) -> tuple[NDArray[np.int32], Singles, Singles]:
        safe = np.clip(pixels, -1e5, 1e5) * SCALE
        return rasterise(safe.astype(np.float32), depth.astype(np.float32), faces, self.shape)

    def _put(self, seen: tuple[NDArray[np.int64], ...], colour: Singles, near: Singles, owner: int) -> None:
        self.colour[seen], self.depth[seen], self.owner[seen] = colour, near[seen], owner


def _blend(values: Floats, corners: NDArray[np.int64], weights: Singles) -> Singles:
    """(N, D) values of vertices (V, D) at pixels: their triangles' corners (N, 3) by barycentric weights (N, 3)."""
    single = values.astype(np.float32)
    blended: Singles = single[corners[:, 0]] * weights[:, :1]
    blended += single[corners[:, 1]] * weights[:, 1:2]
    blended += single[corners[:, 2]] * weights[:, 2:]
    return blended
