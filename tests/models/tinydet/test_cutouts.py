"""A person is cut out where skeleton and colours tell, and nobody is where they do not."""

from __future__ import annotations

import cv2
import numpy as np

from models.data.sample import MemoryPicture, Person, Sample
from models.tinydet.cutouts import Cutout, cut_out

# A stick figure, in a box of 60 x 140 from (30, 20): COCO's order.
POINTS = np.array([
    [60, 32], [57, 29], [63, 29], [54, 31], [66, 31], [46, 52], [74, 52], [40, 75], [80, 75], [37, 95], [83, 95], [52, 95],
    [68, 95], [50, 122], [70, 122], [49, 150], [71, 150],
], np.float32)  # fmt: skip


def person_on(background: tuple[int, int, int], body: tuple[int, int, int] = (200, 40, 40)) -> tuple[np.ndarray, np.ndarray]:
    """Picture and true mask of a thick figure around POINTS."""
    mask = np.zeros((180, 120), np.uint8)
    for a, b in ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)):
        cv2.line(mask, POINTS[a].astype(int).tolist(), POINTS[b].astype(int).tolist(), 1, 12)
    cv2.fillConvexPoly(mask, POINTS[[5, 6, 12, 11]].astype(np.int32), 1)
    cv2.circle(mask, (60, 34), 13, 1, -1)
    noise = np.random.default_rng(0).integers(-12, 13, (180, 120, 3))
    image = np.where(mask[..., None] > 0, body, background) + noise
    return image.clip(0, 255).astype(np.uint8), mask


def sample(image: np.ndarray, weight: float = 1.0) -> Sample:
    keypoints = np.column_stack([POINTS, np.full(17, weight, np.float32)]).astype(np.float32)
    person = Person(np.array([30, 20, 90, 158], np.float32), keypoints, posture="upright")
    return Sample("figure", MemoryPicture(image), (person,), "made", "", complete=False)


def test_the_figure_is_cut_along_its_outline() -> None:
    image, mask = person_on((60, 120, 60))
    cut = cut_out(sample(image))
    assert isinstance(cut, Cutout)
    x, y, width, height = cv2.boundingRect(mask)
    assert abs(cut.alpha.shape[0] - height) <= 4
    assert abs(cut.alpha.shape[1] - width) <= 4
    truth = cv2.resize(mask[y : y + height, x : x + width], cut.alpha.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    found = cut.alpha > 127
    assert (truth & found).sum() / (truth | found).sum() > 0.8  # gaps between limbs are a few pixels at the size it works at
    assert cut.posture == "upright"


def test_a_figure_in_the_colours_of_its_background_is_left_out() -> None:
    image, _ = person_on((120, 120, 120), body=(120, 120, 120))
    image[:20] = 0  # colours outside of the box that tell nothing inside
    cut = cut_out(sample(image))
    assert cut is None or (cut.alpha > 127).mean() > 0.2  # never a sliver


def test_without_a_skeleton_nobody_is_cut_out() -> None:
    image, _ = person_on((60, 120, 60))
    assert cut_out(sample(image, weight=0.1)) is None
    bare = Sample("bare", MemoryPicture(image), (Person(np.array([30, 20, 90, 158], np.float32)),), "made", "")
    assert cut_out(bare) is None


def test_the_same_person_is_cut_out_alike_each_time() -> None:
    image, _ = person_on((60, 120, 60))
    first, second = cut_out(sample(image)), cut_out(sample(image))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.alpha, second.alpha)
