"""One synthetic scene from one seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.body import Body, vertex_normals
from models.data.picture import MemoryPicture, decode
from models.data.sample import Person, Sample
from models.data.synthetic import backdrops, furniture
from models.data.synthetic.bodies import Mould, draw_phenotype, mould
from models.data.synthetic.canvas import SCALE, Canvas
from models.data.synthetic.cloth import Outfit, colour, dress, inflate
from models.data.synthetic.effects import develop, draw_sensor, smear_kernel, to_jpeg
from models.data.synthetic.furniture import Solid
from models.data.synthetic.lens import Lens, aim
from models.data.synthetic.light import draw_light, floor_shadow
from models.data.synthetic.postures import Posture, draw_posture
from models.data.synthetic.rig import Rig
from models.data.synthetic.truth import Mark, label

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Rectangle = tuple[Floats, Floats]

SOURCE = "synthetic-people"
LICENCE = "CC0-1.0 (rendered from anny, Apache-2.0, with CC0-1.0 assets)"
CROWD_SHARES = (0.6, 0.27, 0.13)  # scenes of one, two and three people
ON_BED, ON_SEAT, OCCLUDED, MOVING = 0.15, 0.8, 0.2, 0.35
MOST_COVERED = 0.45  # of what is seen of the people


@dataclass(frozen=True)
class Settings:
    """backgrounds: a folder of photographs without people, or a kit; None for rooms and gradients only.

    motion: one of `keyposes.MOTIONS` for all people, None for a draw by their shares.
    """

    backgrounds: Path | None = None
    motion: str | None = None


@dataclass(frozen=True)
class Rendered:
    """A scene as it is stored: the JPEG, its people, and what `Sample` does not carry."""

    jpeg: bytes
    size_px: tuple[int, int]
    people: tuple[Person, ...]
    motions: tuple[str, ...]
    licence: str


@dataclass
class Actor:
    """A posed person: skin keypoints (17, 3) and dressed vertices (V, 3), world metres."""

    body: Body
    outfit: Outfit
    posture: Posture
    vertices: Floats
    keypoints: Floats
    scale: float
    props: list[Solid] = field(default_factory=list)

    def rectangle(self) -> Rectangle:
        """What of the floor it takes, its props with it: low and high (x, y)."""
        points = [self.vertices[::5], *(solid.vertices for solid in self.props)]
        sides = [[c for p in points for c in (p[:, k].min(), p[:, k].max())] for k in (0, 1)]
        return np.array([min(side) for side in sides]), np.array([max(side) for side in sides])

    def shift(self, offset: Floats) -> None:
        """Moves the actor and its props by (3,) metres."""
        self.vertices = self.vertices + offset
        self.keypoints = self.keypoints + offset
        self.props = [Solid(s.vertices + offset, s.faces, s.colours, s.normals) for s in self.props]


def generate(seed: int, settings: Settings | None = None) -> Sample:
    """The scene of a seed as a training sample: the same seed and settings give the same bytes.

    Raises ImportError that names the packages when anny or torch is absent, DataError for backgrounds that cannot be read.
    """
    scene = render(seed, settings or Settings())
    pixels = decode(scene.jpeg, f"synthetic scene {seed}")
    name = f"synthetic-{seed:08d}"
    return Sample(name, MemoryPicture(pixels), scene.people, SOURCE, scene.licence, group=name)


def render(seed: int, settings: Settings, photos: backdrops.Photos | None = None) -> Rendered:
    """As `generate`, with the JPEG; photos: those of the settings, when they are at hand already."""
    rng = np.random.default_rng(seed)
    photos = backdrops.Photos(settings.backgrounds) if photos is None else photos
    cast = mould()
    actors = _crowd(rng, cast, settings)
    low, high = actors[0].rectangle()
    extent = max(float(np.ptp(actors[0].vertices[:, 2])), float(np.hypot(*(high - low))) * 0.9, 0.8)
    lens = aim(rng, float(actors[0].vertices[:, 2].mean()), extent)
    background, things, tint, photo = _surroundings(rng, lens, actors, photos)
    light = draw_light(rng, tint)
    actors = [actor for actor in actors if _off_lens(actor, lens)]
    canvas = Canvas(lens, light)
    for solid in things:
        canvas.add_solid(solid)
        background = background * floor_shadow(solid.vertices, light, lens)[..., None]
    whole = []
    for index, actor in enumerate(actors):
        whole.append(canvas.add_person(index, actor.body, actor.outfit, actor.vertices))
        background = background * floor_shadow(actor.vertices, light, lens)[..., None]
    moving = any(a.posture.motion in ("fall", "walk", "rise") for a in actors) and rng.random() < MOVING
    smear = smear_kernel(rng.uniform(2.0, 9.0), rng.uniform(0, 180)) if moving else None
    linear = canvas.over(background, smear)
    if rng.random() < OCCLUDED:
        linear = _occlude(rng, canvas, linear, photos)
    people, motions = [], []
    for index, actor in enumerate(actors):
        pixels, depth = lens.project(actor.keypoints)
        person = label(canvas, index, whole[index], Mark(pixels, depth, actor.scale), actor.posture.label)
        if person is not None:
            people.append(person)
            motions.append(actor.posture.motion)
    sensor = draw_sensor(rng)
    jpeg = to_jpeg(develop(linear, sensor, rng), sensor.quality)
    licence = LICENCE + ("; background: a photograph of the folder that was given" if photo else "")
    return Rendered(jpeg, (lens.width_px, lens.height_px), tuple(people), tuple(motions), licence)


def _off_lens(actor: Actor, lens: Lens) -> bool:
    """Whether nobody stands so near the lens that it looks into the mesh."""
    return bool(np.linalg.norm(actor.vertices[::7] - np.array(lens.position_m), axis=1).min() > 0.5)


def _crowd(rng: np.random.Generator, cast: Mould, settings: Settings) -> list[Actor]:
    count = int(rng.choice(len(CROWD_SHARES), p=CROWD_SHARES)) + 1
    actors: list[Actor] = []
    for _ in range(count):
        actor = _actor(rng, cast, draw_posture(rng, settings.motion))
        for _ in range(8 if actors else 1):
            where = rng.uniform(0.3, 2.6) if actors else 0.0
            angle = rng.uniform(0, 2 * np.pi)
            offset = np.array([where * np.cos(angle), where * np.sin(angle), 0.0])
            low, high = actor.rectangle()
            if all(_apart((low + offset[:2], high + offset[:2]), other.rectangle()) for other in actors):
                actor.shift(offset)
                actors.append(actor)
                break
    return actors


def _apart(a: Rectangle, b: Rectangle) -> bool:
    return bool((a[0] > b[1]).any() or (a[1] < b[0]).any())


def _actor(rng: np.random.Generator, cast: Mould, posture: Posture) -> Actor:
    """A dressed, posed person above the origin, its lowest parts on the floor or on a bed, its seat with it."""
    body = cast.cast(draw_phenotype(rng))
    outfit = dress(body, cast, rng)
    heading = rng.uniform(0.0, 360.0)
    rig = Rig(body, cast)
    skin, joints = rig.place(posture.channels, heading)
    keypoints = cast.keypoints @ skin
    vertices = inflate(skin, outfit, cast, vertex_normals(skin, body.faces))
    middle = np.array([*vertices[:, :2].mean(axis=0), np.quantile(vertices[:, 2], 0.003)])
    actor = Actor(body, outfit, posture, vertices - middle, keypoints - middle, rig.scale)
    if posture.channels["chair"] > 0.6 and rng.random() < ON_SEAT:
        actor.props = [_seat(rng, actor, body, joints - middle, heading)]
    elif posture.label == "lying" and rng.random() < ON_BED:
        top = float(rng.choice([0.06, 0.25, 0.45, 0.55]))
        low, high = actor.rectangle()
        actor.shift(np.array([0.0, 0.0, top]))
        actor.props = [furniture.bed(rng, low, high, top - 0.02)]
    return actor


def _seat(rng: np.random.Generator, actor: Actor, body: Body, joints: Floats, heading: float) -> Solid:
    """A seat under the pelvis, as high as the lowest flesh near it."""
    hips = joints[[body.bone("upperleg01.L"), body.bone("upperleg01.R")]].mean(axis=0)
    near = np.linalg.norm(actor.vertices[:, :2] - hips[:2], axis=1) < 0.14 * actor.scale
    near &= np.abs(actor.vertices[:, 2] - hips[2]) < 0.2 * actor.scale
    top = max(0.12, float(actor.vertices[near, 2].min()) + 0.015) if near.any() else 0.4
    solid = furniture.seat(rng, top, rng.uniform(0.12, 0.3) * actor.scale)
    return furniture.moved(solid, float(hips[0]), float(hips[1]), heading)


def _surroundings(
    rng: np.random.Generator, lens: Lens, actors: list[Actor], photos: backdrops.Photos
) -> tuple[Singles, list[Solid], Floats, bool]:
    """Background (H, W, 3) linear, furniture, the tint of the light (3,), and whether the background is a photograph."""
    kind = rng.choice(3, p=(0.55, 0.37, 0.08) if len(photos) else (0.0, 0.8, 0.2))
    if kind == 0:
        background = photos.crop(rng, lens.width_px, lens.height_px) * np.float32(rng.uniform(0.7, 1.2))
    elif kind == 1:
        background, _ = backdrops.room(rng, lens, photos)
    else:
        background = backdrops.plain(rng, lens.width_px, lens.height_px)
    mean = background.mean(axis=(0, 1)).astype(np.float64) + 0.02
    tint = (mean / mean.mean()) ** 0.4 * float(np.clip((mean.mean() / 0.2) ** 0.5, 0.5, 1.5))
    taken = [actor.rectangle() for actor in actors]
    eye = np.array(lens.position_m[:2])
    taken.append((eye - 0.4, eye + 0.4))
    count = int(rng.integers(0, 3)) if kind == 0 else int(rng.integers(0, 6))
    things = [solid for actor in actors for solid in actor.props]
    return background, things + furniture.clutter(rng, taken, count), tint, bool(kind == 0)


def _occlude(rng: np.random.Generator, canvas: Canvas, linear: Singles, photos: backdrops.Photos) -> Singles:
    """Something close to the lens before a part of a person: a post, a board, a leaf of a photograph."""
    height, width = linear.shape[:2]
    rows, columns = np.nonzero(canvas.owner >= 0)
    if not len(rows):
        return linear
    pick = int(rng.integers(len(rows)))
    centre = np.array([columns[pick], rows[pick]]) / SCALE
    half = np.array([rng.uniform(0.02, 0.1) * width, rng.uniform(0.05, 0.4) * height])
    if rng.random() < 0.5:
        half = half[::-1] * (width / height, height / width)
    mask = np.zeros((height * SCALE, width * SCALE), np.uint8)
    shape = ((centre * SCALE).tolist(), (half * 2 * SCALE).tolist(), float(rng.normal(0.0, 12.0)))
    if rng.random() < 0.85:
        cv2.fillConvexPoly(mask, cv2.boxPoints(shape).astype(np.int32), 255)
    else:
        cv2.ellipse(mask, shape, 255, -1)
    if np.count_nonzero(mask[rows, columns]) > MOST_COVERED * len(rows):
        return linear
    canvas.cover(mask > 127)
    alpha = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), np.float32)[..., None] / 255.0
    paint = np.asarray(colour(rng), np.float32) * np.float32(rng.uniform(0.5, 1.2))
    front = photos.crop(rng, width, height) if len(photos) and rng.random() < 0.5 else np.broadcast_to(paint, linear.shape)
    return np.asarray(linear * (1.0 - alpha) + front * alpha, np.float32)
