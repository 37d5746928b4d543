"""Leeds Sports Pose, extended: people in extreme poses, 14 joints by crowd workers (Johnson and Everingham, CVPR 2011).

Ankles, knees, hips, wrists, elbows and shoulders are COCO's. Neck and head top have no twin in COCO, and LSP labels no face:
the five keypoints of the face have weight 0, always. Head top and neck still say how far the person's box reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.geometry import Floats, clip_boxes
from common.skeleton import INDEX, NUM_KEYPOINTS
from models.data.picture import header_size, read_member
from models.data.sample import DataError, Person, Report, Sample, ZipPicture, add, forget_outside

SOURCE = "lspet"
LICENCE = "research use (Flickr photos)"
# LSP's joint i is COCO's keypoint TO_COCO[i], left and right as the person's own; joints 12 and 13 are neck and head top.
TO_COCO = tuple(
    INDEX[name]
    for name in (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    )
)  # fmt: skip
# Of the longer side of the joints' extent, on each side: a hand reaches a tenth of a person beyond the wrist, a foot and the
# hair about half of that beyond ankle and head top.
BOX_MARGIN = 0.1
MIN_JOINTS = 4  # fewer span no box of a person


def read_lsp(folder: Path, parts: Sequence[str] = ("train0", "train1"), *, report: Report | None = None) -> list[Sample]:
    """The pictures of these parts (`train0`, `train1`, `val`), one person each; others in the background have no label.

    folder: holds `labels.npz` (`names` such as `val/im00001.jpg`, `joints` (N, 14, 3): x, y, visible) and `{part}.zip`.
    The box is that of the visible joints, grown by BOX_MARGIN and cut at the picture's edge.
    Raises DataError for missing files and, unless the report is not strict, for each wrong label.
    """
    report = report or Report()
    labels = folder / "labels.npz"
    try:
        with np.load(labels) as table:
            names, joints = [str(name) for name in table["names"]], table["joints"].astype(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{labels} cannot be read: {error}; it must hold names and joints (N, 14, 3)") from error
    if joints.shape != (len(names), 14, 3):
        raise DataError(f"{labels}: {len(names)} names and joints of shape {joints.shape}; they must be (N, 14, 3)")
    known = {name.partition("/")[0] for name in names}
    if not known.issuperset(parts):
        raise DataError(f"{labels} has no part {min(set(parts) - known)!r}; it has {', '.join(sorted(known))}")
    samples: list[Sample] = []
    for name, person in zip(names, joints, strict=True):
        part, _, member = name.partition("/")
        if part not in parts:
            continue
        try:
            archive = folder / f"{part}.zip"
            picture = ZipPicture(archive, member, header_size(read_member(archive, member), f"{archive}:{member}"))
            found = _person(person, picture.size_px, f"{labels}: {name}", report)
        except DataError as error:
            report.refuse(error)
            continue
        if found is not None:
            add(samples, Sample(name, picture, (found,), SOURCE, LICENCE, group=name, complete=False), report)
    return samples


def _person(joints: Floats, size_px: tuple[int, int], what: str, report: Report) -> Person | None:
    visible = joints[:, 2] > 0
    if not np.isfinite(joints[visible]).all():
        raise DataError(f"{what}: a visible joint is not finite; give it visibility 0")
    if visible.sum() < MIN_JOINTS:
        report.note(f"{SOURCE}: fewer than {MIN_JOINTS} visible joints, left out")
        return None
    low, high = joints[visible, :2].min(axis=0), joints[visible, :2].max(axis=0)
    margin = BOX_MARGIN * (high - low).max()
    box = clip_boxes(np.concatenate([low - margin, high + margin])[None], *size_px)[0]
    keypoints = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    keypoints[list(TO_COCO), :2] = joints[:12, :2]
    keypoints[list(TO_COCO), 2] = visible[:12]
    keypoints[keypoints[:, 2] == 0, :2] = 0  # LSP writes anything there
    keypoints, far = forget_outside(keypoints, box, size_px)
    report.note(f"{SOURCE}: joint labelled far outside the picture, weight 0", far)
    return Person(box, keypoints)
