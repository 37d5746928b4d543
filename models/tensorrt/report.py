"""A check for TensorRT as plain data, for JSON."""

from __future__ import annotations

from typing import Any

from models.tensorrt.check import Check


def as_data(found: Check) -> dict[str, Any]:
    return {
        "target": "tensorrt",
        "file": str(found.path),
        "good": found.good,
        "opset": found.opset,
        "operators": found.operators,
        "quantised": found.quantised,
        "findings": [vars(item) for item in found.findings],
        "parser": found.parser,
    }
