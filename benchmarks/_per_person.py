"""The per-person way of processing, as a yardstick: what AlphaPose and code written after it do around the network.

Written from their description, not copied: MVIG-SJTU/AlphaPose, alphapose/utils/presets/simple_transform.py (`test_transform`)
and alphapose/utils/transforms.py (`heatmap_to_coord_simple`). The whole frame becomes floats and is normalised; a float image
is warped for each person; each person's heatmaps are searched, and a Python loop over the joints makes the quarter offset and
takes each point back through an affine of its own. All in indices of pixels: pixel i's centre is at i.
"""

from __future__ import annotations

import cv2
import numpy as np

from common.geometry import Floats, Image

Window = tuple[float, float, float, float]  # xmin, ymin, width, height


def windows(boxes: Floats, size_px: tuple[int, int], padding: float) -> list[Window]:
    """What each crop shows: the box about its centre, grown to the crop's aspect and padded."""
    found = []
    for x1, y1, x2, y2 in boxes.tolist():
        width, height = x2 - x1, y2 - y1
        aspect = size_px[0] / size_px[1]
        if width > aspect * height:
            height = width / aspect
        else:
            width = height * aspect
        width, height = width * padding, height * padding
        found.append(((x1 + x2 - width) / 2, (y1 + y2 - height) / 2, width, height))
    return found


def normalise(frame: Image, mean: Floats, std: Floats) -> Floats:
    """The whole frame, BGR -> RGB floats, (pixel - mean) / std. float32 throughout: kinder than what is common."""
    return np.asarray((cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.float32) - mean) / std)


def affine(window: Window, size: tuple[int, int], *, back: bool = False) -> np.ndarray:
    """(2, 3): picture -> crop or map of `size`, or back, from three points: the centre, above it, and to the left of that."""
    xmin, ymin, width, height = window
    centre = np.array([xmin + width / 2, ymin + height / 2], np.float32)
    above = centre + np.array([0, -width / 2], np.float32)
    middle = np.array([size[0] / 2, size[1] / 2], np.float32)
    up = middle + np.array([0, -size[0] / 2], np.float32)
    source = np.stack([centre, above, _third(centre, above)])
    target = np.stack([middle, up, _third(middle, up)])
    return np.asarray(cv2.getAffineTransform(target, source) if back else cv2.getAffineTransform(source, target))


def _third(a: Floats, b: Floats) -> Floats:
    along = a - b
    return b + np.array([-along[1], along[0]], np.float32)


def crop(frame: Floats, shown: list[Window], size_px: tuple[int, int]) -> Floats:
    """(N, 3, height, width): one warp of the float frame a person."""
    crops = []
    for window in shown:
        warped = cv2.warpAffine(frame, affine(window, size_px), size_px, flags=cv2.INTER_LINEAR)
        crops.append(np.transpose(warped, (2, 0, 1)))
    return np.stack(crops)


def parse(maps: Floats, shown: list[Window]) -> Floats:
    """(N, 17, h, w) heatmaps -> (N, 17, 3) keypoints in indices of the picture's pixels, and scores."""
    people = []
    for heat, window in zip(maps, shown, strict=True):
        coordinates, values = _maxima(heat)
        rows, columns = heat.shape[1:]
        for joint in range(len(coordinates)):
            one = heat[joint]
            x, y = (int(value) for value in coordinates[joint])
            if 1 < x < columns - 1 and 1 < y < rows - 1:
                slope = np.array([one[y][x + 1] - one[y][x - 1], one[y + 1][x] - one[y - 1][x]])
                coordinates[joint] += np.sign(slope) * 0.25
        points = np.zeros_like(coordinates)
        for joint in range(len(coordinates)):
            to_picture = affine(window, (columns, rows), back=True)
            points[joint] = to_picture @ np.array([coordinates[joint][0], coordinates[joint][1], 1.0])
        people.append(np.concatenate([points, values], axis=1))
    return np.stack(people)


def _maxima(heat: Floats) -> tuple[Floats, Floats]:
    """Cells (17, 2) and values (17, 1) of one person's maxima."""
    flat = heat.reshape(len(heat), -1)
    index = flat.argmax(axis=1)
    values = flat.max(axis=1)[:, None]
    cells = np.stack([index % heat.shape[2], index // heat.shape[2]], axis=1).astype(np.float32)
    return cells * (values > 0), values
