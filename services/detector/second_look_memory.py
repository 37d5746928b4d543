"""When to look a second time, and when to give up: newest tracks of each camera, what worked, and how long to wait.

Times of tracks and looks are capture times of frames; a clock only tells which cameras are gone and what took long. Workers
are replicas that share a camera's frames: each hears all tracks and remembers only its own looks, so n workers may look up to
n times as often as one while somebody cannot be found.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from common import geometry
from common.config import SecondLookSettings
from common.geometry import Floats, Image
from common.manifest import DeviceLost
from common.messages import Track, TracksUpdated
from services.detector import second_look
from services.detector.detect import Detections
from services.detector.second_look import Gap
from services.detector.second_look_trouble import Trouble

FRESH_S = 3.0  # tracks older than this say nothing of the present: analytics itself ends tracks unseen for so long
BODY_FADE_S = 2.0  # a body seldom looks shorter than it is for longer: a fall takes 0.8 s, sitting down 2 s
# Looks that found nobody are repeated after 0.1, 0.2, ... 1.6, 3.2 s. A fall is over in 0.8 s, so the first second has four; a
# track that nobody sees ends after 3 s, with five; one that analytics holds because somebody fell is looked for every 3.2 s.
WAIT_S = 0.1
WAIT_MAX_S = 3.2
GONE_S = 30.0  # a camera without tracks for so long is forgotten: analytics publishes them with every frame
FADE = 0.9  # of a picture's time, with each frame that had not as much: one hiccup must not end the looking for ever


@dataclass
class Memory:
    """Of one track."""

    body_px: float
    updated_ns: int
    turn_deg: int | None = None  # the last that worked
    certain_ns: int | None = None  # when it did last, with a certain box
    failed_deg: tuple[int, ...] = ()  # turns tried in vain since the last complete round
    wait_s: float = 0.0
    looked_ns: int | None = None

    def is_due(self, now_ns: int) -> bool:
        return self.looked_ns is None or abs(now_ns - self.looked_ns) >= self.wait_s * 1e9

    def is_held(self, now_ns: int) -> bool:
        """Found by a turn of late: that is somebody who lies, and does not walk out of the frame."""
        return self.certain_ns is not None and abs(now_ns - self.certain_ns) <= FRESH_S * 1e9

    def order(self, turns_deg: tuple[int, ...], leans_deg: int | None) -> list[int]:
        """The turns to try: the one that worked, else the one that the skeleton asks for; what failed just now comes last."""
        wanted = leans_deg if self.turn_deg is None else self.turn_deg
        return sorted(dict.fromkeys(turns_deg), key=lambda turn: (turn in self.failed_deg, turn != wanted))

    def found(self, now_ns: int, turn_deg: int, certain: bool) -> None:
        self.turn_deg, self.looked_ns = turn_deg, now_ns
        self.failed_deg, self.wait_s = (), 0.0
        if certain:
            self.certain_ns = now_ns

    def failed(self, now_ns: int, tried_deg: list[int], turns_deg: tuple[int, ...]) -> None:
        """A complete round of turns in vain doubles the wait."""
        self.looked_ns, self.failed_deg = now_ns, (*self.failed_deg, *tried_deg)
        if set(self.failed_deg) >= set(turns_deg):
            self.failed_deg, self.wait_s = (), min(max(2 * self.wait_s, WAIT_S), WAIT_MAX_S)


@dataclass
class Watched:
    """Of one camera."""

    tracks: TracksUpdated
    heard_s: float  # monotonic
    memories: dict[int, Memory] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """The frame to look at. picture(window): its pixels, at a scale that shows the window (pixels of the frame) well enough."""

    camera: str
    captured_at_ns: int
    size_px: tuple[int, int]
    picture: Callable[[tuple[int, int, int, int]], Image]


@dataclass(frozen=True)
class Found:
    """A person found by the second look. box: (4,) float32 pixels of the frame."""

    track_id: int
    box: Floats
    score: float
    turned_deg: int


class SecondLook:
    """Looks again where tracks have vanished. `hear` may be called on another thread than `search`.

    count: called with the name of each event and its number. say: called with the reason when a look has failed, and with None
    when looks work again.
    """

    def __init__(
        self, *, count: Callable[[str, int], None] | None = None, say: Callable[[str | None], None] = lambda reason: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cameras: dict[str, Watched] = {}
        self._lock = threading.Lock()
        self.counters: Counter[str] = Counter()
        self._count = count or (lambda name, n: self.counters.update({name: n}))
        self._monotonic_s = monotonic_s
        self._picture_s: dict[str, float] = {}  # camera -> what the last picture for a look took
        self._trouble = Trouble(count=self._count, say=say, monotonic_s=monotonic_s)

    def hear(self, message: TracksUpdated) -> None:
        """Take note of a camera's tracks, unless newer ones are known: much newer ones mean a clock set back since."""
        now_s = self._monotonic_s()
        with self._lock:
            gone = [camera for camera, other in self._cameras.items() if now_s - other.heard_s > GONE_S]
            for camera in gone:
                del self._cameras[camera]
                self._picture_s.pop(camera, None)
            watched = self._cameras.setdefault(message.camera, Watched(message, now_s))
            watched.heard_s = now_s
            late_s = (watched.tracks.captured_at_ns - message.captured_at_ns) / 1e9
            if not 0 < late_s <= FRESH_S:
                self._take(watched, message)
        self._trouble.over(gone)

    def _take(self, watched: Watched, message: TracksUpdated) -> None:
        watched.tracks = message
        size_px = (message.width_px, message.height_px)
        usable = [track for track in message.tracks if second_look.usable(track, size_px)]
        watched.memories = {t.track_id: _remember(watched.memories.get(t.track_id), t, message) for t in usable}

    def gaps(self, camera: str, captured_at_ns: int, size_px: tuple[int, int], found: Detections) -> list[Gap]:
        """Where somebody is missing among `found` (pixels of the frame) and it is time to look; the most urgent first."""
        with self._lock:
            watched = self._cameras.get(camera)
            if watched is None or (watched.tracks.width_px, watched.tracks.height_px) != size_px:
                return []
            since_s = (captured_at_ns - watched.tracks.captured_at_ns) / 1e9
            if abs(since_s) > FRESH_S:
                return []
            tracks = [track for track in watched.tracks.tracks if track.track_id in watched.memories]
            memories = [watched.memories[track.track_id] for track in tracks]
            bodies_px = np.array([memory.body_px for memory in memories], np.float32)
            due: list[tuple[tuple[bool, int], Gap]] = []
            for i in second_look.unseen(tracks, bodies_px, since_s, found.boxes, found.scores):
                track, memory = tracks[i], memories[i]
                lies = memory.is_held(captured_at_ns)
                if memory.is_due(captured_at_ns) and (lies or not second_look.may_have_left(track, size_px[0])):
                    urgency = (track.state not in second_look.DOWN, memory.looked_ns or 0)
                    due.append((urgency, _gap(track, memory, lies)))
            return [gap for _, gap in sorted(due, key=lambda pair: pair[0])]

    def search(
        self, frame: Frame, found: Detections, detect: Callable[[Image], Detections], settings: SecondLookSettings, *,
        may_go_on: Callable[[float], bool] = lambda picture_s: True,
    ) -> list[Found]:
        """Look again for who is missing among `found`, people in pixels of the frame.

        detect: the network, on any picture. may_go_on: asked before each run of the network, with the seconds that the picture
        for it may take; False: the frame must not wait. A look that fails ends the search, is counted and said, and is waited
        for like one in vain: who was found stays found. Raises DeviceLost only.
        """
        again: list[Found] = []
        if not settings.enabled:
            return again
        try:
            self._search(frame, found, detect, settings, may_go_on, again)
        except DeviceLost:
            raise
        except Exception as error:  # of the network on a picture of this shape, of the JPEG: the first look needs neither
            self._trouble.failed(frame.camera, error)
        return again

    def _search(
        self, frame: Frame, found: Detections, detect: Callable[[Image], Detections], settings: SecondLookSettings,
        may_go_on: Callable[[float], bool], again: list[Found],
    ) -> None:
        """Appends whom it finds to `again`."""
        seen = found.boxes[found.scores >= second_look.CONFIDENT]  # a weak box may be replaced by a better view
        calls = 0
        for gap in self.gaps(frame.camera, frame.captured_at_ns, frame.size_px, found):
            if calls >= settings.calls_max:
                break  # the others come with the next frame, as those looked for longest ago
            memory = self._memory(frame.camera, gap)
            turns = memory.order(settings.turns_deg, gap.leans_deg)[: settings.calls_max - calls]
            tried: list[int] = []
            try:
                person = self._try(frame, gap, turns, seen, detect, settings.score_min, may_go_on, tried)
            except Exception:
                memory.failed(frame.captured_at_ns, tried or list(settings.turns_deg), settings.turns_deg)
                raise
            finally:
                calls += len(tried)
                if tried:
                    self._count("second_looks", len(tried))
            if person is not None:
                memory.found(frame.captured_at_ns, person.turned_deg, person.score >= settings.score_min)
                again.append(person)
                seen = np.concatenate([seen, person.box[None]])
                self._count("second_look_found", 1)
            elif tried:
                memory.failed(frame.captured_at_ns, tried, settings.turns_deg)
        if calls:
            self._trouble.over([frame.camera])

    def _try(
        self, frame: Frame, gap: Gap, turns_deg: list[int], seen: Floats, detect: Callable[[Image], Detections],
        score_min: float, may_go_on: Callable[[float], bool], tried: list[int],
    ) -> Found | None:
        """Look for one person in one turn after another; appends the turns to `tried`, and returns who was found."""
        window = second_look.region_of(gap, frame.size_px)
        image: Image | None = None
        for turn_deg in turns_deg:
            picture_s = 0.0 if image is not None else self._picture_s.get(frame.camera, 0.0)
            if not may_go_on(picture_s):
                self._count("second_looks_skipped", 1)
                if picture_s > 0:
                    self._picture_s[frame.camera] = FADE * picture_s
                break
            if image is None:
                before_s = self._monotonic_s()
                image = frame.picture(window)
                self._picture_s[frame.camera] = self._monotonic_s() - before_s
            tried.append(turn_deg)
            boxes, scores = second_look.look(image, window, frame.size_px, turn_deg, detect)
            best = second_look.choose(gap, boxes, scores, seen, score_min)
            if best is not None:
                return Found(gap.track_id, boxes[best], float(scores[best]), turn_deg)
        return None

    def _memory(self, camera: str, gap: Gap) -> Memory:
        """Of the gap's track; a loose one when the track has ended in the meantime."""
        with self._lock:
            watched = self._cameras.get(camera)
            return (watched.memories.get(gap.track_id) if watched else None) or Memory(gap.body_px, 0)


def merge(found: Detections, again: list[Found]) -> tuple[Detections, list[int]]:
    """First and second look together, and the turn of each person. Of two views of one person the second stays."""
    if not again:
        return found, [0] * len(found)
    boxes = np.stack([person.box for person in again]).astype(np.float32)
    scores = np.array([person.score for person in again], np.float32)
    alone = geometry.iou_matrix(found.boxes, boxes).max(axis=1, initial=0.0) <= second_look.SAME
    both = Detections(np.concatenate([found.boxes[alone], boxes]), np.concatenate([found.scores[alone], scores]))
    return both, [0] * int(alone.sum()) + [person.turned_deg for person in again]


def _remember(memory: Memory | None, track: Track, message: TracksUpdated) -> Memory:
    """What is known of a track after this message. Its body is the longest that it looked of late."""
    x0, y0, x1, y1 = track.box_xyxy_px
    side = max(x1 - x0, y1 - y0, 1.0)
    if memory is None:
        return Memory(side, message.captured_at_ns)
    elapsed_s = max((message.captured_at_ns - memory.updated_ns) / 1e9, 0.0)
    fade = 1.0 if track.missed_s > 0 else float(np.exp(-elapsed_s / BODY_FADE_S))
    memory.body_px, memory.updated_ns = side + max(memory.body_px - side, 0.0) * fade, message.captured_at_ns
    if track.missed_s <= 0 and message.captured_at_ns >= (memory.looked_ns or 0):
        memory.wait_s = 0.0  # seen since the last look: the next gap is a new one
    return memory


def _gap(track: Track, memory: Memory, lies: bool) -> Gap:
    box = np.array(track.box_xyxy_px, np.float32)
    return Gap(track.track_id, box, memory.body_px, second_look.leaning(track), lies)
