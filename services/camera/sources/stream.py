"""Network streams (RTSP, HTTP, ...) through OpenCV's bundled FFmpeg."""

from __future__ import annotations

import cv2

from services.camera import diagnose
from services.camera.sources.base import SourceError
from services.camera.sources.live import Capture, OpenCvCapture

OPEN_TIMEOUT_S = 10.0


def open_stream(url: str, *, timeout_s: float, open_timeout_s: float = OPEN_TIMEOUT_S) -> Capture:
    """Open a stream; blocks up to open_timeout_s, and a little more to find out why it failed.

    RTSP goes over TCP when OPENCV_FFMPEG_CAPTURE_OPTIONS says so (`services.camera.__main__` sets it). Raises SourceError
    with the reason, which OpenCV does not tell: the address is probed once more with our own few lines of RTSP or HTTP.
    """
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(timeout_s * 1000),
        cv2.CAP_PROP_N_THREADS, 1,  # frame-parallel decoding delays each frame by the number of threads
    ]  # fmt: skip
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, options)
    if capture.isOpened():
        return OpenCvCapture(capture, has_timestamps=url.lower().startswith("rtsp"))
    capture.release()
    finding = diagnose.network(url, timeout_s=min(timeout_s, 3.0))
    raise SourceError(finding.reason, patient=finding.patient)
