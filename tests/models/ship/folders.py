"""An artifact as models.ship.release leaves it, with files of a few bytes, and rows as the evaluations write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.model_store import sha256_of

FILES = (("model_int8.tflite", "tflite", "int8"), ("model_float16.onnx", "onnx", "float16"))
HEAD = """name = "tinypose-t"
version = "1"
tasks = ["pose"]
keypoints = "coco17"
licence = "Apache-2.0"
training_data = "drawn figures"
provenance = "test"

[input]
width_px = 48
height_px = 64
colour = "rgb"

[pose]
decoder = "heatmaps"
width_px = 48
height_px = 64
"""


def artifact(folder: Path, *, converted: bool = True) -> Path:
    """With manifest, files, report.json and training.json. converted: with a row of the conversion in [[measured]]."""
    folder.mkdir(parents=True)
    text = HEAD
    for name, kind, precision in FILES:
        (folder / name).write_bytes(name.encode())
        text += (
            f'\n[[file]]\nformat = "{kind}"\nprecision = "{precision}"\npath = "{name}"\n'
            f'bytes = {len(name)}\nsha256 = "{sha256_of(folder / name)}"\n\n[[file.source]]\nkind = "file"\n'
        )
    if converted:
        text += (
            '\n[[measured]]\ntask = "pose"\nmetric = "OKS to reference"\nvalue = 0.999\ndataset = "d"\nn = 9\n'
            'runtime = "onnx"\ndevice = "cpu"\nnote = "posebus models convert"\n'
        )
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(report()), encoding="utf-8")
    (folder / "training.json").write_text(json.dumps(training()), encoding="utf-8")
    return folder


def report() -> dict[str, Any]:
    agreement = {"oks": 0.9876, "shift_p95_px": 1.234}
    step = {"file": "model_int8.tflite", "on_edgetpu": [87, 87], "comparison": {"agreement": agreement}}
    return {"steps": [step], "check_frames": 48, "data": "some people"}


def training() -> dict[str, Any]:
    config = {"start": "imagenet", "batch": 32}
    run = {"name": "tinypose-t", "config": config, "steps": 700, "seconds": 7200.0, "last": {"dev_oks": 0.5, "loss": 1.0}}
    source = {"name": "somebody/people", "licence": "MIT", "pictures": 321, "commit": "0123456789abcdef"}
    return {"kind": "tinypose", "parameters": 1_380_000, "runs": [run], "seconds": 7200.0, "sources": [source]}


def pose_row(precision: str = "int8", *, oks: float = 0.6, form: str = "tflite") -> dict[str, Any]:
    group = {"n": 68, "oks": oks, "oks_95": [0.5, 0.7], "ap_tilde": 0.51, "ap_tilde_95": [0.4, 0.6]}
    return {
        **group, "ap_own": 0.45, "ms": 2.1, "threads": 2, "load_average": 0.1, "data": "coco-mini val2017", "format": form,
        "precision": precision, "runtime": form, "by_posture": {"lying": group | {"n": 5}}, "by_size": {"large": group},
    }  # fmt: skip


def detect_row(precision: str = "int8", *, ap50: float = 0.6) -> dict[str, Any]:
    return {
        "ap50": ap50, "ap50_95": [0.5, 0.7], "ap": 0.3, "n": 120, "lying_recall": 0.9, "lying_recall_95": [0.8, 1.0],
        "n_lying": 40, "n_clips": 4, "lying_truth": "boxes by hand",
        "upright_recall": 0.95, "ms": 5.0, "threads": 2, "load_average": 0.1,
        "data": "coco-mini val2017", "format": "tflite", "precision": precision, "runtime": "tflite",
    }  # fmt: skip
