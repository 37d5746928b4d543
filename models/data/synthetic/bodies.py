"""Rest bodies of many shapes, cast from anny's parametric mesh (Apache-2.0, assets CC0-1.0).

The frame is that of `models.data.body`: x forward, y to the person's left, z up, metres.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.body import COCO_NAMES, Body

Floats = NDArray[np.float64]
NEEDED = ("torch", "anny", "roma", "trimesh", "safetensors", "yaml", "PIL")
MISSING = (
    "synthetic people need the body model anny: "
    "pip install torch roma trimesh safetensors pyyaml pillow && pip install --no-deps 'anny>=0.6.2'"
)
# anny's age anchors are newborn 0, baby 1/4, child 1/2, young 3/4 and old 1; it gives 1.75 m for a mean young man.
NEIGHBOURS = 8
CHILD, GROWN, OLD = 0.5, 0.68, 1.0


@dataclass(frozen=True)
class Phenotype:
    """anny's shape parameters, each 0..1."""

    gender: float
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float


MEAN = Phenotype(gender=0.5, age=0.7, muscle=0.5, weight=0.5, height=0.4, proportions=0.5)


def draw_phenotype(rng: np.random.Generator) -> Phenotype:
    """Mostly adults, one in three of them old (who fall most), one in eight a child."""
    kind = rng.random()
    if kind < 0.12:
        age = rng.uniform(CHILD, GROWN)
    elif kind < 0.45:
        age = rng.uniform(0.85, OLD)
    else:
        age = rng.uniform(GROWN, 0.85)
    muscle, weight, height, proportions = np.clip(rng.normal((0.5, 0.5, 0.38, 0.5), (0.22, 0.22, 0.14, 0.22)), 0.05, 0.95)
    gender = rng.uniform(0.0, 1.0)
    return Phenotype(float(gender), float(age), float(muscle), float(weight), float(height), float(proportions))


def require() -> None:
    """Raises ImportError that names what to install, unless anny and what it needs are here; imports none of it."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ImportError(f"no {' and no '.join(absent)} here: {MISSING}")


class Mould:
    """Casts rest bodies; loading takes seconds, the very first time on a machine about a minute (anny fills its cache).

    Raises ImportError that names the packages when anny or torch is absent.
    """

    def __init__(self) -> None:
        require()
        import anny
        import torch

        self._torch: Any = torch
        self._model: Any = anny.Anny(skinning_method="lbs").to(dtype=torch.float32)
        model = self._model
        regressor = anny.KeypointsRegressor.coco(model, labels=list(COCO_NAMES))
        self.keypoints: Floats = regressor.regression_weights.double().numpy()
        self.faces = np.ascontiguousarray(model.faces.numpy().astype(np.int64))
        self.names: tuple[str, ...] = tuple(model.bone_labels)
        self.parents = tuple(int(p) for p in model.bone_parents)
        count = len(model.template_vertices)
        self.weights = np.zeros((count, model.bone_count))
        rows = np.arange(count)[:, None]
        np.add.at(self.weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.double().numpy())
        self.neighbours = _neighbours(self.faces, count)
        self._weights32 = self.weights.astype(np.float32)
        self._shares: dict[tuple[str, ...], Floats] = {}
        self._rest = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)

    def relax(self, values: Floats) -> Floats:
        """One step of Laplacian smoothing of per-vertex values (V, D): half self, half the neighbours' mean."""
        total = values[self.neighbours[0]]
        for row in self.neighbours[1:]:
            total += values[row]
        relaxed: Floats = 0.5 * values + (0.5 / NEIGHBOURS) * total
        return relaxed

    def share(self, *prefixes: str) -> Floats:
        """(V,) how much of each vertex moves with bones whose names start so, 0..1; the same for all bodies."""
        if prefixes not in self._shares:
            columns = [i for i, name in enumerate(self.names) if name.startswith(prefixes)]
            self._shares[prefixes] = self.weights[:, columns].sum(axis=1)
        return self._shares[prefixes]

    def pose(self, body: Body, rotations: Floats) -> tuple[Floats, Floats]:
        """As `models.data.body.skin`, with the root at the origin, in single precision, which takes half the time."""
        joints = np.zeros_like(body.heads)
        for i, parent in enumerate(body.parents):
            if parent >= 0:
                joints[i] = joints[parent] + rotations[parent] @ (body.heads[i] - body.heads[parent])
        offsets = joints - np.einsum("bij,bj->bi", rotations, body.heads)
        blend = self._weights32 @ np.concatenate([rotations.reshape(-1, 9), offsets], axis=1).astype(np.float32)  # (V, 12)
        x, y, z = body.vertices.astype(np.float32).T
        moved = [blend[:, k] * x + blend[:, k + 1] * y + blend[:, k + 2] * z + blend[:, 9 + k // 3] for k in (0, 3, 6)]
        return np.stack(moved, axis=1).astype(np.float64), joints

    def cast(self, phenotype: Phenotype) -> Body:
        """The naked rest body; its colours are zeros, clothes give them."""
        values = {name: float(value) for name, value in vars(phenotype).items()}
        with self._torch.no_grad():
            out = self._model(pose_parameters=self._rest, phenotype_kwargs=values)
        vertices = _to_body_frame(out["vertices"][0].double().numpy())
        heads = _to_body_frame(out["bone_poses"][0, :, :3, 3].double().numpy())
        colours = np.zeros_like(vertices)
        return Body(vertices, self.faces, colours, heads, self.names, self.parents, self.weights, self.keypoints)


@cache
def mould() -> Mould:
    """The one mould of this process."""
    return Mould()


def _neighbours(faces: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(8, V) neighbours of each vertex, the first ones repeated where it has fewer; beyond 8, which is rare, left out."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    starts = np.searchsorted(pairs[:, 0], np.arange(count))
    degree = np.diff(np.append(starts, len(pairs)))
    slots = np.arange(NEIGHBOURS)[:, None] % np.clip(degree, 1, NEIGHBOURS)
    table = pairs[np.minimum(starts + slots, len(pairs) - 1), 1]
    return np.ascontiguousarray(np.where(degree > 0, table, np.arange(count)))


def _to_body_frame(points: Floats) -> Floats:
    """anny: x left, y backward."""
    return np.stack([-points[:, 1], points[:, 0], points[:, 2]], axis=1)
