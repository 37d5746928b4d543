"""Cameras at this machine: USB through V4L2, CSI on a Jetson through GStreamer."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from services.camera.address import number_of
from services.camera.sources.base import SourceError
from services.camera.sources.live import Capture, OpenCvCapture

CSI_PIPELINE = (
    "nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 ! nvvidconv ! "
    "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
)


def open_device(source: str) -> Capture:
    """Open `/dev/videoN` or `usb:N`; raises SourceError that says what is there instead."""
    path = source if source.startswith("/dev/") else f"/dev/video{_number(source)}"
    if not Path(path).exists():
        present = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
        raise SourceError(f"no device {path}; video devices here: {present}. In a container, pass it on (`devices:`)")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"no permission to use {path}: add this user (in a container: `group_add`) to the group video")
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"{path} cannot be opened: it is no camera, or another program is using it (see `fuser {path}`)")
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))  # raw YUYV fills USB 2 at 640x480
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return OpenCvCapture(capture, has_timestamps=False)


def open_csi(source: str) -> Capture:
    """Open `csi:N`, a Jetson's camera connector; raises SourceError when this OpenCV cannot."""
    sensor = _number(source)
    if not has_gstreamer():
        raise SourceError(
            f"{source} needs an OpenCV with GStreamer, this one has none: use JetPack's own OpenCV, "
            "or serve the camera over RTSP and give that address"
        )
    capture = cv2.VideoCapture(CSI_PIPELINE.format(sensor=sensor), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"{source} cannot be opened: is the sensor connected and nvargus-daemon running?")
    return OpenCvCapture(capture, has_timestamps=False)


def has_gstreamer() -> bool:
    """Was this OpenCV built with GStreamer? The registry lists the backend also where it is not."""
    lines = cv2.getBuildInformation().splitlines()
    return any(line.strip().startswith("GStreamer:") and "YES" in line for line in lines)


def _number(source: str) -> int:
    try:
        return number_of(source)
    except ValueError as error:
        raise SourceError(str(error)) from error
