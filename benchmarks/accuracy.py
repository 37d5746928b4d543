"""How good and how fast are our own networks, beside the kit's, in one run?

    python -m benchmarks.accuracy [--save]

Runs `models.tinypose.evaluate` and `models.tinydet.evaluate` on the kit and judges what our networks are to reach. `--quick`
leaves LSP-extended and the fall clips out and judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks._report import Report, Sense, options
from models.evaluation.command import Rows
from models.tinydet import evaluate as detect
from models.tinypose import evaluate as pose

AP_TILDE = {"tinypose-s": 0.50, "tinypose-m": 0.62}
ENGINE_MS = {"tinypose-s": 4.0, "tinypose-m": 8.0, "tinydet-m": 10.0}
INT8_LOSS = 0.02
LYING_LOSS = 0.10
DETECT_AP50, LYING_RECALL = 0.55, 0.90


@dataclass(frozen=True)
class Judged:
    """A number and what it is to be."""

    name: str
    value: float
    sense: Sense
    limit: float
    unit: str = ""


def main() -> int:
    parser = options("Accuracy and time of our own networks and the kit's.")
    arguments = parser.parse_args()
    report = Report("accuracy", arguments)
    pose_rows, left_out = pose.measure(pose.parser().parse_args(["--no-lsp"] if arguments.quick else []))
    detect_rows, more = detect.measure(detect.parser().parse_args(["--no-floor"] if arguments.quick else []))
    report.data |= {"pose": pose_rows, "detect": detect_rows}
    for table in [*pose.tables(pose_rows), *detect.tables(detect_rows)]:
        report.table(table.title, table.columns, table.rows)
    for line in (*left_out, *more):
        report.note(line)
    for each in (*judge_poses(pose_rows), *judge_detectors(detect_rows)):
        report.target(each.name, each.value, each.sense, each.limit, each.unit)
    return report.finish()


def judge_poses(rows: Rows) -> Iterator[Judged]:
    """What our pose networks are to reach, of those that are there."""
    for name in pose.OURS:
        for key, row in rows.items():
            if key.split(":")[0] != name:
                continue
            if "ap_tilde_lost" in row and row["precision"] == "int8":
                yield Judged(f"{key}: AP~ that int8 loses", _number(row["ap_tilde_lost"]), "<=", INT8_LOSS)
            if key == name:
                yield Judged(f"{key}: AP~ on coco-mini val2017", _number(row["ap_tilde"]), ">=", AP_TILDE[name])
                yield Judged(f"{key}: engine, 2 threads", _number(row["ms"]), "<=", ENGINE_MS[name], "ms")
            if key == name and "lsp" in row:
                upright, lying = (_number(row["lsp"]["by_posture"][word]["ap_tilde"]) for word in ("upright", "lying"))
                yield Judged(f"{key}: AP~ on LSP, upright less lying", upright - lying, "<=", LYING_LOSS)


def judge_detectors(rows: Rows) -> Iterator[Judged]:
    """What tinydet-m is to reach, where it is there."""
    row: dict[str, Any] | None = rows.get("tinydet-m")
    if row is None:
        return
    yield Judged("tinydet-m: AP50 on coco-mini val2017", _number(row["ap50"]), ">=", DETECT_AP50)
    yield Judged("tinydet-m: engine, 2 threads", _number(row["ms"]), "<=", ENGINE_MS["tinydet-m"], "ms")
    yield Judged("tinydet-m: recall of who lies, IoU .5, hand-read boxes", _number(row["lying_recall"]), ">=", LYING_RECALL)


def _number(value: float | None) -> float:
    """What is missing reaches no target."""
    return float("nan") if value is None else value


if __name__ == "__main__":
    raise SystemExit(main())
