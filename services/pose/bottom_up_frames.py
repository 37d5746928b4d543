"""Frames to skeletons in one step: the pose service's other way, which listens to the cameras instead of a detector."""

from __future__ import annotations

import time

import numpy as np

from common.config import PoseSettings
from common.geometry import Floats
from common.imaging import decode_jpeg
from common.messages import FrameNotice, PosedPerson
from common.service import Service
from common.worker import Taken
from services.pose.bottom_up import BottomUpEstimator
from services.pose.publish import publish_poses


def pose_whole_frame(
    service: Service, taken: Taken[FrameNotice], model: BottomUpEstimator, settings: PoseSettings
) -> None:
    """Find all skeletons of one frame and publish them, in pixels of the frame as captured.

    Raises ImageError for a frame that is no usable JPEG, ModelError for one that the network fails on.
    """
    notice = taken.notice
    image = decode_jpeg(taken.jpeg, at_least=model.input_size_px)
    before = time.perf_counter()
    boxes, scores, keypoints = model.estimate_frame(image)
    infer_ms = (time.perf_counter() - before) * 1e3
    kept = most_prominent(boxes, scores, settings.max_people)
    height, width = image.shape[:2]
    to_captured = np.array([notice.width_px / width, notice.height_px / height])
    people = posed(boxes[kept], scores[kept], keypoints[kept], to_captured)
    left_out = len(scores) - len(people)
    publish_poses(service, taken, people, left_out=left_out, model=str(model.artifact), infer_ms=infer_ms)


def most_prominent(boxes: Floats, scores: Floats, most: int) -> list[int]:
    """Rows of at most `most` people, those first whose box is largest and most certain (area times score), as top-down."""
    if len(scores) <= most:
        return list(range(len(scores)))
    sides = boxes[:, 2:] - boxes[:, :2]
    return [int(i) for i in np.argsort(-sides[:, 0] * sides[:, 1] * scores, kind="stable")[:most]]


def posed(boxes: Floats, scores: Floats, keypoints: Floats, to_captured: Floats) -> tuple[PosedPerson, ...]:
    """Boxes (N, 4), scores (N,) and keypoints (N, 17, 3), scaled by (x, y) factors, as the message has them."""
    wide = keypoints.astype(np.float64)
    wide[..., :2] = (wide[..., :2] * to_captured).round(1)
    wide[..., 2] = wide[..., 2].round(3)
    corners = (boxes.astype(np.float64) * np.tile(to_captured, 2)).round(1)
    return tuple(
        PosedPerson(box_xyxy_px=tuple(box), score=score, keypoints_px=tuple(map(tuple, points)))
        for box, score, points in zip(
            corners.tolist(), scores.astype(np.float64).round(4).tolist(), wide.tolist(), strict=True
        )
    )
