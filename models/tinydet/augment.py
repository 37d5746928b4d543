"""One training picture: a view of a scene, or four of them, with people laid into it, as another camera could have taken it.

Why what is done: people fall in any direction and cameras hang anywhere, so scenes are turned and mirrored; people on the floor
are rare in photos, so some are cut out of theirs and laid into scenes at any angle; few scenes have people as large as a room's
camera sees them, so views move in on one; some pictures were stretched by those who collected them, so views are stretched too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.geometry import PAD_VALUE, Floats
from models.tinydet.cutouts import Cutout
from models.tinydet.light import photograph
from models.tinydet.scene import NO_BOXES, Scene, area, clipped, warp

import cv2  # isort: skip

Rng = np.random.Generator
Size = tuple[int, int]
HIDDEN_MAX = 0.5  # share of a person's box that may be covered before it is neither right nor wrong to find the person


@dataclass(frozen=True)
class Chances:
    """How often things are done, 0..1. plain: nothing but fitted into the input, as the service does it."""

    plain: float = 0.25
    quarter_turn: float = 0.3
    slant: float = 0.3
    move_in: float = 0.5
    mosaic: float = 0.2
    lay: float = 0.3
    decoy: float = 0.15


CHANCES = Chances()


def picture(
    rng: Rng,
    size_px: Size,
    scene: Callable[[], Scene],
    cutout: Callable[[], Cutout | None],
    chances: Chances = CHANCES,
) -> Scene:
    """A training picture of (width, height). scene, cutout: draw one; cut-outs are laid into it, or are shapes of decoys."""
    if rng.random() < chances.mosaic:
        made = mosaic(rng, size_px, [scene() for _ in range(4)], chances)
    else:
        made = view(rng, scene(), size_px, chances)
    if rng.random() < chances.decoy and (shape := cutout()):
        made = decoy(rng, made, shape, scene())
    if rng.random() < chances.lay:
        for _ in range(int(rng.integers(1, 3))):
            if person := cutout():
                made = lay(rng, made, person)
    return Scene(made.name, photograph(rng, made.image), made.people, made.ignored)


def mosaic(rng: Rng, size_px: Size, scenes: Sequence[Scene], chances: Chances) -> Scene:
    """Four views that meet in a point: many backgrounds a picture, people cut at the middle."""
    width, height = size_px
    x, y = int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(0.3, 0.7))
    image = np.empty((height, width, 3), np.uint8)
    people, ignored = [NO_BOXES], [NO_BOXES]
    for scene, (left, top, right, bottom) in zip(
        scenes, ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)), strict=True
    ):
        part = view(rng, scene, (right - left, bottom - top), chances)
        image[top:bottom, left:right] = part.image
        shift = np.array([left, top, left, top], np.float32)
        people.append(part.people + shift)
        ignored.append(part.ignored + shift)
    return Scene("+".join(s.name for s in scenes), image, np.concatenate(people), np.concatenate(ignored))


def view(rng: Rng, scene: Scene, size_px: Size, chances: Chances = CHANCES) -> Scene:
    """The scene turned, mirrored, stretched, and nearer or farther, in a picture of (width, height)."""
    height, width = scene.image.shape[:2]
    if rng.random() < chances.plain:
        scale = min(size_px[0] / width, size_px[1] / height)
        return warp(scene, np.array([[scale, 0, 0], [0, scale, 0]]), size_px, (PAD_VALUE,) * 3)
    turn = turned(rng, chances)
    # Where the picture is after the turn, and how large it may be.
    reach = np.abs(turn) @ (width, height)
    scale, focus = zoom(rng, scene, np.abs(turn), reach, size_px, chances)
    linear = turn * scale
    if focus is None:  # anywhere such that the picture fills the view, or the view holds the picture
        room = np.array(size_px) - reach * scale
        middle = reach * scale / 2 + room * rng.random(2)
        focus = np.array([width / 2, height / 2])
    else:
        middle = np.array(size_px) * rng.uniform(0.15, 0.85, 2)
    matrix = np.concatenate([linear, (middle - linear @ focus)[:, None]], axis=1)
    return warp(scene, matrix, size_px, border(rng))


def turned(rng: Rng, chances: Chances) -> Floats:
    """(2, 2): a quarter turn or none, a slant of a few degrees or none, mirrored or not, stretched by up to a fifth."""
    angle = np.pi / 2 * rng.integers(1, 4) if rng.random() < chances.quarter_turn else 0.0
    if rng.random() < chances.slant:
        angle += np.radians(rng.uniform(-20, 20))
    cos, sin = np.cos(angle), np.sin(angle)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    stretch = np.exp(rng.uniform(-0.2, 0.2)) if rng.random() < 0.5 else 1.0
    return np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror * stretch**0.5, stretch**-0.5])


def zoom(
    rng: Rng, scene: Scene, turn: Floats, reach: Floats, size_px: Size, chances: Chances
) -> tuple[float, Floats | None]:
    """The scale of the view, and the point of the scene that it looks at, None for no special one."""
    fit, cover = (float(f(np.array(size_px) / reach)) for f in (min, max))
    if len(scene.people) and rng.random() < chances.move_in:
        box = scene.people[int(rng.integers(len(scene.people)))]
        sides = turn @ (box[2:] - box[:2])
        wanted = np.exp(rng.uniform(np.log(0.12), np.log(0.8)))  # of the view, by the side that fills it more
        scale = wanted / float((sides / np.array(size_px)).max())
        return float(np.clip(scale, 0.8 * fit, 4 * fit)), (box[:2] + box[2:]) / 2
    return float(np.exp(rng.uniform(np.log(0.75 * fit), np.log(1.5 * cover)))), None


def border(rng: Rng) -> tuple[int, int, int]:
    """The colour around a picture: the service's grey, mostly; else any, lest grey means that there is nobody."""
    if rng.random() < 0.75:
        return (PAD_VALUE,) * 3
    r, g, b = (int(v) for v in rng.integers(0, 256, 3))
    return r, g, b


def lay(rng: Rng, scene: Scene, cutout: Cutout) -> Scene:
    """A person laid into the scene, at any angle, at 12 to 65 % of its width."""
    height, width = scene.image.shape[:2]
    size = float(np.exp(rng.uniform(np.log(0.12), np.log(0.65)))) * min(width, 1.3 * height)
    image, alpha = placed(rng, cutout, size)
    image = lit_alike(rng, image, alpha, scene.image)
    return pasted(rng, scene, image, alpha, is_person=True)


def decoy(rng: Rng, scene: Scene, shape: Cutout, other: Scene) -> Scene:
    """A patch of another scene in the shape of a person, or of a part: pasted edges must not be what people are known by."""
    _, alpha = placed(rng, shape, float(rng.uniform(0.1, 0.4)) * scene.image.shape[1])
    rows, columns = alpha.shape
    somebody = np.concatenate([other.people, other.ignored])
    for _ in range(8):
        y = int(rng.integers(0, max(1, other.image.shape[0] - rows)))
        x = int(rng.integers(0, max(1, other.image.shape[1] - columns)))
        there = other.image[y : y + rows, x : x + columns]
        window = np.array([x, y, x + columns, y + rows], np.float32)
        if there.shape[:2] == alpha.shape and not overlap(somebody, window).any():
            return pasted(rng, scene, np.ascontiguousarray(there), alpha, is_person=False)
    return scene


def placed(rng: Rng, cutout: Cutout, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Image and alpha of a cut-out, turned to any angle, mirrored or not, its longer side `size` pixels, cut to its new box."""
    height, width = cutout.alpha.shape
    scale = size / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([mirror, 1.0]) * scale
    side = int(np.ceil(np.hypot(height, width) * scale)) + 2
    matrix = np.concatenate([linear, (side / 2 - linear @ (width / 2, height / 2))[:, None]], axis=1)
    flags = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    image = cv2.warpAffine(cutout.image, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(cutout.alpha, matrix, (side, side), flags=flags)
    x, y, w, h = cv2.boundingRect((alpha > 127).astype(np.uint8))
    if min(w, h) < 2:
        return image, alpha
    return image[y : y + h, x : x + w], alpha[y : y + h, x : x + w]


def lit_alike(rng: Rng, image: np.ndarray, alpha: np.ndarray, around: np.ndarray) -> np.ndarray:
    """The person's colours, moved part of the way to the brightness and tint of the scene."""
    mine = np.array(cv2.mean(image, (alpha > 127).astype(np.uint8))[:3]) + 1
    theirs = np.array(cv2.mean(around)[:3]) + 1
    gain = (theirs / mine) ** rng.uniform(0, 0.7)
    table = (np.arange(256)[:, None] * gain).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), table[None]))


def pasted(rng: Rng, scene: Scene, image: np.ndarray, alpha: np.ndarray, *, is_person: bool) -> Scene:
    """The patch somewhere in the scene, its middle inside. Whom it covers by more than HIDDEN_MAX is ignored from then on."""
    height, width = scene.image.shape[:2]
    rows, columns = alpha.shape
    left, top = (int(rng.uniform(0, side)) - half // 2 for side, half in ((width, columns), (height, rows)))
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + columns, width), min(top + rows, height)
    window = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    soft = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.6, 1.4))[window][..., None].astype(np.float32) / 255
    out = scene.image.copy()
    under = out[y0:y1, x0:x1]
    out[y0:y1, x0:x1] = (under + (image[window].astype(np.float32) - under) * soft).astype(np.uint8)
    box = np.array([[left, top, left + columns, top + rows]], np.float32)
    hidden = overlap(scene.people, box[0]) > HIDDEN_MAX * area(scene.people)
    mine, lost = clipped(box, (width, height)) if is_person else (NO_BOXES, NO_BOXES)
    return Scene(
        scene.name,
        out,
        np.concatenate([scene.people[~hidden], mine]),
        np.concatenate([scene.ignored, scene.people[hidden], lost]),
    )


def overlap(boxes: Floats, box: Floats) -> Floats:
    """(N,) areas that boxes (N, 4) share with one box (4,)."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    return np.asarray((high - low).clip(min=0).prod(axis=1))
