"""Inference runtimes, imported on demand: `load(artifact)` gives an engine that takes uint8 pixels, warmed up."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.artifact import Artifact
from common.manifest import ArtifactError, DeviceLost, ModelError, Task
from common.runtimes.base import Engine, EngineBase, Request, RuntimeUnavailable

__all__ = [
    "RUNTIMES", "DeviceLost", "Engine", "ModelError", "RuntimeUnavailable", "candidates", "default_size", "devices", "formats",
    "load", "probe",
]  # fmt: skip

log = logging.getLogger(__name__)

# Each module has FORMATS that it reads, best first, `probe() -> reason it cannot run here or None`, as "reason; fix" (it may
# raise DeviceLost),
# `devices() -> names that it takes here`, and `load(Request) -> EngineBase`.
RUNTIMES: dict[str, str] = {
    "tensorrt": "common.runtimes.tensorrt",
    "edgetpu": "common.runtimes.edgetpu",
    "openvino": "common.runtimes.openvino",
    "onnx": "common.runtimes.onnx",
    "tflite": "common.runtimes.tflite",
    "fake": "common.runtimes.fake",
}
# What `auto` tries: accelerators, which probe() lets through only where the device answers, then the CPU. There the manifest
# says which of its files is best, as int8 TFLite may take half the time of the float ONNX file, or more, from network to
# network; this order is for a file that several runtimes read. With one thread on AVX-512 and bf16, time relative to ONNX
# Runtime: YOLOX-nano at 416: OpenVINO 0.93; RTMDet-nano at 320: 0.88. OpenVINO owes that to bf16, which moves boxes by up to
# half a pixel (in float32 it takes 1.2 times as long as ONNX Runtime), so it comes first for its own files only.
AUTO: tuple[tuple[str, str], ...] = (
    ("tensorrt", "onnx"),
    ("edgetpu", "edgetpu"),
    ("openvino", "openvino"),
    ("onnx", "onnx"),
    ("openvino", "onnx"),
    ("tflite", "tflite"),
    ("fake", "fake"),
)
_ACCELERATORS = ("tensorrt", "edgetpu")


def load(
    artifact: Artifact,
    *,
    task: Task | None = None,
    runtime: str = "auto",
    device: str = "auto",
    threads: int = 1,
    precision: str = "auto",
    input_size: tuple[int, int] | None = None,
    cache: Path | None = None,
) -> Engine:
    """Load an artifact, pulling its files if needed, and run it once.

    task: what it is for; default: the artifact's first. device: as the runtime names them. precision: of the file, where
    there are several of one format. input_size: (width, height)
    in pixels of the batches to come, default from the manifest; dynamic networks take other sizes too.
    Raises ArtifactError (file), RuntimeUnavailable (runtime or device), ModelError (the runtime refuses the network),
    DeviceLost (this process has lost the device: `auto` does not go on to a slower one, a new process will have it again).
    """
    task = task or artifact.tasks[0]
    if task not in artifact.tasks:
        raise ModelError(f"artifact {artifact.name!r} does not {task}; it is for: {', '.join(artifact.tasks)}")
    request = Request(artifact, task, device, threads, input_size or default_size(artifact, task), cache, precision)
    if runtime == "auto":
        return _load_any(request)
    if runtime not in RUNTIMES:
        raise RuntimeUnavailable(f"runtime {runtime!r} does not exist; choose auto, {', '.join(RUNTIMES)}")
    reason = _lacks_format(runtime, artifact) or _probe(runtime)
    if reason is not None:
        raise RuntimeUnavailable(f"runtime {runtime!r}: {reason}")
    return _load_one(runtime, request)


def candidates(artifact: Artifact) -> list[tuple[str, str]]:
    """(runtime, format) that `auto` tries for an artifact, in its order, whether they can run here or not.

    First what runs on an accelerator, then the CPU in the manifest's order of formats.
    """

    def rank(candidate: tuple[str, str]) -> int:
        runtime, format = candidate
        return -1 if runtime in _ACCELERATORS or _on_gpu(runtime) else artifact.formats.index(format)

    return sorted((each for each in AUTO if each[1] in artifact.formats), key=rank)


def _on_gpu(runtime: str) -> bool:
    """Whether that runtime of the CPU would take a GPU, as its build for GPUs does."""
    module = importlib.import_module(RUNTIMES[runtime])
    check: Callable[[], bool] | None = getattr(module, "takes_gpu", None)
    return check is not None and check()


def probe(runtime: str) -> str | None:
    """Why the runtime cannot be used here, with the fix; None: it can."""
    try:
        return _probe(runtime)
    except DeviceLost as error:
        return str(error)


def _probe(runtime: str) -> str | None:
    reason: str | None = importlib.import_module(RUNTIMES[runtime]).probe()
    return reason


def devices(runtime: str) -> list[str]:
    """What the runtime can run on here, as `device` names it, with what is known of it; it must have passed `probe`."""
    found: list[str] = importlib.import_module(RUNTIMES[runtime]).devices()
    return found


def formats(runtime: str) -> tuple[str, ...]:
    """Formats that the runtime reads, best first."""
    found: tuple[str, ...] = importlib.import_module(RUNTIMES[runtime]).FORMATS
    return found


def default_size(artifact: Artifact, task: Task) -> tuple[int, int]:
    """(width, height) in pixels of the network's input for that task."""
    manifest = artifact.manifest
    if manifest.input.width_px is not None and manifest.input.height_px is not None:
        return manifest.input.width_px, manifest.input.height_px
    if task == "pose" and manifest.pose is not None:
        return manifest.pose.width_px, manifest.pose.height_px
    whole = manifest.bottom_up if task == "bottom_up" else manifest.detect
    side = whole.long_side_px if whole is not None else 256
    return side, side


def _lacks_format(runtime: str, artifact: Artifact) -> str | None:
    """Why the runtime has nothing to load from that artifact, with the fix; None: it has."""
    module: Any = importlib.import_module(RUNTIMES[runtime])
    if any(format in artifact.formats for format in module.FORMATS):
        return None
    needs, has = " or ".join(module.FORMATS), ", ".join(artifact.formats)
    hints: dict[str, str] = getattr(module, "HINTS", {})
    hint = next((hints[has] for has in artifact.formats if has in hints), "set runtime: auto, or choose another artifact")
    return f"needs a file of the format {needs}; artifact {artifact.name!r} has {has}; {hint}"


def _load_one(runtime: str, request: Request) -> EngineBase:
    module: Any = importlib.import_module(RUNTIMES[runtime])
    engine: EngineBase | None = None
    try:
        engine = module.load(request)
        engine.warm_up()
    except Exception as error:
        if engine is not None:
            engine.close()
        if isinstance(error, ArtifactError | RuntimeUnavailable | DeviceLost):
            raise
        raise ModelError(
            f"artifact {request.artifact.name!r} cannot be loaded by runtime {runtime!r} on device "
            f"{request.device!r}: {error}; `posebus models verify` checks its files"
        ) from error
    log.info(
        "event=engine_loaded model=%s runtime=%s precision=%s device=%s",
        request.artifact.name, runtime, engine.precision, engine.device,
    )  # fmt: skip
    return engine


def _load_any(request: Request) -> EngineBase:
    reasons: dict[str, str] = {}
    errors: list[ModelError] = []
    for runtime, _ in candidates(request.artifact):
        if runtime in reasons:
            continue
        reason = _probe(runtime)
        if reason is None:
            try:
                return _load_one(runtime, request)
            except DeviceLost:
                raise
            except ModelError as error:
                reason = str(error)
                errors.append(error)
        reasons[runtime] = reason
        log.info("event=runtime_passed_over model=%s runtime=%s reason=%s", request.artifact.name, runtime, reason)
    if errors and (len(reasons) == 1 or _all_the_same(errors)):
        raise errors[-1]
    raise RuntimeUnavailable(
        f"artifact {request.artifact.name!r} ({', '.join(request.artifact.formats)}) runs on no runtime here: "
        + "; ".join(f"{runtime}: {reason}" for runtime, reason in reasons.items())
    ) from (errors[-1] if errors else None)


def _all_the_same(errors: list[ModelError]) -> bool:
    """Is it the artifact that is at fault, as all who tried say?"""
    return all(isinstance(error, ArtifactError) and str(error) == str(errors[0]) for error in errors)
