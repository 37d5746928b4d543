"""People cut out of their pictures, to be laid on other floors: GrabCut (Rother et al., SIGGRAPH 2004) that starts from the
skeleton, so it needs no network and no hand-made masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.geometry import Floats
from common.imaging import Image  # imported before OpenCV: it limits what OpenCV decodes
from common.skeleton import INDEX
from models.data.sample import Sample

import cv2  # isort: skip

WORK_PX = 128  # longer side at which GrabCut runs: 20 ms a person
ROUNDS = 3
WEIGHT_MIN = 0.25  # keypoints below it say nothing about where the body is
JOINTS_MIN = 8
# Widths of limbs in longer sides of the box: certainly body, and perhaps body.
SURE_WIDTH, MAYBE_WIDTH = 0.03, 0.16
# A mask that fills less of its box, or more, is not that of a person: limbs alone, or the background with the person.
FILL_MIN, FILL_MAX = 0.2, 0.85
BODY = tuple(
    (INDEX[a], INDEX[b])
    for a, b in (
        ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"), ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
        ("nose", "left_shoulder"), ("nose", "right_shoulder"),
    )
)  # fmt: skip
TRUNK = tuple(INDEX[name] for name in ("left_shoulder", "right_shoulder", "right_hip", "left_hip"))
FACE = tuple(INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear"))


@dataclass(frozen=True, eq=False)
class Cutout:
    """image: (H, W, 3) uint8 RGB, the person's box and nothing more. alpha: (H, W) uint8, 255 where the person is."""

    name: str
    image: Image
    alpha: Image
    posture: str


def cut_out(sample: Sample) -> Cutout | None:
    """The first person of a sample, or None where skeleton and colours do not tell the person from the background."""
    person = sample.people[0]
    if person.keypoints is None or (person.keypoints[:, 2] >= WEIGHT_MIN).sum() < JOINTS_MIN:
        return None
    image = sample.picture.read()
    scale = min(1.0, WORK_PX / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    keypoints = person.keypoints * np.array([scale, scale, 1], np.float32)
    mask = segment(small, person.box_xyxy_px * scale, keypoints)
    if mask is None:
        return None
    alpha = cv2.resize(mask * 255, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    x, y, width, height = cv2.boundingRect((alpha > 127).astype(np.uint8))
    window = np.s_[y : y + height, x : x + width]
    return Cutout(sample.name, image[window].copy(), alpha[window].copy(), person.posture)


def segment(image: Image, box: Floats, keypoints: Floats) -> Image | None:
    """(H, W) uint8, 1 where the person is. box: (4,), keypoints: (17, 3) in pixels of the image. None where it did not work."""
    mask = seeds(image.shape[1], image.shape[0], box, keypoints)
    if not {cv2.GC_FGD, cv2.GC_PR_BGD, cv2.GC_BGD} <= set(np.unique(mask).tolist()):
        return None  # GrabCut needs colours of both
    cv2.setRNGSeed(0)
    cv2.grabCut(image, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    body = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(body)
    if len(stats) < 2:
        return None
    body = (parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    _, _, width, height = cv2.boundingRect(body)
    filled = float(body.sum()) / (width * height)
    sides = box[2:] - box[:2]
    whole = width * height > 0.6 * float(sides.prod())  # else a part only, and no box of a person
    return body if FILL_MIN < filled < FILL_MAX and whole else None


def seeds(width: int, height: int, box: Floats, keypoints: Floats) -> Image:
    """(height, width): what GrabCut starts from. Outside of the box is background, bones are foreground, near them perhaps."""
    mask = np.full((height, width), cv2.GC_BGD, np.uint8)
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.round(box), 0, (width, height, width, height)))
    mask[y0:y1, x0:x1] = cv2.GC_PR_BGD
    size = float((box[2:] - box[:2]).max())
    sure, maybe = np.zeros_like(mask), np.zeros_like(mask)
    known = keypoints[:, 2] >= WEIGHT_MIN
    at = [(int(x), int(y)) for x, y in keypoints[:, :2]]
    for a, b in BODY:
        if known[a] and known[b]:
            cv2.line(maybe, at[a], at[b], 1, max(2, round(size * MAYBE_WIDTH)))
            cv2.line(sure, at[a], at[b], 1, max(1, round(size * SURE_WIDTH)))
    if all(known[j] for j in TRUNK):
        cv2.fillConvexPoly(sure, np.array([at[j] for j in TRUNK], np.int32), 1)
    if face := [at[j] for j in FACE if known[j]]:
        x, y = (int(v) for v in np.mean(face, axis=0))
        cv2.circle(maybe, (x, y), max(2, round(size * 0.1)), 1, -1)
        cv2.circle(sure, (x, y), max(1, round(size * 0.035)), 1, -1)
    mask[(maybe > 0) & (mask == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    mask[(sure > 0) & (mask != cv2.GC_BGD)] = cv2.GC_FGD
    return mask
