"""What a conversion did, step by step: for the table on the terminal, report.json and the manifest's [[measured]]."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.manifest import Format, Precision
from models.convert.agreement import PoseAgreement
from models.convert.compare import Comparison
from models.convert.publish import Value


@dataclass(frozen=True)
class StepReport:
    """One file. reference: what it was compared with; runs_on_tpu: operators placed on an Edge TPU and all, int8 files."""

    file: str
    format: Format
    precision: Precision
    size_bytes: int
    convert_s: float
    check_s: float
    reference: str
    comparison: Comparison
    changes: tuple[str, ...] = ()
    on_edgetpu: tuple[int, int] | None = None

    @property
    def passed(self) -> bool:
        return self.comparison.verdict.passed


@dataclass(frozen=True)
class Report:
    """passed: the artifact is at `out`; else nothing there was changed. data: the pictures that it was judged on."""

    name: str
    out: Path
    passed: bool
    data: str
    weak: str
    calibration_frames: int
    check_frames: int
    steps: tuple[StepReport, ...]

    def text(self) -> str:
        """As JSON."""
        content: dict[str, Any] = asdict(self)
        content["out"] = self.out.name
        return json.dumps(content, indent=1, default=str) + "\n"


def measured(step: StepReport, task: str, data: str) -> list[dict[str, Value]]:
    """Rows of the manifest's [[measured]]: how far the file is from the one that it was made of."""
    found = step.comparison.agreement
    if isinstance(found, PoseAgreement):
        count = found.people
        values = {"OKS to reference": found.oks, "keypoint shift p95 px": found.shift_p95_px}
    else:
        count = found.pictures
        values = {"recall of reference's boxes": found.recall, "AP50 to reference": found.ap50}
    if found.error is not None:
        values["output noise"] = found.error.noise
    runtime = "onnx" if step.format == "onnx" else "tflite"
    return [
        {
            "task": task, "metric": metric, "value": round(value, 6), "dataset": data, "n": count, "runtime": runtime,
            "precision": step.precision, "device": device(), "note": f"posebus models convert; reference: {step.reference}",
        }
        for metric, value in values.items()
        if value is not None
    ]  # fmt: skip


def device() -> str:
    """The processor of this machine, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
