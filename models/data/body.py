"""A clothed human body: anny's parametric mesh, dressed by vertex colours and skinned in NumPy.

Body frame: x forward, y to the person's left, z up, metres, origin between the hips. anny's own frame (x left,
y backward) is converted once, when the rest mesh is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STATURE_M = 1.74
PHENOTYPE = {"gender": 0.1, "age": 0.67, "muscle": 0.55, "weight": 0.5, "height": 0.35, "proportions": 0.6}
SOLE_M = 0.018  # shoe soles lift the bare foot by this much

SKIN, HAIR, EYE, BROW, LIPS, SHIRT, TROUSERS, SHOES, SOLES, BELT = range(10)
PALETTE = np.array(
    [
        [0.66, 0.45, 0.34],  # skin
        [0.10, 0.065, 0.045],  # hair
        [0.07, 0.05, 0.045],  # eyes
        [0.13, 0.085, 0.06],  # brows
        [0.50, 0.25, 0.21],  # lips
        [0.44, 0.085, 0.07],  # shirt
        [0.055, 0.075, 0.13],  # trousers
        [0.045, 0.04, 0.04],  # shoes
        [0.55, 0.54, 0.52],  # soles
        [0.05, 0.035, 0.03],  # belt
    ]
)



@dataclass(frozen=True)
class Outfit:
    """What covers a body. palette: (10, 3) linear reflectance of SKIN, HAIR ... BELT.

    long_sleeves, long_legs: to wrists and ankles, else to elbows and knees; stripe_m: the shirt has bands of this height in
    stripe's colour, 0 for none.
    """

    palette: Floats
    long_sleeves: bool = False
    long_legs: bool = True
    stripe_m: float = 0.0
    stripe: tuple[float, float, float] = (0.0, 0.0, 0.0)


COCO_NAMES = ["nose"] + [
    f"{side}_{part}"
    for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]


@dataclass(frozen=True)
class Body:
    """The rest pose and what is needed to move it.

    vertices: (V, 3) metres; faces: (F, 3); colours: (V, 3) linear reflectance; heads: (B, 3) joint positions;
    parents: (B,), -1 for the root; weights: (V, B) skinning weights; keypoints: (17, V) COCO regressor.
    """

    vertices: Floats
    faces: Ints
    colours: Floats
    heads: Floats
    names: tuple[str, ...]
    parents: tuple[int, ...]
    weights: Floats
    keypoints: Floats

    def bone(self, name: str) -> int:
        """The index of a bone by its anny name, for example `upperleg01.L`."""
        return self.names.index(name)


def load_body() -> Body:
    """The dressed rest body; needs torch and anny, about five seconds."""
    import anny
    import torch

    model = anny.Anny().to(dtype=torch.float32)
    pose = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
    with torch.no_grad():
        out = model(pose_parameters=pose, phenotype_kwargs=PHENOTYPE)
        regressor = anny.KeypointsRegressor.coco(model, labels=list(COCO_NAMES))
    vertices = _to_body_frame(out["vertices"][0].double().numpy())
    heads = _to_body_frame(out["bone_poses"][0, :, :3, 3].double().numpy())
    scale = STATURE_M / float(np.ptp(vertices[:, 2]))
    vertices, heads = vertices * scale, heads * scale
    weights = np.zeros((len(vertices), model.bone_count))
    rows = np.arange(len(vertices))[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.double().numpy())
    faces = model.faces.numpy().astype(np.int64)
    names = tuple(model.bone_labels)
    keypoints = regressor.regression_weights.double().numpy()
    naked = Body(vertices, faces, vertices * 0, heads, names, tuple(model.bone_parents), weights, keypoints)
    return dress(naked, Outfit(PALETTE))


def skin(body: Body, rotations: Floats, root: Floats) -> tuple[Floats, Floats]:
    """Pose the body: rotations (B, 3, 3) of every bone from rest to world, root (3,) metres.

    Returns vertices (V, 3) and joint positions (B, 3), world metres.
    """
    joints = np.zeros_like(body.heads)
    for i, parent in enumerate(body.parents):
        if parent < 0:
            joints[i] = root
        else:
            joints[i] = joints[parent] + rotations[parent] @ (body.heads[i] - body.heads[parent])
    offsets = joints - np.einsum("bij,bj->bi", rotations, body.heads)
    blended = body.weights @ np.concatenate([rotations.reshape(-1, 9), offsets], axis=1)  # (V, 12)
    moved = np.einsum("vij,vj->vi", blended[:, :9].reshape(-1, 3, 3), body.vertices) + blended[:, 9:]
    return moved, joints


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals, (V, 3)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    index = faces.ravel()
    normals = np.stack(
        [np.bincount(index, np.repeat(face[:, i], 3), minlength=len(vertices)) for i in range(3)], axis=1
    )
    unit: Floats = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return unit


def relax(values: Floats, faces: Ints) -> Floats:
    """One step of Laplacian smoothing of per-vertex values (V, D): half self, half the neighbours' mean."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    count = len(values)
    degree = np.maximum(np.bincount(rows, minlength=count), 1)
    sums = np.stack([np.bincount(rows, v[columns], minlength=count) for v in values.T], axis=1)
    smoothed: Floats = 0.5 * values + 0.5 * sums / degree[:, None]
    return smoothed


def _to_body_frame(points: Floats) -> Floats:
    return np.stack([-points[:, 1], points[:, 0], points[:, 2]], axis=1)


def _share(weights: Floats, names: tuple[str, ...], prefixes: tuple[str, ...]) -> Floats:
    columns = [i for i, name in enumerate(names) if name.startswith(prefixes)]
    total: Floats = weights[:, columns].sum(axis=1)
    return total


def dress(body: Body, outfit: Outfit) -> Body:
    """The body with every vertex coloured by what covers it, and cloth, shoes and hair lifted off the skin."""
    vertices, faces = body.vertices, body.faces
    kind = _regions(body, outfit)
    thickness = np.zeros(len(vertices))
    lifts_m = {SHIRT: 0.016, TROUSERS: 0.014, BELT: 0.014, SHOES: 0.008, SOLES: 0.010, HAIR: 0.016}
    for region, lift_m in lifts_m.items():
        thickness[kind == region] = lift_m
    dressed = vertices.copy()
    shod = np.isin(kind, (SHOES, SOLES))
    clothed = np.isin(kind, (SHIRT, TROUSERS, BELT))
    for step in range(30):
        relaxed = relax(dressed, faces)
        dressed[shod] = relaxed[shod]
        if step < 6:
            dressed[clothed] = relaxed[clothed]
    thickness = relax(thickness[:, None], faces)[:, 0]
    dressed += vertex_normals(dressed, faces) * thickness[:, None]
    sole = vertices[:, 2].min() - SOLE_M
    dressed[kind == SOLES, 2] = np.minimum(dressed[kind == SOLES, 2], sole + 0.012)
    dressed[:, 2] = np.maximum(dressed[:, 2], sole)
    colours = outfit.palette[kind]
    if outfit.stripe_m > 0:
        colours[(kind == SHIRT) & (np.floor(vertices[:, 2] / outfit.stripe_m) % 2 == 0)] = outfit.stripe
    return replace(body, vertices=dressed, colours=colours)


def _regions(body: Body, outfit: Outfit) -> Ints:
    vertices, weights, names = body.vertices, body.weights, body.names
    at = {name: body.heads[i] for i, name in enumerate(names)}
    x, z = vertices[:, 0], vertices[:, 2]
    arm = _share(weights, names, ("upperarm", "lowerarm", "wrist", "finger", "metacarpal"))
    fore = _share(weights, names, ("lowerarm", "wrist", "finger", "metacarpal"))
    foot = _share(weights, names, ("foot", "toe"))
    head = _share(weights, names, ("head", "eye", "neck03", "neck02"))
    kind = np.full(len(vertices), TROUSERS)
    waist = at["spine04"][2] + 0.02
    kind[(z > waist) | (arm > 0.3)] = SHIRT
    kind[(np.abs(z - waist) < 0.015) & (arm < 0.1)] = BELT
    bare = _share(weights, names, ("wrist", "finger", "metacarpal")) if outfit.long_sleeves else fore
    kind[bare > 0.6] = SKIN
    if not outfit.long_legs:
        kind[_share(weights, names, ("lowerleg", "foot", "toe")) > 0.6] = SKIN
    collar = at["neck01"][2] + 0.02 - 0.25 * (x - at["neck01"][0])
    kind[(head > 0.5) | ((z > collar) & (arm < 0.1))] = SKIN
    ankle = at["foot.L"][2]
    kind[(foot > 0.4) & (z < ankle + 0.03)] = SHOES
    kind[(foot > 0.4) & (z < vertices[:, 2].min() + 0.014)] = SOLES
    _paint_head(kind, vertices, weights, names, at)
    return kind


def _paint_head(kind: Ints, vertices: Floats, weights: Floats, names: tuple[str, ...], at: dict[str, Floats]) -> None:
    eye, crown = at["eye.L"], float(vertices[:, 2].max())
    head = _share(weights, names, ("head", "eye"))
    x, y, z = vertices.T
    size = crown - eye[2]  # eye line to crown, the natural unit of a head
    on_head = head > 0.5
    hairline = eye[2] + size * (0.62 - 0.95 * np.clip((eye[0] - 0.02 - x) / size, 0.0, 1.2))
    hairline = np.where(np.abs(y) > 0.55 * size, np.maximum(hairline, eye[2] + 0.05 * size), hairline)
    behind_ear = x < eye[0] - 0.95 * size
    hairline = np.where(behind_ear, np.minimum(hairline, eye[2] - 0.35 * size), hairline)
    kind[on_head & (z > hairline)] = HAIR
    side = np.abs(y) - eye[1]
    front = x > eye[0] - 0.2 * size
    kind[on_head & front & (np.abs(side) < 0.16 * size) & (np.abs(z - eye[2]) < 0.07 * size)] = EYE
    kind[on_head & front & (np.abs(side) < 0.2 * size) & (np.abs(z - eye[2] - 0.2 * size) < 0.05 * size)] = BROW
    mouth = eye[2] - 0.62 * size
    kind[on_head & front & (np.abs(y) < 0.2 * size) & (np.abs(z - mouth) < 0.07 * size)] = LIPS
