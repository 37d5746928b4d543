"""How far to trust a keypoint that a network labelled: from its own confidence and from a second network's answer.

The label's error is not known, the distance d between two teachers is. Were their errors independent and equally large, half
of d^2 would be the label's squared error, so the OKS that the label is worth is a = exp(-(d^2 / 2) / (2 s^2 k^2)), with
COCO's k = 2 sigma of each keypoint and s, the root of the person's area. The peak p of the teacher's heatmap, which is
trained to be 1 where it is sure, is worth about the same: the OKS that it will reach. Agreement counts the more, the less
sure the teacher is: the surer it is, the likelier the other one erred. So

    weight = p (a + (1 - a) p): p where they agree, p^2 where they do not, 0 below PEAK_MIN.

Measured on hand-made labels, PP-TinyPose-256 with flip test and MoveNet Lightning (900 people of lspet train0, 9,473 joints;
86 people of coco-mini train2017, 800 keypoints): the correlation of the weight with the OKS of the label is .59 and .62; of
the peak alone .55 and .63, of p a .57 and .50. On lspet, 21 % of the labels are off by more than 0.15 person; they carry 10 %
of the weight, of the peak 14 %.
"""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.skeleton import SIGMAS

# Root of a person's area in person heights: a silhouette fills about half of its box, which is about 0.4 as wide as high.
ROOT_AREA = 0.45
# A teacher of input 256x192 answers in cells of 4 pixels of a crop padded by 1.25: 1.25 / 64 of a person. Two teachers that
# differ by a cell agree, however narrow COCO's sigma (an eye's tolerance is 0.023).
CELL = 1.25 / 64
PEAK_MIN = 0.2  # below it, two of three labels are off by more than 0.15 person (718 joints of the same measurement)


def weights(peak: Floats, distance: Floats) -> Floats:
    """Weight 0..1 of each keypoint: rises with the peak, falls with the distance.

    peak: (..., 17) of the first teacher's heatmap. distance: (..., 17) between the two teachers, in person heights.
    """
    tolerance = np.hypot(2 * SIGMAS * ROOT_AREA, CELL)
    agreed = np.exp(-((distance / tolerance) ** 2) / 4)
    sure = np.where(peak >= PEAK_MIN, np.minimum(peak, 1), 0)
    return np.asarray(sure * (agreed + (1 - agreed) * sure), np.float32)
