"""`python -m services.camera`."""

from __future__ import annotations

import os
import sys

# OpenCV and its FFmpeg read these once, when they are loaded. What the user has set stays.
OPENCV_ENVIRONMENT = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp",  # UDP loses packets, and firewalls drop it
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # quiet: broken packets are noted in the status, not a line each on stderr
    "OPENCV_LOG_LEVEL": "OFF",
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "5",  # seconds
    "OPENCV_IO_MAX_IMAGE_PIXELS": "40000000",
}


def main() -> int:
    """Set up OpenCV for this process, then run the service; returns the exit code."""
    for name, value in OPENCV_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import cv2

    from common.service import run_service
    from services.camera.service import allowed_cameras, run

    try:
        allowed_cameras(os.environ.get("POSEBUS_CAMERAS"))
    except ValueError as error:
        sys.stderr.write(f"posebus camera: {error}\n")
        return 2
    cv2.setNumThreads(1)  # a pool of threads for pictures this small costs more than it gains
    return run_service("camera", run)


if __name__ == "__main__":
    raise SystemExit(main())
