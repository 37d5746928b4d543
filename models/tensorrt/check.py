"""Whether TensorRT takes an ONNX network: by published rules, and by NVIDIA's own parser and builder where installed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.tensorrt import quantisation, rtx, rules
from models.tensorrt.finding import Finding, Level
from models.tensorrt.onnx_graph import OnnxGraph, read_graph

ORDER: dict[Level, int] = {"error": 0, "warning": 1, "note": 2}
PARSER = "tensorrt-rtx parser"
BUILDER = "tensorrt-rtx builder"


@dataclass(frozen=True)
class Check:
    """findings: errors first; parser: what tensorrt-rtx answered, or `skipped` with the reason (see rtx.run)."""

    path: Path
    opset: int
    operators: dict[str, int]
    quantised: bool
    findings: tuple[Finding, ...]
    parser: dict[str, Any]

    @property
    def good(self) -> bool:
        """No error was found; without tensorrt-rtx, none by the rules."""
        return not any(item.level == "error" for item in self.findings)


def check_onnx(path: Path, *, parse: bool = True, timeout_s: float = 600) -> Check:
    """Check an .onnx file.

    parse: have it parsed and built by tensorrt-rtx, where that is installed. Raises ModelError where the file cannot be read.
    """
    graph = read_graph(path)
    answer = rtx.run(path, timeout_s) if parse else {"skipped": "not asked for"}
    found = [*rules.look_over(graph), *quantisation.look_over(graph), *_parsed(graph, answer)]
    return Check(
        path=path,
        opset=graph.opset,
        operators=dict(Counter(node.op_type for node in graph.nodes).most_common()),
        quantised=quantisation.is_quantised(graph),
        findings=tuple(sorted(found, key=lambda item: ORDER[item.level])),
        parser=answer,
    )


def _parsed(graph: OnnxGraph, answer: dict[str, Any]) -> list[Finding]:
    if "skipped" in answer:
        return []
    found = [
        Finding("error", f"{item['op']} {item['name'] or item['index']!r}", item["text"], _fix(item["text"]), PARSER)
        for item in answer["errors"]
    ]
    if not found and not answer["built"]:
        text = "; ".join(answer["build_errors"])
        # The builder is not that of a Jetson: what it lacks, TensorRT may have.
        found.append(Finding("warning", graph.path.name, f"parsed, but not built: {text}", "build it on the device", BUILDER))
    return found


def _fix(text: str) -> str:
    return "register a plugin, or rewrite it" if "Plugin not found" in text else "rewrite it, or cut it off"
