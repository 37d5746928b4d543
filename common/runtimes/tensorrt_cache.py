"""Engines built earlier: `{cache}/tensorrt/{sha256 of the network}/{what else it depends on}.engine`.

An engine fits one TensorRT version and one kind of GPU; both are in its name, so that an update builds anew. A file enters by
one rename. Processes that want the same engine at once wait for the first: two builds side by side can fill a Jetson.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from common.locks import PART, locked
from common.manifest import ArtifactError

log = logging.getLogger(__name__)

T = TypeVar("T")


def engine_path(
    cache: Path, onnx: bytes, *, version: str, gpu: str, capability: tuple[int, int], mode: str, profile: str,
    calibration: bytes | None = None,
) -> Path:  # fmt: skip
    """Where the engine of that network, for that TensorRT and GPU, in that mode and profile, lies."""
    if calibration is not None:
        mode = f"{mode}-{hashlib.sha256(calibration).hexdigest()[:12]}"
    parts = (f"trt{version}", gpu, f"sm{capability[0]}{capability[1]}", mode, profile)
    name = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part) for part in parts)
    return cache.expanduser() / "tensorrt" / hashlib.sha256(onnx).hexdigest() / f"{name}.engine"


def cached_engine(path: Path, *, read: Callable[[bytes], T | None], build: Callable[[], bytes]) -> T:
    """The engine at `path`, built and kept there if it is missing or cannot be read.

    read: makes the engine of its bytes, None where it cannot. build: makes the bytes; its errors pass through.
    Raises ArtifactError when the cache cannot be written, or a fresh engine cannot be read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):
            engine = _read(path, read)
            if engine is not None:
                return engine
            started = time.monotonic()
            log.warning("event=tensorrt_build path=%s takes=minutes once=yes", path)
            content = build()
            log.info("event=tensorrt_built path=%s bytes=%d s=%.0f", path, len(content), time.monotonic() - started)
            _write(path, content)
    except OSError as error:
        raise ArtifactError(
            f"the engine {path} cannot be kept: {error.strerror or error}; free some space there, or set POSEBUS_CACHE to a "
            "folder that can be written"
        ) from error
    engine = read(content)
    if engine is None:
        raise ArtifactError(
            f"TensorRT cannot read the engine that it has just built ({path}); the GPU's driver and the TensorRT libraries "
            "do not fit: use those of one JetPack, or of one CUDA release"
        )
    return engine


def _read(path: Path, read: Callable[[bytes], T | None]) -> T | None:
    if not path.is_file():
        return None
    engine = read(path.read_bytes())
    if engine is None:
        log.warning("event=engine_damaged path=%s action=build_again", path)
    return engine


def _write(path: Path, content: bytes) -> None:
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise
