"""How far to trust a keypoint that a network labelled: from its own confidence and from a second network's answer.

The label's error is not known, the distance d between two teachers is. Were their errors independent and equally large, half of
d^2 would be the label's squared error, so the OKS that the label is worth is exp(-(d^2 / 2) / (2 s^2 k^2)), with COCO's k = 2
sigma of each keypoint and s, the root of the person's area. That is the formula here, times the peak of the teacher's heatmap,
which is trained to be 1 where it is sure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats
from common.skeleton import SIGMAS

# Root of a person's area in person heights: a silhouette fills about half of its box, which is about 0.4 as wide as high.
ROOT_AREA = 0.45
# A teacher of input 256x192 answers in cells of 4 pixels of a crop padded by 1.25: 1.25 / 64 of a person. Two teachers that
# differ by a cell agree, however narrow COCO's sigma (an eye's tolerance is 0.023).
CELL = 1.25 / 64
# Below it, peaks say that there is nothing to be seen of this keypoint.
PEAK_MIN = 0.2


def weights(peak: Floats, distance: Floats) -> Floats:
    """Weight 0..1 of each keypoint: rises with the peak, falls with the distance.

    peak: (..., 17) of the first teacher's heatmap. distance: (..., 17) between the two teachers, in person heights.
    """
    tolerance = np.hypot(2 * SIGMAS * ROOT_AREA, CELL)
    agreed = np.exp(-((distance / tolerance) ** 2) / 4)
    sure = np.where(peak >= PEAK_MIN, np.clip(peak, 0, 1), 0)
    result: NDArray[np.float32] = (sure * agreed).astype(np.float32)
    return result
