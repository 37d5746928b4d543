"""Follow people from frame to frame: ByteTrack (Zhang et al., ECCV 2022), written short and in seconds.

Confident detections are matched to all tracks by overlap, then uncertain ones to what is left; that keeps people who are
half hidden. A third round gives tracks that were missed, or whose box changed its shape in a fall, the nearest confident
detection within a distance that grows with the time since they were seen. Nothing depends on the frame rate.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from common.messages import Box, Keypoint, PosedPerson
from services.analytics import motion
from services.analytics.assignment import assign

Array = NDArray[np.float64]

CONFIDENT = 0.4  # ByteTrack's split; below, a detection may continue a track and never starts one
STRONG = 0.7  # one such detection starts a track at once, weaker ones need HITS
HITS = 2
OVERLAP_MIN = 0.2  # IoU below which two boxes say nothing about each other
DOUBLE = 0.6  # a new box that covers a person seen already is the same person twice
RETENTION_S = 3.0  # unseen for so long: the track ends
TENTATIVE_S = 0.5
LOOK_S = 0.5  # one frame counts for so much looking at most: silence of the camera ends no track
STEP = 0.8  # body heights a second: walking, 1.4 m/s over 1.75 m
REACH, REACH_MAX = 0.4, 3.0  # body heights: half a person at once; what 4 s of failover allow
REACH_KEPT = 1.0  # somebody lying does not go far
GROWTH = 2.5  # a person does not become so many times larger or smaller while missed


class Tracked(Struct):
    """One person followed over time. Pixels of the captured frame."""

    born_ns: int
    seen_ns: int
    box: Box
    score: float
    keypoints: tuple[Keypoint, ...]
    axes: list[list[float]]  # (4, 5), see motion
    size_px: float  # longer side of the box, slow: the measure of distances
    track_id: int = 0  # 0: not confirmed yet
    hits: int = 1
    unseen_s: float = 0.0  # time looked at without seeing the person

    @property
    def seen_now(self) -> bool:
        return self.unseen_s == 0.0


class TrackerState(Struct):
    """All that a tracker remembers."""

    next_id: int = 1
    time_ns: int = 0
    tracks: list[Tracked] = []


class Tracker:
    """Tracks of one camera; `state` is all it knows."""

    def __init__(self, state: TrackerState | None = None) -> None:
        self.state = state or TrackerState()

    def update(self, now_ns: int, people: tuple[PosedPerson, ...], keep: frozenset[int] = frozenset()) -> list[Tracked]:
        """Take the people of one frame, later than the last; returns the confirmed tracks that ended.

        keep: ids of tracks to hold although unseen (somebody may lie where the detector does not see them).
        """
        state = self.state
        elapsed_s = max(0.0, (now_ns - state.time_ns) / 1e9) if state.time_ns else 0.0
        state.time_ns = now_ns
        boxes = np.array([person.box_xyxy_px for person in people], dtype=np.float64).reshape(-1, 4)
        scores = np.array([person.score for person in people], dtype=np.float64)
        self._predict(elapsed_s)
        found = self._match(boxes, scores, keep, now_ns)
        self._correct(found, people, boxes, now_ns, elapsed_s)
        for track in _unmatched(state.tracks, found):
            track.unseen_s += min(max(elapsed_s, 1e-3), LOOK_S)
        self._give_birth(boxes, scores, people, set(found.values()), now_ns)
        return self._end(keep)

    def confirmed(self) -> list[Tracked]:
        """Tracks with an id, oldest first."""
        return [track for track in self.state.tracks if track.track_id]

    def _predict(self, elapsed_s: float) -> None:
        tracks = self.state.tracks
        if tracks and elapsed_s > 0:
            axes = np.array([track.axes for track in tracks])
            sizes = np.array([track.size_px for track in tracks])
            for track, row in zip(tracks, motion.predict(axes, sizes, elapsed_s).tolist(), strict=True):
                track.axes = row

    def _match(self, boxes: Array, scores: Array, keep: frozenset[int], now_ns: int) -> dict[int, int]:
        """Index of a track -> index of its detection."""
        tracks = self.state.tracks
        found: dict[int, int] = {}
        if not tracks or not len(boxes):
            return found
        predicted = motion.to_boxes(np.array([track.axes for track in tracks]))
        unseen = np.array([track.unseen_s for track in tracks])
        cost = 1.0 - iou(predicted, boxes) + 0.1 * np.minimum(unseen, 1.0)[:, None]
        confident = scores >= CONFIDENT
        recent = np.array([t.unseen_s < 1.0 or t.track_id in keep for t in tracks])
        named = np.array([t.track_id > 0 for t in tracks])
        everyone = np.ones(len(tracks), dtype=bool)
        for rows, columns, by_distance in (
            (everyone, confident, False), (recent, ~confident, False), (named, confident, True),
        ):  # fmt: skip
            left = [i for i in np.flatnonzero(rows).tolist() if i not in found]
            taken = set(found.values())
            free = [j for j in np.flatnonzero(columns).tolist() if j not in taken]
            if not left or not free:
                continue
            table = self._distances(predicted, boxes, keep, now_ns) if by_distance else cost
            limit = 1.0 if by_distance else 1.0 - OVERLAP_MIN
            for i, j in assign(table[np.ix_(left, free)], limit):
                found[left[i]] = free[j]
        return found

    def _distances(self, predicted: Array, boxes: Array, keep: frozenset[int], now_ns: int) -> Array:
        """(tracks, boxes): distance of the centres as part of what is allowed; infinite where sizes do not fit."""
        tracks = self.state.tracks
        sizes = np.array([track.size_px for track in tracks])
        elapsed = np.array([(now_ns - track.seen_ns) / 1e9 for track in tracks])
        most = np.array([REACH_KEPT if track.track_id in keep else REACH_MAX for track in tracks])
        reach = np.minimum(REACH + STEP * elapsed, most) * sizes
        apart = motion.to_axes(predicted)[:, None, :2] - motion.to_axes(boxes)[None, :, :2]
        ratio = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[None, :] / sizes[:, None]
        fits = (ratio < GROWTH) & (ratio > 1 / GROWTH)
        return np.where(fits, np.hypot(apart[..., 0], apart[..., 1]) / reach[:, None], np.inf)

    def _correct(
        self, found: dict[int, int], people: tuple[PosedPerson, ...], boxes: Array, now_ns: int, elapsed_s: float
    ) -> None:
        if not found:
            return
        tracks = [self.state.tracks[i] for i in found]
        seen = boxes[list(found.values())]
        sizes = np.array([track.size_px for track in tracks])
        axes = motion.correct(np.array([track.axes for track in tracks]), seen, sizes)
        blend = 1.0 - np.exp(-elapsed_s / 1.0)
        sizes += blend * ((seen[:, 2:] - seen[:, :2]).max(axis=1) - sizes)
        for track, j, row, size in zip(tracks, found.values(), axes.tolist(), sizes.tolist(), strict=True):
            person = people[j]
            track.axes, track.size_px = row, max(size, 1.0)
            track.box, track.score, track.keypoints = person.box_xyxy_px, person.score, person.keypoints_px
            track.seen_ns, track.unseen_s, track.hits = now_ns, 0.0, track.hits + 1
            if not track.track_id and track.hits >= HITS:
                self._name(track)

    def _give_birth(
        self, boxes: Array, scores: Array, people: tuple[PosedPerson, ...], taken: set[int], now_ns: int
    ) -> None:
        free = [j for j in np.flatnonzero(scores >= CONFIDENT).tolist() if j not in taken]
        if not free:
            return
        seen = np.array([track.box for track in self.state.tracks if track.seen_now]).reshape(-1, 4)
        doubled = iou(boxes, seen).max(axis=1, initial=0.0) > DOUBLE
        for j in (j for j in free if not doubled[j]):
            size = max(float((boxes[j, 2:] - boxes[j, :2]).max()), 1.0)
            track = Tracked(
                born_ns=now_ns, seen_ns=now_ns, box=people[j].box_xyxy_px, score=people[j].score,
                keypoints=people[j].keypoints_px, size_px=size,
                axes=motion.start(boxes[j : j + 1], np.array([size]))[0].tolist(),
            )  # fmt: skip
            self.state.tracks.append(track)
            if scores[j] >= STRONG:
                self._name(track)

    def _name(self, track: Tracked) -> None:
        track.track_id = self.state.next_id
        self.state.next_id += 1

    def _end(self, keep: frozenset[int]) -> list[Tracked]:
        ended = []
        for track in self.state.tracks:
            limit_s = RETENTION_S if track.track_id else TENTATIVE_S
            if track.unseen_s > limit_s and track.track_id not in keep:
                ended.append(track)
        gone = {id(track) for track in ended}
        self.state.tracks = [track for track in self.state.tracks if id(track) not in gone]
        return [track for track in ended if track.track_id]


def _unmatched(tracks: list[Tracked], found: dict[int, int]) -> list[Tracked]:
    """The tracks whose index is not in `found`."""
    return [track for i, track in enumerate(tracks) if i not in found]


def iou(a: Array, b: Array) -> Array:
    """Overlap of each box of `a` (N, 4) with each of `b` (M, 4), xyxy: (N, M) in 0..1."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    area_a = (a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = (b[:, 2:] - b[:, :2]).prod(axis=1)
    result: Array = common / np.maximum(area_a[:, None] + area_b[None, :] - common, 1e-9)
    return result
