"""The skeletons of one frame, published: the same message whichever way they were found."""

from __future__ import annotations

from common.messages import FrameNotice, PeopleFound, PosedPerson, PosesFound
from common.service import Service
from common.stage import publication_ns, stage_timing
from common.worker import Taken


def publish_poses(
    service: Service, taken: Taken[FrameNotice] | Taken[PeopleFound], people: tuple[PosedPerson, ...], *, left_out: int,
    model: str, infer_ms: float,
) -> None:
    """Publish, unless the frame has grown too old; people are in pixels of the frame as captured."""
    notice = taken.notice
    now_ns = publication_ns(service, notice.captured_at_ns)
    if now_ns is None:
        return
    message = PosesFound(
        camera=notice.camera,
        seq=notice.seq,
        captured_at_ns=notice.captured_at_ns,
        published_at_ns=now_ns,
        width_px=notice.width_px,
        height_px=notice.height_px,
        people=people,
        left_out=left_out,
        model=model,
        stages=(*notice.stages, stage_timing(service, taken, "pose", infer_ms)),
    )
    service.bus.publish(message, "poses", notice.camera)
    service.status.count("frames")
    service.status.count("people", len(people))
