"""People of Leeds Sports Poses (extended) in extreme poses, and PCK, which that set is measured by.

PCK@0.2: the share of joints no further from the truth than 0.2 torsos, a torso being the distance from left shoulder to right
hip: what the field reports for this set (Yang and Ramanan, 2013). Labels by a crowd, noisy: for comparison, not as a target.
"""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.geometry import Floats, Image, clip_boxes
from common.skeleton import INDEX, NUM_KEYPOINTS
from models.evaluation.coco import AREA_OF_BOX, DataError, People, Picture
from models.evaluation.oks import Truths, Values
from models.evaluation.postures import postures_of

# LSP's joints 0..11 as COCO's; the last two, neck and top of the head, COCO does not have.
JOINTS = tuple(
    INDEX[f"{side}_{joint}"]
    for side, joints in (("right", ("ankle", "knee", "hip")), ("left", ("hip", "knee", "ankle")),
                         ("right", ("wrist", "elbow", "shoulder")), ("left", ("shoulder", "elbow", "wrist")))
    for joint in joints
)  # fmt: skip
MARGIN = 0.1  # of the joints' extent, on each side: hands, feet and the outline lie beyond the joints
FRACTION = 0.2


def read_lsp(archive: Path, labels: Path) -> People:
    """The people of a zip file of pictures, one each, whose labels are `joints` (N, 14, 3) of `names` (N,) `folder/file`.

    Boxes hold all labelled joints and a margin; areas are a share of them, so OKS is of little worth here. Raises DataError.
    """
    if not archive.is_file() or not labels.is_file():
        raise DataError(f"{archive if not archive.is_file() else labels}: is missing; LSP needs the pictures and labels.npz")
    try:
        with zipfile.ZipFile(archive) as file, np.load(labels) as table:
            here = set(file.namelist())
            names, joints = [str(name) for name in table["names"]], np.asarray(table["joints"], np.float32)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive}, {labels}: cannot be read: {error}") from error
    rows = [i for i, name in enumerate(names) if name.split("/")[0] == archive.stem and name.split("/")[-1] in here]
    if not rows:
        raise DataError(f"{archive}: none of its {len(here)} files is labelled as {archive.stem}/... in {labels}")
    pictures = tuple(_picture(archive, names[i], joints[i]) for i in rows if (joints[i, :, 2] > 0).sum() > 1)
    return People(f"lspet {archive.stem}", pictures)


def _picture(archive: Path, name: str, joints: Floats) -> Picture:
    seen = joints[joints[:, 2] > 0, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = MARGIN * (high - low)
    box = clip_boxes(np.concatenate([low - margin, high + margin])[None].astype(np.float32), 1e6, 1e6)
    keypoints = np.zeros((1, NUM_KEYPOINTS, 3), np.float32)
    keypoints[0, JOINTS, :2] = joints[: len(JOINTS), :2]
    keypoints[0, JOINTS, 2] = 2 * (joints[: len(JOINTS), 2] > 0)
    area = (box[:, 2:] - box[:, :2]).prod(axis=1) * np.float32(AREA_OF_BOX)
    member = name.split("/")[-1]
    return Picture(
        member, partial(_read, archive, member), box, area, np.zeros(1, np.bool_), keypoints, tuple(postures_of(keypoints))
    )


def _read(archive: Path, member: str) -> Image:
    with zipfile.ZipFile(archive) as file:
        image = cv2.imdecode(np.frombuffer(file.read(member), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{archive}: {member} cannot be read as a picture; copy it again")
    return np.asarray(image, np.uint8)


def torso_px(truth: Truths) -> Values:
    """(N,) left shoulder to right hip of (N, 17, 3), NaN where one is not labelled."""
    ends = truth[:, [INDEX["left_shoulder"], INDEX["right_hip"]]]
    length = np.hypot(*(ends[:, 0, :2] - ends[:, 1, :2]).T)
    return np.where((ends[:, :, 2] > 0).all(axis=1) & (length > 0), length, np.nan).astype(np.float64)


def pck_counts(predicted: Truths, truth: Truths, reference_px: NDArray[np.floating], fraction: float = FRACTION) -> Values:
    """(N, 2): joints that are right and joints that count, of each person; none count where the reference is NaN.

    predicted, truth: (N, 17, 3), in the truth the third is above 0 where labelled; reference_px: (N,), as `torso_px`.
    """
    distance = np.hypot(*np.moveaxis(predicted[:, :, :2] - truth[:, :, :2], 2, 0))
    counts = (truth[:, :, 2] > 0) & ~np.isnan(reference_px)[:, None]
    right = counts & (distance <= fraction * np.nan_to_num(reference_px)[:, None])
    return np.stack([right.sum(axis=1), counts.sum(axis=1)], axis=1).astype(np.float64)


def pck(counts: Values) -> float:
    """PCK of people's counts (N, 2): all joints alike; NaN where none counts."""
    right, total = counts.sum(axis=0)
    return float(right / total) if total else float("nan")
