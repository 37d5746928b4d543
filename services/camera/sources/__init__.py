"""Where pictures come from: one file a kind of source, and the choice between them."""

from __future__ import annotations

import threading
from functools import partial

from common.clock import Clock
from common.config import CameraSettings
from services.camera.address import Kind, kind_of
from services.camera.sources.base import Frame, Source, SourceError
from services.camera.sources.device import open_csi, open_device
from services.camera.sources.folder import PictureFolder
from services.camera.sources.live import LiveSource
from services.camera.sources.stream import open_stream
from services.camera.sources.video import VideoFile

__all__ = ["Frame", "Source", "SourceError", "open_source"]


def open_source(settings: CameraSettings, *, clock: Clock, stopping: threading.Event, max_lag_s: float = 1.0) -> Source:
    """Open a camera's source. Live ones open in the background and fail at the first read; raises SourceError."""
    address = settings.source
    try:
        kind = kind_of(address)
    except ValueError as error:
        raise SourceError(str(error)) from error
    if kind is Kind.VIDEO or kind is Kind.FOLDER:
        playing = VideoFile if kind is Kind.VIDEO else PictureFolder
        return playing(
            address,
            fps=settings.fps,
            realtime=settings.pace == "realtime",
            loop=settings.loop,
            clock=clock,
            stopping=stopping,
        )
    openers = {
        Kind.STREAM: partial(open_stream, address, timeout_s=settings.timeout_s),
        Kind.DEVICE: partial(open_device, address),
        Kind.CSI: partial(open_csi, address),
    }
    return LiveSource(
        openers[kind],
        fps=settings.fps,
        clock=clock,
        stopping=stopping,
        timeout_s=settings.timeout_s,
        max_lag_s=max_lag_s,
        name=settings.name,
    )
