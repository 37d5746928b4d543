"""Where did somebody vanish, and is that person still there? Geometry of the second look, without memory and without a bus.

Networks that learnt from photos of upright people lose those who lie, but often know them again when the picture is turned so
that the head is up. So where a track has no detection any more (a gap), its surroundings are cut out, turned, and shown to
the same network. Boxes are (N, 4) float32 xyxy. Turns are degrees counter-clockwise: 90, 180, -90, or 0 for only a closer look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common import geometry
from common.geometry import Floats, Image
from common.messages import Track
from common.skeleton import HIPS, SHOULDERS
from services.detector.detect import Detections

# What ties a detection to a track, as in analytics: a box that overlaps, or a certain one near enough for a person to get to.
OVERLAP_MIN = 0.2
CONFIDENT = 0.4
REACH, STEP_PER_S, REACH_MAX = 0.4, 0.8, 1.0  # body lengths: half a person at once, then walking, and never more than one
GROWTH = 2.5  # a person does not become so many times larger or smaller while out of sight
FRAGMENT = 0.5  # an uncertain box of less than half the length is a head or a leg, and the person is not seen by it

SAME = 0.5  # IoU above which two boxes show one person, the usual criterion of detection (PASCAL VOC)
PART = 0.5  # a box of which so much lies in another's is a part of that person, or hidden behind
EDGE = 0.02  # of the frame's width: a box so near to its side may be leaving it
DOWN = frozenset({"falling", "fallen"})
VISIBLE = 0.25  # keypoint score below which a keypoint is a guess
LEAN = 0.5  # sideways part of the trunk's direction from which on a lean is believed: 30 degrees from vertical

# A body of length 1 that topples about its feet lies within 1 to either side of them and, seen from above, up to 0.5 below
# them; its middle was 0.5 above. The square of this side about the old middle shows all of it, with 0.2 to spare. Of somebody
# known to lie there it need show only what half a turn about the middle covers, with a margin; that is fewer, larger pixels.
REGION = 2.4
REGION_LYING = 1.5


@dataclass(frozen=True)
class Gap:
    """A track without a detection. Pixels of the captured frame."""

    track_id: int
    box: Floats  # (4,) where the person was last seen
    body_px: float  # about the body's length
    leans_deg: int | None  # the turn that would set the trunk upright, if the skeleton leant when last seen
    lies: bool = False  # was found at `box` by a second look of late

    @property
    def centre(self) -> Floats:
        return np.asarray((self.box[:2] + self.box[2:]) / 2, np.float32)


def usable(track: Track, size_px: tuple[int, int]) -> bool:
    """Has the track a real box, at least partly inside the frame? What comes over the bus may be anything."""
    x0, y0, x1, y1 = track.box_xyxy_px
    far = 4.0 * max(size_px)
    return -far <= x0 < x1 <= far and -far <= y0 < y1 <= far and x1 > 0 and y1 > 0 and x0 < size_px[0] and y0 < size_px[1]


def may_have_left(track: Track, width_px: int) -> bool:
    """Was the person last seen at the left or right side of the frame, on the feet: in a box taller than wide?

    Feet below the picture are no sign: of people near the camera they always are. Who leaves by that side costs a few looks.
    """
    margin = EDGE * width_px
    x0, y0, x1, y1 = track.box_xyxy_px
    return (x0 <= margin or x1 >= width_px - margin) and y1 - y0 > x1 - x0 and track.state not in DOWN


def leaning(track: Track) -> int | None:
    """The turn, 90, -90 or 180, that sets the trunk of the last skeleton upright; None where it stood, or was not seen."""
    if len(track.keypoints_px) != 17:
        return None
    with np.errstate(over="ignore"):
        points = np.array(track.keypoints_px, np.float32)
    if not np.isfinite(points).all() or points[[*SHOULDERS, *HIPS], 2].min() < VISIBLE:
        return None
    x, y = points[[*SHOULDERS], :2].mean(axis=0) - points[[*HIPS], :2].mean(axis=0)
    if abs(x) <= LEAN * np.hypot(x, y):
        return 180 if y > 0 else None  # shoulders below the hips
    return 90 if x > 0 else -90  # a head on the right comes up by a turn counter-clockwise


def unseen(tracks: Sequence[Track], bodies_px: Floats, since_s: float, boxes: Floats, scores: Floats) -> list[int]:
    """Indices of the tracks that none of the detections explains; each explains one track at most.

    bodies_px: (len(tracks),) about the length of each body. since_s: how much later than the tracks the detections are. Overlap
    comes first, then distance. Who is now behind somebody, or was a second track of that person, is not looked for, unless
    the person fell: a helper must not end the search.
    """
    everybody, people = set(range(len(tracks))), set(range(len(boxes)))
    if not tracks or not len(boxes):
        return sorted(everybody)
    last = np.array([track.box_xyxy_px for track in tracks], np.float32)
    certain = scores >= CONFIDENT
    long = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[None] >= FRAGMENT * (last[:, 2:] - last[:, :2]).max(axis=1)[:, None]
    overlaps = geometry.iou_matrix(last, boxes)
    left = _assign(np.where((overlaps >= OVERLAP_MIN) & (certain | long), 1.0 - overlaps, np.inf), everybody, people)
    missed = np.array([max(track.missed_s, 0.0) for track in tracks]) + max(since_s, 0.0)
    reach = np.minimum(REACH + STEP_PER_S * missed, REACH_MAX) * bodies_px
    apart = geometry.centre_size(last)[0][:, None] - geometry.centre_size(boxes)[0][None]
    distances = np.hypot(apart[..., 0], apart[..., 1]) / reach[:, None]
    near = (distances <= 1.0) & fits(bodies_px[:, None], boxes[None]) & certain
    rows, _ = _assign(np.where(near, distances, np.inf), *left)
    hidden = share_inside(last, boxes[certain]).max(axis=1, initial=0.0) >= PART
    return sorted(i for i in rows if tracks[i].state in DOWN or not hidden[i])


def share_inside(a: Floats, b: Floats) -> Floats:
    """How much of each box of a (N, 4) lies in each of b (M, 4): (N, M) in 0..1."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    return np.asarray(common / np.maximum(geometry.area(a), 1.0)[:, None], np.float32)


def fits(body_px: Floats | float, boxes: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """May a body of that length show as a box of this size? boxes: (..., 4)."""
    ratio = (boxes[..., 2:] - boxes[..., :2]).max(axis=-1) / np.maximum(body_px, 1.0)
    return np.asarray((ratio < GROWTH) & (ratio > 1 / GROWTH))


def _assign(cost: np.ndarray, rows: set[int], columns: set[int]) -> tuple[set[int], set[int]]:
    """Pair rows with columns, cheapest first, where the cost is finite; returns those left over."""
    rows, columns = set(rows), set(columns)
    for flat in np.argsort(cost, axis=None, kind="stable"):
        i, j = divmod(int(flat), cost.shape[1])
        if not np.isfinite(cost[i, j]) or not rows or not columns:
            break
        if i in rows and j in columns:
            rows.discard(i)
            columns.discard(j)
    return rows, columns


def region_of(gap: Gap, size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """The window x0, y0, x1, y1 to look at, whole pixels of the frame, inside it; its sides are at least 1."""
    half = (REGION_LYING if gap.lies else REGION) / 2 * gap.body_px
    x, y = np.clip(gap.centre, 0, np.array(size_px, np.float32) - 1)
    x0, y0 = int(max(x - half, 0)), int(max(y - half, 0))
    return x0, y0, max(int(min(x + half, size_px[0])), x0 + 1), max(int(min(y + half, size_px[1])), y0 + 1)


def look(
    image: Image, window: tuple[int, int, int, int], size_px: tuple[int, int], turn_deg: int,
    detect: Callable[[Image], Detections],
) -> tuple[Floats, Floats]:
    """What the network finds in a window of the picture, turned: boxes (N, 4) in pixels of the frame, scores (N,).

    image: the frame at any scale. window, size_px: x0, y0, x1, y1 and (width, height), pixels of the frame as captured.
    """
    scale = np.array([image.shape[1] / size_px[0], image.shape[0] / size_px[1]], np.float32)
    x0, y0 = np.floor(np.array(window[:2]) * scale).astype(int)
    x1, y1 = np.maximum(np.ceil(np.array(window[2:]) * scale).astype(int), (x0 + 1, y0 + 1))
    part = image[y0:y1, x0:x1]
    k = turn_deg // 90
    found = detect(np.ascontiguousarray(geometry.rotate_quarter(part, k)))
    boxes = geometry.boxes_from_rotated(found.boxes, k, (part.shape[1], part.shape[0]))
    corner = np.array([x0, y0] * 2, np.float32)
    return np.asarray((boxes + corner) / np.tile(scale, 2), np.float32), found.scores


def choose(gap: Gap, boxes: Floats, scores: Floats, seen: Floats, score_min: float) -> int | None:
    """Index of the box that may be the person of the gap, the most certain one; None if there is none.

    seen: (M, 4) people already found in this frame. The turned picture shows them too; what covers one of them, or is a part
    of one, is no news. Of somebody known to lie there an uncertain box will do, as in tracking, if it covers the same place.
    """
    apart = geometry.centre_size(boxes)[0] - gap.centre
    near = np.hypot(apart[:, 0], apart[:, 1]) <= REACH_MAX * gap.body_px
    new = geometry.iou_matrix(boxes, seen).max(axis=1, initial=0.0) <= SAME
    new &= share_inside(boxes, seen).max(axis=1, initial=0.0) < PART
    same = (geometry.iou_matrix(boxes, gap.box[None])[:, 0] > SAME) & gap.lies
    good = np.flatnonzero(near & new & fits(gap.body_px, boxes) & ((scores >= score_min) | same))
    return int(good[np.argmax(scores[good])]) if len(good) else None
