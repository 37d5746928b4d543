"""Runtimes that are named but not in this release."""

from __future__ import annotations

FORMAT = "none"
_INSTEAD = {
    "tensorrt": "on a Jetson or PC use runtime: onnx (CPU) until then",
    "edgetpu": "use runtime: tflite (CPU, the same .tflite files) until then",
}


def probe(runtime: str) -> str:
    """Always a reason: what to use today."""
    return f"comes in a later release; {_INSTEAD[runtime]}. Working today: tflite, onnx, openvino, fake"
