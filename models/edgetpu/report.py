"""A placement as plain data, for JSON."""

from __future__ import annotations

from typing import Any

from models.edgetpu.compiler import Difference, Report
from models.edgetpu.estimate import MIB, ROOM_BYTES, SRAM_BYTES
from models.edgetpu.placement import OpPlacement, Placement

METHOD = (
    "estimate, no device was at hand: start + transfer + streamed parameters over the bus + multiply-accumulates at 30 % "
    "(depthwise 3 %) of 2e12/s + host operators; constants from coral.ai/docs/edgetpu/benchmarks; bracket: a factor of 3"
)


def as_data(placement: Placement) -> dict[str, Any]:
    """Sizes in bytes, times in ms; `ops` in the order of the file."""
    latency, first, cut = placement.latency, placement.first_off, placement.cut
    return {
        "target": "edgetpu",
        "file": str(placement.path),
        "fully_placed": placement.fully_placed,
        "placed": placement.placed,
        "total": placement.total,
        "refused": placement.refused,
        "compiled_already": placement.compiled,
        "first_off": _op(first) if first else None,
        "cut": _op(cut) if cut else None,
        "runtime": placement.runtime,
        "runs": placement.runs,
        "possible_runs": placement.possible_runs,
        "parameters_bytes": placement.parameters_bytes,
        "sram_bytes": SRAM_BYTES,
        "room_bytes": list(ROOM_BYTES),
        "streamed_bytes": list(placement.streamed_bytes),
        "transferred_bytes": placement.transferred_bytes,
        "macs": placement.macs,
        "latency_ms": {
            "estimate": round(latency.total_ms, 3),
            "low": round(latency.low_ms, 3),
            "high": round(latency.high_ms, 3),
            "device": round(latency.device_ms, 3),
            "streaming": round(latency.streaming_ms, 3),
            "transfer": round(latency.transfer_ms, 3),
            "start": round(latency.start_ms, 3),
            "host": round(latency.host_ms, 3),
            "bus": latency.bus,
            "cpu": latency.host,
            "method": METHOD,
        },
        "doubtful": [_op(op) for op in placement.doubtful],
        "ops": [_op(op) for op in placement.ops],
    }


def _op(op: OpPlacement) -> dict[str, Any]:
    return {
        "index": op.index,
        "subgraph": op.subgraph,
        "op": op.kind,
        "version": op.op.version,
        "name": op.name,
        "shape": list(op.shape),
        "dtype": op.dtype,
        "placed": op.placed,
        "run": op.run,
        "supported": op.supported,
        "status": op.status,
        "reason": op.reason,
        "fix": op.fix,
        "documented": op.verdict.documented,
        "source": op.verdict.source,
        "warnings": [{"text": item.text, "doubtful": item.doubtful, "sources": list(item.sources)} for item in op.warnings],
        "macs": op.macs,
        "parameters_bytes": op.parameters_bytes,
    }


def compiler_data(report: Report | None, differences: list[Difference]) -> dict[str, Any]:
    """What the compiler said, if it ran, and where the prediction differs from it or from a compiled file."""
    said = None
    if report is not None:
        said = {
            "version": report.version,
            "failure": report.failure,
            "placed": report.placed,
            "total": report.total,
            "runs": report.runs,
            "on_chip_used_bytes": report.on_chip_used_bytes,
            "on_chip_free_bytes": report.on_chip_free_bytes,
            "streamed_bytes": report.streamed_bytes,
            "counts": [{"op": kind, "status": status, "count": count} for (kind, status), count in report.counts.items()],
        }
    return {"compiler": said, "differences": [vars(item) for item in differences]}


def mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.2f} MiB"
