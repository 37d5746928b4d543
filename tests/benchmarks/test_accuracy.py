"""What is judged of our own networks, and that a number which is missing reaches nothing."""

from __future__ import annotations

import math

from benchmarks import accuracy


def pose_row(**more):
    postures = {"upright": {"ap_tilde": 0.6}, "lying": {"ap_tilde": 0.45}}
    return {"ap_tilde": 0.55, "ms": 3.5, "precision": "float32", "lsp": {"by_posture": postures}, **more}


def judged(found) -> dict[str, tuple[float, str, float]]:
    return {each.name: (round(each.value, 3), each.sense, each.limit) for each in found}


def test_ours_are_judged_and_the_kit_is_not():
    rows = {
        "movenet-lightning": pose_row(), "tinypose-s": pose_row(),
        "tinypose-s:int8": {"precision": "int8", "ap_tilde_lost": 0.03, "ap_tilde": 0.52},
        "tinypose-s:float32:tflite": {"precision": "float32", "ap_tilde_lost": 0.5, "ap_tilde": 0.05},
    }  # fmt: skip
    assert judged(accuracy.judge_poses(rows)) == {
        "tinypose-s: AP~ on coco-mini val2017": (0.55, ">=", 0.5),
        "tinypose-s: engine, 2 threads": (3.5, "<=", 4.0),
        "tinypose-s: AP~ on LSP, upright less lying": (0.15, "<=", 0.1),
        "tinypose-s:int8: AP~ that int8 loses": (0.03, "<=", 0.02),
    }


def test_the_larger_detector_is_judged_where_it_is_there():
    assert judged(accuracy.judge_detectors({"tinydet-s": {}, "rtmdet-nano": {}})) == {}
    rows = {"tinydet-m": {"ap50": 0.6, "ms": 9.0, "lying_recall": None}}
    found = judged(accuracy.judge_detectors(rows))
    assert found["tinydet-m: AP50 on coco-mini val2017"] == (0.6, ">=", 0.55)
    assert math.isnan(found["tinydet-m: recall of who lies, IoU .5, hand-read boxes"][0])
