"""What is behind the people: photographs without people, rooms ray-cast for the same camera, or plain gradients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data.errors import DataError
from models.data.picture import decode, read_file, read_member
from models.data.synthetic.cloth import colour, look_up, smooth_noise
from models.data.synthetic.lens import Lens

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bytes = NDArray[np.uint8]
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
GAMMA = 2.2
WALL_M = 0.3  # a room ends at least so far behind cameras and people


class Photos:
    """Photographs without people: a folder of pictures, or a kit (its folder or the `people` in it)."""

    def __init__(self, folder: Path | None) -> None:
        """Raises DataError for a folder without pictures."""
        self.places: list[tuple[Path, str]] = [] if folder is None else list(_places(folder))

    def __len__(self) -> int:
        return len(self.places)

    def crop(self, rng: np.random.Generator, width: int, height: int) -> Singles:
        """(height, width, 3) float32 linear light: a random part of a random photo, as large as it gives, mirrored or not."""
        picture = _load(*self.places[rng.integers(len(self.places))])
        rows, columns = picture.shape[:2]
        scale = min(columns / width, rows / height) * rng.uniform(0.6, 1.0)
        w, h = max(8, int(width * scale)), max(8, int(height * scale))
        x, y = int(rng.integers(columns - w + 1)), int(rng.integers(rows - h + 1))
        part = picture[y : y + h, x : x + w]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        how = cv2.INTER_AREA if w > width else cv2.INTER_LINEAR
        return to_linear(np.asarray(cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=how)))


def to_linear(picture: Bytes) -> Singles:
    """uint8 -> float32 linear light 0..1."""
    table = (np.arange(256) / 255.0) ** GAMMA
    return np.asarray(table, np.float32)[picture]


def plain(rng: np.random.Generator, width: int, height: int) -> Singles:
    """(height, width, 3) linear light: a gradient between colours, with clouds of noise of a random grain."""
    corners = np.array([colour(rng) for _ in range(4)], np.float32).reshape(2, 2, 3)
    field = np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR))
    y, x = np.mgrid[0:height, 0:width] * rng.uniform(0.05, 1.5)
    cloud = look_up(smooth_noise(rng), x.ravel() + 0.0, y.ravel() + 0.0).reshape(height, width, 3)
    return np.asarray(np.clip(field * (1.0 + rng.uniform(0.05, 0.5) * cloud), 0.0, 1.0), np.float32)


def room(rng: np.random.Generator, lens: Lens, photos: Photos) -> tuple[Singles, Singles]:
    """A room of a floor, a ceiling and four walls around camera and people.

    Returns (H, W, 3) linear light and the depth of what is seen (H, W) along the optical axis, metres.
    """
    rays = lens.rays().reshape(-1, 3)
    eye = np.array(lens.position_m)
    reach = rng.uniform(1.5, 4.5, 4) + 0.6
    low = np.minimum(np.array([-reach[0], -reach[1], 0.0]), [eye[0] - WALL_M, eye[1] - WALL_M, 0.0])
    high = np.maximum(np.array([reach[2], reach[3], rng.uniform(2.4, 3.5)]), eye + WALL_M)
    with np.errstate(divide="ignore"):
        far = np.where(rays > 0, (high - eye) / rays, (low - eye) / rays)  # (N, 3) depth at which each pair of planes is met
    axis = np.where(far[:, 0] < far[:, 1], 0, 1)
    axis[far[:, 2] < np.minimum(far[:, 0], far[:, 1])] = 2
    depth = far[np.arange(len(rays)), axis]
    hits = eye + rays * depth[:, None]
    side = np.where(rays[np.arange(len(rays)), axis] > 0, 1, 0)
    wall_paint = colour(rng) * 0.5 + 0.3
    out = np.zeros((len(rays), 3), np.float32)
    for plane in range(6):
        mine = np.flatnonzero((axis == plane // 2) & (side == plane % 2))
        if not len(mine):
            continue
        u, v = (hits[mine, k] for k in range(3) if k != plane // 2)
        if plane == 4:
            out[mine] = _floor(rng, u, v, photos)
        elif plane == 5:
            out[mine] = 0.75
        else:
            out[mine] = _wall(rng, u, v, wall_paint, photos)
    lamp = np.array([*rng.uniform(-2.0, 2.0, 2), high[2] - 0.1])
    fall = 1.0 / (1.0 + np.einsum("ij,ij->i", hits - lamp, hits - lamp) / rng.uniform(4.0, 25.0))
    corner = np.minimum(hits - low, high - hits)
    corner[np.arange(len(rays)), axis] = 9.0
    corner_m = np.minimum(np.minimum(corner[:, 0], corner[:, 1]), corner[:, 2])
    light = (0.35 + 1.2 * fall) * (0.6 + 0.4 * np.clip(corner_m / 0.35, 0.0, 1.0))
    shape = (lens.height_px, lens.width_px)
    return np.clip(out * light[:, None].astype(np.float32), 0, 1).reshape(*shape, 3), depth.reshape(shape).astype(np.float32)


def _floor(rng: np.random.Generator, u: Floats, v: Floats, photos: Photos) -> Singles:
    """(N, 3) reflectance of a floor at places (N,) metres: boards, tiles, carpet, or a photograph's texture."""
    base = (colour(rng) * 0.6 + 0.08) * rng.uniform(0.5, 1.3)
    turn = rng.uniform(0, np.pi)
    a, b = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    kind = rng.integers(5 if len(photos) else 4)
    noise = look_up(smooth_noise(rng), a * rng.uniform(10, 60), b * rng.uniform(10, 60))
    tone = np.ones((len(u), 1))
    if kind == 0:  # boards: each row has its own shade
        width, length = rng.uniform(0.08, 0.2), rng.uniform(0.8, 1.6)
        row = np.floor(b / width)
        board = np.floor(a / length + 0.37 * row)
        tone = (0.8 + 0.4 * np.mod(np.sin(row * 12.9898 + board * 78.233) * 43758.5453, 1.0))[:, None]
        tone = tone * np.where(np.abs(np.mod(b / width, 1.0) - 0.5) > 0.47, 0.6, 1.0)[:, None]
        base = base * (1.2, 0.95, 0.7)
    elif kind == 1:  # tiles with joints, perhaps in two colours
        size = rng.uniform(0.15, 0.6)
        joint = np.maximum(np.abs(np.mod(a / size, 1.0) - 0.5), np.abs(np.mod(b / size, 1.0) - 0.5)) > 0.485
        second = rng.choice([1.0, 1.0, 0.5, 0.25])
        tone = np.where(np.mod(np.floor(a / size) + np.floor(b / size), 2) > 0, second, 1.0)[:, None]
        tone = np.where(joint[:, None], 0.7, tone)
    elif kind == 4:
        return _photo_texture(rng, a, b, photos)
    return np.asarray(np.clip(base * tone * (1.0 + rng.uniform(0.03, 0.25) * noise[:, :1]), 0.01, 0.9), np.float32)


def _wall(rng: np.random.Generator, u: Floats, z: Floats, paint: Floats, photos: Photos) -> Singles:
    """(N, 3) reflectance of a wall, with up to four doors, windows, pictures or boards on it."""
    if len(photos) and rng.random() < 0.35:
        return _photo_texture(rng, u, z, photos)
    noise = look_up(smooth_noise(rng), u * 25.0, z * 25.0)[:, :1]
    out = np.asarray(np.clip(paint * rng.uniform(0.8, 1.1) * (1.0 + 0.05 * noise), 0.02, 0.9), np.float32)
    if rng.random() < 0.5:
        out[z < rng.uniform(0.06, 0.14)] = np.asarray(colour(rng), np.float32)  # skirting
    for _ in range(rng.integers(5)):
        width, height = rng.uniform(0.3, 1.6), rng.uniform(0.3, 1.3)
        low = np.array([rng.uniform(-3, 3), rng.choice([0.0, rng.uniform(0.8, 1.6)])])
        height = 2.05 if low[1] == 0.0 else height
        x, y = (u - low[0]) / width, (z - low[1]) / height
        inside = (x > 0) & (x < 1) & (y > 0) & (y < 1)
        bright = 3.0 if rng.random() < 0.2 else 1.0
        if len(photos) and rng.random() < 0.5:
            out[inside] = _photo_texture(rng, u[inside], z[inside], photos) * bright
        else:
            out[inside] = colour(rng) * bright
        frame = inside & (np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) > 0.46)
        out[frame] = colour(rng)
    return out


def _photo_texture(rng: np.random.Generator, u: Floats, v: Floats, photos: Photos) -> Singles:
    """(N, 3) a photograph laid on a plane, mirrored at its edges."""
    crop = photos.crop(rng, 192, 192)
    scale = 192.0 / rng.uniform(1.0, 3.0)
    x, y = (np.abs(np.mod(c * scale, 382.0) - 191.0).astype(int) for c in (u, v))
    return np.asarray(crop[np.clip(y, 0, 191), np.clip(x, 0, 191)], np.float32)


def _places(folder: Path) -> Sequence[tuple[Path, str]]:
    for scenes in (folder / "people" / "scenes.json", folder / "scenes.json"):
        if scenes.is_file():
            entries = json.loads(scenes.read_text(encoding="utf-8"))
            found = [(scenes.parent / e["shard"], str(e["file"])) for e in entries if e["negative"] and not e["persons"]]
            break
    else:
        found = [(path, "") for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES]
    if not found:
        raise DataError(f"{folder} has no pictures ({', '.join(PICTURES)}) and is no kit; give photographs without people")
    return found


@lru_cache(maxsize=256)
def _load(path: Path, member: str) -> Bytes:
    content = read_member(path, member) if member else read_file(path)
    return decode(content, f"{path}:{member}" if member else str(path))
