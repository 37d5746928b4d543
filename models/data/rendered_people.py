"""People of random build, clothes and posture who stand, sit, fall or lie in a rendered room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.body import BELT, BROW, EYE, HAIR, LIPS, PALETTE, SHIRT, SHOES, SKIN, SOLES, TROUSERS, Outfit, dress
from models.data.layout import Layout
from models.data.random_rooms import draw_colour
from models.data.raster import Camera
from models.data.synthetic.bodies import Mould, draw_phenotype
from models.data.synthetic.postures import draw_posture
from models.data.synthetic.rig import Rig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# What fixed cameras see is people who stand, walk and sit; they lie, fall and crawl far more often here than in life, since
# those are the ones that must not be missed.
MOTIONS = {"stand": 0.12, "walk": 0.18, "sit": 0.13, "bend": 0.08, "fall": 0.13, "rise": 0.08, "crawl": 0.06, "lie": 0.22}
HAIRS = (
    (0.02, 0.016, 0.014), (0.1, 0.065, 0.045), (0.22, 0.13, 0.06),
    (0.45, 0.32, 0.16), (0.42, 0.41, 0.4), (0.75, 0.74, 0.72),
)
SEAT_M = 0.44  # side of a seat
NEAR_M, FAR_M = 1.1, 7.5
APART_M = 0.05  # between two people, and between a person and furniture
TRIES = 40


@dataclass(frozen=True)
class Mesh:
    """Triangles: vertices (V, 3) metres, faces (F, 3), colours (V, 3) linear reflectance."""

    vertices: Floats
    faces: Ints
    colours: Floats


@dataclass(frozen=True)
class Placed:
    """A person in the room: mesh, keypoints (17, 3) metres, posture; the seat, if there is one, is a mesh of its own."""

    mesh: Mesh
    keypoints: Floats
    posture: str
    seat: Mesh | None

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """Low and high corner (3,), metres."""
        return self.mesh.vertices.min(axis=0), self.mesh.vertices.max(axis=0)


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Skin, hair and clothes."""
    palette = PALETTE.copy()
    tone = float(rng.uniform(0.12, 1.15))
    palette[SKIN] = PALETTE[SKIN] * tone ** np.array([0.8, 1.0, 1.15])
    palette[LIPS] = PALETTE[LIPS] * (0.4 + 0.6 * tone)
    hair = HAIRS[rng.integers(len(HAIRS))]
    palette[HAIR], palette[BROW] = hair, np.array(hair) * 0.8
    palette[EYE] = PALETTE[EYE]
    shirt = draw_colour(rng)
    palette[SHIRT] = shirt
    palette[TROUSERS] = shirt if rng.random() < 0.15 else draw_colour(rng)  # overalls, night clothes
    palette[SHOES], palette[SOLES], palette[BELT] = draw_colour(rng), draw_colour(rng), draw_colour(rng)
    stripe_m = float(rng.uniform(0.03, 0.12)) if rng.random() < 0.2 else 0.0
    return Outfit(palette, bool(rng.random() < 0.55), bool(rng.random() < 0.85), stripe_m, draw_colour(rng))


def draw_person(mould: Mould, rng: np.random.Generator) -> Placed:
    """Somebody at the origin, lowest parts on the floor."""
    body = dress(mould.cast(draw_phenotype(rng)), draw_outfit(rng))
    names = list(MOTIONS)
    posture = draw_posture(rng, names[rng.choice(len(names), p=list(MOTIONS.values()))])
    vertices, joints = Rig(body, mould).place(posture.channels, float(rng.uniform(-180.0, 180.0)))
    seat = None
    if posture.channels["chair"] > 0.5:
        seat = _seat(vertices, joints[0], rng)
    return Placed(Mesh(vertices, body.faces, body.colours), body.keypoints @ vertices, posture.label, seat)


def place(person: Placed, layout: Layout, camera: Camera, others: list[Placed], rng: np.random.Generator) -> Placed | None:
    """The person moved to free floor that the camera sees, or None when there is none to be found."""
    low, high = person.bounds
    for _ in range(TRIES):
        spot = np.array([rng.uniform(layout.low[0], layout.high[0]), rng.uniform(0.6, layout.high[1]), 0.0])
        if _in_view(spot, camera) and _free(low + spot, high + spot, layout, others):
            return _moved(person, spot)
    return None


def box_mesh(low: Floats, high: Floats, colour: tuple[float, float, float], cell_m: float = 0.08) -> Mesh:
    """An axis-aligned box of small triangles (the rasteriser skips large ones), each side with vertices of its own."""
    vertices, faces, count = [], [], 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        steps = [max(1, int(np.ceil((high[i] - low[i]) / cell_m))) for i in (u, v)]
        lines = [np.linspace(low[i], high[i], n + 1) for i, n in zip((u, v), steps, strict=True)]
        a, b = np.meshgrid(*lines, indexing="ij")
        index = np.arange(a.size).reshape(a.shape)
        corner = [index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel(), index[:-1, 1:].ravel()]
        for at, order in ((high[axis], (0, 1, 2, 3)), (low[axis], (3, 2, 1, 0))):
            points = np.empty((a.size, 3))
            points[:, axis], points[:, u], points[:, v] = at, a.ravel(), b.ravel()
            p, q, r, s = (corner[i] for i in order)
            vertices.append(points)
            faces.append(count + np.concatenate([np.stack([p, q, r], axis=1), np.stack([p, r, s], axis=1)]))
            count += a.size
    points = np.concatenate(vertices)
    return Mesh(points, np.concatenate(faces), np.tile(np.array(colour), (len(points), 1)))


def join(meshes: list[Mesh]) -> Mesh:
    """One mesh of several."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.colours for mesh in meshes]),
    )


def _seat(vertices: Floats, root: Floats, rng: np.random.Generator) -> Mesh:
    """A stool under the pelvis: what a chair's seat and legs are, without its back."""
    under = vertices[np.linalg.norm(vertices[:, :2] - root[:2], axis=1) < 0.15]
    top = float(under[:, 2].min())
    colour, half, middle = draw_colour(rng), SEAT_M / 2, np.array([root[0], root[1], 0.0])
    below = max(top - 0.05, 0.01)
    corner, leg = np.array([half, half, 0.0]), np.array([0.04, 0.04, below])
    rise = np.array([0.0, 0.0, below])
    parts = [box_mesh(middle - corner + rise, middle + corner + rise + np.array([0.0, 0.0, 0.05]), colour)]
    feet = [middle + np.array([dx, dy, 0.0]) for dx in (-half + 0.02, half - 0.06) for dy in (-half + 0.02, half - 0.06)]
    return join(parts + [box_mesh(foot, foot + leg, colour) for foot in feet])


def _moved(person: Placed, by: Floats) -> Placed:
    def shift(mesh: Mesh) -> Mesh:
        return Mesh(mesh.vertices + by, mesh.faces, mesh.colours)

    return Placed(shift(person.mesh), person.keypoints + by, person.posture, person.seat and shift(person.seat))


def _in_view(spot: Floats, camera: Camera) -> bool:
    """Whether knee height over a floor point lies in the picture, neither too near nor too far."""
    pixels, depth = camera.project(spot[None] + [0.0, 0.0, 0.4])
    inside = (pixels[0] > 0).all() and (pixels[0] < (camera.width_px, camera.height_px)).all()
    return bool(inside and NEAR_M < depth[0] < FAR_M)


def _free(low: Floats, high: Floats, layout: Layout, others: list[Placed]) -> bool:
    walls = np.array(layout.low[:2]) + APART_M, np.array(layout.high[:2]) - APART_M
    if (low[:2] < walls[0]).any() or (high[:2] > walls[1]).any():
        return False
    taken = [(np.array(box.low), np.array(box.high)) for box in layout.boxes] + [other.bounds for other in others]
    return not any((low < end + APART_M).all() and (high > start - APART_M).all() for start, end in taken)
