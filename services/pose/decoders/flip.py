"""The flip test: a network looks at each crop and at its mirror image, and the maps are averaged."""

from __future__ import annotations

import numpy as np

from common.geometry import Floats
from common.runtimes.base import ModelError
from common.skeleton import FLIP, NUM_KEYPOINTS


def merge_flipped(maps: Floats, mirrored: Floats, *, shift: bool = False) -> Floats:
    """Mean of the maps of crops and of `mirrored`, those of the same crops turned left to right (`crops[:, :, ::-1]`).

    maps, mirrored: (N, 17, h, w) or (N, h, w, 17), both the same; left and right joints change places. shift: move what comes
    back by one column to the right, for networks in stride coordinates: there mirroring takes cell c to c - (1 - 1 / stride),
    3/4 of a cell for stride 4, as AlphaPose, HRNet and MMPose do; networks trained with UDP need none.
    Raises ModelError where the shapes differ or are others.
    """
    if maps.shape != mirrored.shape or maps.ndim != 4 or NUM_KEYPOINTS not in (maps.shape[1], maps.shape[3]):
        raise ModelError(f"the flip test needs two outputs (N, 17, h, w) or (N, h, w, 17), got {maps.shape}, {mirrored.shape}")
    if maps.shape[1] != NUM_KEYPOINTS:
        merged = merge_flipped(np.moveaxis(maps, 3, 1), np.moveaxis(mirrored, 3, 1), shift=shift)
        return np.moveaxis(merged, 1, 3)
    back = mirrored[:, FLIP, :, ::-1]
    if shift:
        back = np.concatenate([back[..., :1], back[..., :-1]], axis=3)
    return np.asarray((maps + back) / 2, np.float32)
