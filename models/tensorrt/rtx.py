"""NVIDIA's own parser and builder, from the package tensorrt-rtx: they need no GPU.

TensorRT for RTX is a sibling of TensorRT: it has the same ONNX parser, but builds for desktop GPUs (SM75 to SM121), so a
network that builds here is no proof for a Jetson, and one that does not may still build there. It runs in a process of its
own (`python -m models.tensorrt.rtx MODEL tensorrt_rtx`): it is native code, and a crash or an endless build must not take the
command along.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGE = "tensorrt_rtx"
INSTALL = "tensorrt-rtx is not installed, so nothing was parsed or built; run `pip install posebus[tensorrt-check]`"
# The nearest to a Jetson Orin's SM87 that this builder has.
CAPABILITY = "SM86"
BATCHES = (1, 4, 8)
SIDE = 320  # px, for dynamic heights and widths
_ROOT = Path(__file__).resolve().parents[2]


def run(path: Path, timeout_s: float) -> dict[str, Any]:
    """Parses and builds a file in another process.

    Answers `skipped` (why), or `version`, `supported`, `errors` (of nodes: index, name, op, text), `built`, `plan_bytes`,
    `build_errors`.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        return {"skipped": INSTALL}
    command = [sys.executable, "-m", "models.tensorrt.rtx", str(path.resolve()), PACKAGE]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=variables, check=False)
    except subprocess.TimeoutExpired:
        return {"skipped": f"tensorrt-rtx took longer than {timeout_s:g} s; give more with --timeout"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"skipped": f"tensorrt-rtx ended with code {done.returncode}: {last}"}
    return answer


def main() -> None:
    print(json.dumps(inspect(Path(sys.argv[1]), sys.argv[2])))


def inspect(path: Path, package: str = PACKAGE) -> dict[str, Any]:
    """As `run`, in this process."""
    trt: Any = importlib.import_module(package)
    logger = _logger(trt)
    errors = _support(trt, logger, path)
    answer = {"version": trt.__version__, "supported": not errors, "errors": errors, "built": False, "plan_bytes": 0}
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    logger.said.clear()
    if not parser.parse_from_file(str(path)):
        found = [_error(parser.get_error(index)) for index in range(parser.num_errors)]
        return {**answer, "supported": False, "errors": errors or found, "build_errors": []}
    try:
        plan = builder.build_serialized_network(network, _configuration(trt, builder, network))
    except Exception as error:
        return {**answer, "build_errors": [str(error)]}
    if plan is None:
        return {**answer, "build_errors": list(dict.fromkeys(logger.said)) or ["the builder said nothing"]}
    return {**answer, "built": True, "plan_bytes": int(plan.nbytes), "build_errors": []}


def _logger(trt: Any) -> Any:
    class Errors(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.said.append(text)

    return Errors()


def _support(trt: Any, logger: Any, path: Path) -> list[dict[str, Any]]:
    """All nodes that the parser refuses, not only the first."""
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    if parser.supports_model_v2(path.read_bytes(), str(path)):
        return []
    return [_error(parser.get_error(index)) for index in range(parser.num_errors)]


def _error(error: Any) -> dict[str, Any]:
    code, said = str(error.code()).rsplit(".", 1)[-1], error.desc()
    text = code if said in ("", "false") else f"{code}: {said}"  # "false" is the condition that failed, not a reason
    return {"index": error.node(), "name": error.node_name(), "op": error.node_operator(), "text": text}


def _configuration(trt: Any, builder: Any, network: Any) -> Any:
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, CAPABILITY), 0)
    profile, dynamic = builder.create_optimization_profile(), False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sides = list(tensor.shape)
        if -1 in sides:
            dynamic = True
            shapes = [[batch if side == -1 and axis == 0 else SIDE if side == -1 else side for axis, side in enumerate(sides)]
                      for batch in BATCHES]  # fmt: skip
            profile.set_shape(tensor.name, *shapes)
    if dynamic:
        config.add_optimization_profile(profile)
    return config


if __name__ == "__main__":
    main()
