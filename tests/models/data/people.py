"""Pictures and people for the tests of data: each picture tells which it is, each label can be right."""

from __future__ import annotations

import cv2
import numpy as np

from models.data.sample import MemoryPicture, Person, Sample


def photo(seed: int, width: int = 160, height: int = 120) -> np.ndarray:
    """(H, W, 3) uint8 RGB: smooth blobs as photos have, other ones for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def jpeg(picture: np.ndarray, quality: int = 95) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def person(box: tuple[float, ...] = (40, 20, 80, 100), **changes: object) -> Person:
    """All keypoints inside the box, weight 1."""
    x0, y0, x1, y1 = box
    steps = np.linspace(0.1, 0.9, 17)
    keypoints = np.stack([x0 + steps * (x1 - x0), y0 + steps * (y1 - y0), np.ones(17)], axis=1).astype(np.float32)
    return Person(**{"box_xyxy_px": np.array(box, np.float32), "keypoints": keypoints, **changes})  # type: ignore[arg-type]


def sample(*people: Person, seed: int = 0, name: str = "a.jpg", **changes: object) -> Sample:
    return Sample(**{  # type: ignore[arg-type]
        "name": name, "picture": MemoryPicture(photo(seed)), "people": people, "source": "test", "licence": "CC0", **changes,
    })  # fmt: skip
