"""What people wear, as regions of the mesh with colours and patterns, so that no one is a mannequin of one colour.

Patterns are functions of the place on the rest body, so they stick to the cloth whatever the posture.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.body import Body
from models.data.synthetic.bodies import Mould

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Indices = NDArray[np.int32]

SKIN, HAIR, EYE, BROW, LIPS, TOP, BOTTOM, SHOES, SOLES, BELT, HAT, BAND = range(12)
CLOTH = (TOP, BOTTOM, HAT)
# Linear reflectance of skin from dark to light.
SKINS = np.array([[0.07, 0.04, 0.027], [0.17, 0.095, 0.06], [0.33, 0.19, 0.125], [0.50, 0.33, 0.245], [0.66, 0.47, 0.38]])
HAIRS = np.array([[0.012, 0.01, 0.009], [0.04, 0.024, 0.014], [0.14, 0.08, 0.035], [0.33, 0.23, 0.11], [0.42, 0.41, 0.40]])
NOISE_SIZE = 128


@dataclass(frozen=True)
class Outfit:
    """How a body is dressed.

    region: (F,) of each face; palette: (12, 3) linear reflectance; patterns: name and second colour by region; scale_m of
    patterns; thickness_m: (V,) cloth over skin; noise: (N, N, 3) smooth random texture that wraps around, mean 0, deviation 1.
    """

    region: Ints
    palette: Floats
    patterns: dict[int, tuple[str, Floats, float]]
    thickness_m: Floats
    noise: Singles
    wrinkles: float


def colour(rng: np.random.Generator) -> Floats:
    """A cloth's linear reflectance: greys and dark blues are as common as all that is colourful."""
    kind = rng.random()
    if kind < 0.35:
        grey = rng.choice([0.015, 0.03, 0.07, 0.18, 0.45, 0.75]) * rng.uniform(0.8, 1.2)
        return np.asarray(grey * (1.0 + rng.normal(0.0, 0.04, 3)))
    if kind < 0.5:
        return np.asarray(np.array([0.02, 0.03, 0.07]) * rng.uniform(0.6, 3.5))
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.25, 1.0), rng.uniform(0.2, 0.95))
    return np.asarray(np.array(rgb) ** 2.2 * 0.85 + 0.01)


def smooth_noise(rng: np.random.Generator, sigma: float = 3.0) -> Singles:
    """(N, N, 3) float32 noise of mean 0 and deviation 1, blurred, without a seam."""
    raw = rng.standard_normal((NOISE_SIZE, NOISE_SIZE, 3)).astype(np.float32)
    tiled = cv2.copyMakeBorder(raw, 16, 16, 16, 16, cv2.BORDER_WRAP)
    soft = np.asarray(cv2.GaussianBlur(tiled, (0, 0), sigma), np.float32)[16:-16, 16:-16]
    return np.asarray((soft - soft.mean()) / soft.std(), np.float32)


def look_up(noise: Singles, u: Floats | Singles, v: Floats | Singles) -> Singles:
    """(N, 3) noise at (N,) coordinates in texels, wrapping around."""
    size = np.float32(NOISE_SIZE)
    x, y = (np.mod(c, size).astype(np.float32)[None, :] for c in (u, v))
    padded = cv2.copyMakeBorder(noise, 0, 2, 0, 2, cv2.BORDER_WRAP)
    rows = [  # OpenCV's remap takes at most 32,767 columns
        np.asarray(cv2.remap(padded, x[:, i : i + 30000], y[:, i : i + 30000], cv2.INTER_LINEAR))[0]
        for i in range(0, x.shape[1], 30000)
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 3), np.float32)


def dress(body: Body, mould: Mould, rng: np.random.Generator) -> Outfit:
    """A random outfit for a rest body."""
    vertex, thickness = _regions(body, mould, rng)
    corners = np.sort(vertex[body.faces], axis=1)
    palette = np.zeros((12, 3))
    tone = rng.uniform(0, len(SKINS) - 1)
    low = int(tone)
    high = min(low + 1, len(SKINS) - 1)
    palette[SKIN] = (SKINS[low] * (1 - tone + low) + SKINS[high] * (tone - low)) * rng.uniform(0.85, 1.15)
    palette[HAIR] = HAIRS[rng.integers(len(HAIRS))] * rng.uniform(0.7, 1.3)
    palette[EYE], palette[BROW] = 0.04, 0.5 * palette[HAIR] + 0.25 * palette[SKIN]
    palette[LIPS] = palette[SKIN] * (0.8, 0.55, 0.55)
    for region in (TOP, BOTTOM, SHOES, HAT, BELT, SOLES):
        palette[region] = colour(rng)
    palette[BAND] = (0.75, 0.78, 0.7)
    if rng.random() < 0.1:  # overalls, pyjamas, a tracksuit
        palette[BOTTOM] = palette[TOP]
    patterns = {}
    for region, chance in ((TOP, 0.55), (BOTTOM, 0.2), (HAT, 0.2)):
        if rng.random() < chance:
            names = ("bars", "lines", "checks", "plaid", "blotches", "print")
            patterns[region] = (str(rng.choice(names)), colour(rng), float(rng.uniform(0.02, 0.12)))
    for _ in range(3):
        thickness = mould.relax(thickness[:, None])[:, 0]
    return Outfit(corners[:, 1], palette, patterns, thickness, smooth_noise(rng), float(rng.uniform(0.1, 0.45)))


def inflate(vertices: Floats, outfit: Outfit, mould: Mould, normals: Floats) -> Floats:
    """Cloth over the posed skin: (V, 3) vertices smoothed where something covers them, and lifted by its thickness."""
    cover = np.clip(outfit.thickness_m / 0.012, 0.0, 1.0)[:, None]
    lifted = vertices + normals * outfit.thickness_m[:, None]
    for _ in range(3):
        lifted = (1.0 - cover) * lifted + cover * mould.relax(lifted)
    return lifted


def reflectance(outfit: Outfit, face: Indices, place: Singles) -> Singles:
    """(N, 3) linear reflectance of pixels that show `face` (N,) at rest places (N, 3) metres."""
    region = outfit.region[face]
    colours = outfit.palette[region]
    for which, (name, second, scale_m) in outfit.patterns.items():
        inside = np.flatnonzero(region == which)
        mix = _pattern(name, place[inside], scale_m, outfit.noise)[:, None]
        colours[inside] = (1.0 - mix) * colours[inside] + mix * second
    grain = look_up(outfit.noise, 90.0 * (place[:, 0] + place[:, 1]), 90.0 * place[:, 2])[:, :1]
    return np.asarray(np.clip(colours * (1.0 + 0.07 * grain), 0.004, 0.92), np.float32)


def _pattern(name: str, place: Singles, scale_m: float, noise: Singles) -> Floats:
    """(N,) share of the second colour, 0..1, at rest places (N, 3)."""
    x, y, z = place.T
    wave_z, wave_y = np.sin(np.pi * z / scale_m), np.sin(np.pi * (y + 0.5 * x) / scale_m)
    if name == "bars":
        return np.asarray(wave_z > 0.2, float)
    if name == "lines":
        return np.asarray(wave_y > 0.3, float)
    if name == "checks":
        return np.asarray(wave_z * wave_y > 0, float)
    if name == "plaid":
        return np.asarray(0.4 * (wave_z > 0.5) + 0.4 * (wave_y > 0.5))
    if name == "blotches":
        step = 8.0 / scale_m
        return np.asarray(look_up(noise, step * (y + x), step * z)[:, 0] > 0.3, float)
    return np.asarray((x > 0) & (np.abs(y) < 1.4 * scale_m) & (np.abs(z - 0.3) < 0.9 * scale_m), float)  # a print on the chest


def _regions(body: Body, mould: Mould, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """What covers each vertex, and how thickly (metres)."""
    x, _, z = body.vertices.T
    at = {name: body.heads[i] for i, name in enumerate(body.names)}
    arm = mould.share("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
    foot, head = mould.share("foot", "toe"), mould.share("head", "eye", "neck03", "neck02")
    kind = np.full(len(body.vertices), BOTTOM)
    waist = at["spine04"][2] + rng.uniform(-0.16, 0.05)
    if rng.random() < 0.12:  # a coat or a gown that hides the trousers' upper part
        waist = at["lowerleg01.L"][2] + rng.uniform(0.05, 0.35)
    kind[(z > waist) | (arm > 0.3)] = TOP
    if rng.random() < 0.3:
        kind[(np.abs(z - waist) < 0.018) & (arm < 0.1)] = BELT
    sleeve = rng.choice([0.02, 0.35, 0.6, 0.97, 0.97, 0.97, 0.97])  # share of the arm that it covers
    kind[(arm > 0.3) & (_along(body, "upperarm01", "wrist") > sleeve)] = SKIN
    leg = rng.choice([0.25, 0.5, 0.75, 0.97, 0.97, 0.97, 0.97, 0.97])  # shorts to long trousers
    kind[(kind == BOTTOM) & (_along(body, "upperleg01", "foot") > leg)] = SKIN
    collar = at["neck01"][2] + rng.uniform(-0.03, 0.03) - rng.uniform(0.1, 0.9) * (x - at["neck01"][0])
    kind[(head > 0.5) | ((z > collar) & (arm < 0.1))] = SKIN
    if rng.random() < 0.12:  # reflective bands
        kind[(kind == TOP) & (np.abs(z - at["spine03"][2]) < 0.025)] = BAND
    shoe = at["foot.L"][2] + rng.choice([0.0, 0.03, 0.12])
    if rng.random() < 0.85:
        kind[((foot > 0.3) | (mould.share("lowerleg") > 0.5)) & (z < shoe)] = SHOES
        kind[(foot > 0.4) & (z < body.vertices[:, 2].min() + 0.014)] = SOLES
    lifts = {TOP: rng.uniform(0.006, 0.03), BOTTOM: rng.uniform(0.006, 0.028), SHOES: 0.012, SOLES: 0.012}
    _paint_head(kind, body, mould, rng, lifts)
    thickness = np.zeros(len(kind))
    for region, lift in lifts.items():
        thickness[kind == region] = lift
    thickness[np.isin(kind, (BELT, BAND))] = lifts[TOP]
    return kind, thickness


def _along(body: Body, first: str, last: str) -> Floats:
    """(V,) how far down a limb each vertex lies: 0 at its root, 1 at its end; each side along its own limb."""
    out = np.zeros(len(body.vertices))
    for side, sign in (("L", 1.0), ("R", -1.0)):
        start, end = (body.heads[body.bone(f"{name}.{side}")] for name in (first, last))
        axis = end - start
        own = body.vertices[:, 1] * sign >= 0
        out[own] = (body.vertices[own] - start) @ axis / float(axis @ axis)
    return out


def _paint_head(kind: Ints, body: Body, mould: Mould, rng: np.random.Generator, lifts: dict[int, float]) -> None:
    x, y, z = body.vertices.T
    at = {name: body.heads[body.bone(name)] for name in ("eye.L", "neck01")}
    on_head = mould.share("head", "eye") > 0.5
    eye, crown = at["eye.L"], float(z[on_head].max())
    size = crown - eye[2]  # eye line to crown, the natural unit of a head
    line = eye[2] + size * (0.62 - 0.95 * np.clip((eye[0] - 0.02 - x) / size, 0.0, 1.2))
    line = np.where(np.abs(y) > 0.55 * size, np.maximum(line, eye[2] + 0.05 * size), line)
    line = np.where(x < eye[0] - 0.95 * size, np.minimum(line, eye[2] - 0.35 * size), line)
    front = on_head & (x > eye[0] - 0.2 * size)
    aside = np.abs(np.abs(y) - eye[1])
    kind[front & (aside < 0.16 * size) & (np.abs(z - eye[2]) < 0.07 * size)] = EYE
    kind[front & (aside < 0.2 * size) & (np.abs(z - eye[2] - 0.2 * size) < 0.05 * size)] = BROW
    kind[front & (np.abs(y) < 0.2 * size) & (np.abs(z - eye[2] + 0.62 * size) < 0.07 * size)] = LIPS
    style = rng.random()
    if style < 0.08:
        return  # bald
    kind[on_head & (z > line)] = HAIR
    lifts[HAIR] = rng.uniform(0.006, 0.03)
    if style > 0.6:  # long hair, over neck and shoulders
        neck = mould.share("head", "neck", "spine01", "clavicle", "shoulder") > 0.5
        behind = x < at["neck01"][0] + rng.uniform(-0.02, 0.03)
        kind[neck & behind & (z > eye[2] - size * rng.uniform(1.2, 3.2)) & (np.abs(y) < 0.9 * size)] = HAIR
        lifts[HAIR] = rng.uniform(0.015, 0.035)
    if style < 0.25:  # a cap, a helmet, a bonnet
        kind[on_head & (z > eye[2] + size * rng.uniform(0.3, 0.5))] = HAT
        lifts[HAT] = rng.uniform(0.015, 0.035)
    elif style > 0.94:  # a hood or a scarf
        face = (x > eye[0] - 0.55 * size) & (np.abs(y) < 0.62 * size) & (z < eye[2] + 0.55 * size) & (z > eye[2] - 1.15 * size)
        kind[(mould.share("head", "neck") > 0.5) & ~face] = HAT
        lifts[HAT] = rng.uniform(0.012, 0.03)
