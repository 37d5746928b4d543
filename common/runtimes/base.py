"""What an inference runtime must offer, and what all of them share: checks, warm-up, one life cycle."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from common.artifact import Artifact, file_for, input_of, path_for
from common.manifest import ArtifactError, DeviceLost, InputSpec, ModelError, Task

Outputs = dict[str, NDArray[Any]]
Batch = NDArray[np.uint8]


__all__ = [
    "Batch",
    "DeviceLost",
    "Engine",
    "EngineBase",
    "ModelError",
    "Outputs",
    "Request",
    "RuntimeUnavailable",
    "by_picture",
    "check_batch",
    "pixel_table",
    "stack",
    "to_network",
]


class RuntimeUnavailable(ModelError):
    """A runtime that is not installed or cannot be used here. The message names the package to install."""


@dataclass(frozen=True)
class Request:
    """What a runtime is asked to load. `size_px` is (width, height) of the batches that will come most."""

    artifact: Artifact
    task: Task
    device: str
    threads: int
    size_px: tuple[int, int]
    cache: Path | None = None
    precision: str = "auto"

    def format(self, formats: tuple[str, ...]) -> str:
        """The first of these formats that the artifact has in the asked precision, else the first that it has at all.

        Raises ArtifactError when it has none of them.
        """
        here = [name for name in formats if name in self.artifact.formats]
        for name in here:
            if any(file.format == name and self.precision in ("auto", file.precision) for file in self.artifact.manifest.file):
                return name
        if here:
            return here[0]
        has = ", ".join(self.artifact.formats)
        raise ArtifactError(f"artifact {self.artifact.name!r} has no file of the formats {', '.join(formats)}; it has {has}")

    def path(self, format: str, role: str = "model") -> Path:
        """The file to load, pulled and checked; weights come in the model's precision. Raises ArtifactError."""
        precision = file_for(self.artifact, format, precision=self.precision).precision
        return path_for(self.artifact, format, cache=self.cache, role=role, precision=precision)


class Engine(Protocol):
    """A loaded network. One thread at a time; `run` after `close` raises ModelError."""

    name: str  # of the runtime
    device: str

    def run(self, batch: Batch) -> Outputs:
        """Infer.

        batch: (N, H, W, 3) uint8 pixels, N >= 1, in the colour order of the manifest; H and W as the manifest allows.
        Returns the network's outputs by name, the first axis of each is N.
        Raises ValueError for a batch of another shape or dtype, ModelError when the runtime fails, DeviceLost when this
        process can never run it again, ArtifactError when an output has not one row a picture.
        """
        ...

    def close(self) -> None:
        """Free everything; may be called twice."""
        ...


class EngineBase(ABC):
    """Checks, life cycle and `repr` of all engines; a runtime writes `_infer` and `_free`."""

    def __init__(self, name: str, device: str, request: Request, *, format: str) -> None:
        self.name = name
        self.device = device
        has_file = format in request.artifact.formats and request.artifact.manifest.file
        found = file_for(request.artifact, format, precision=request.precision) if has_file else None
        self.precision: str = found.precision if found else "float32"
        self._model = request.artifact.name
        self._input = input_of(request.artifact, format, request.precision)
        self._size_px = request.size_px
        self._closed = False
        self._lock = threading.Lock()

    def run(self, batch: Batch) -> Outputs:
        check_batch(batch, self._input, self._model)
        with self._lock:  # a close in another thread must not free the network under an inference
            if self._closed:
                raise ModelError(f"{self!r} was closed; load the artifact again")
            try:
                outputs = self._infer(batch)
                self._check_rows(outputs, len(batch))
                return outputs
            except ModelError:
                raise
            except Exception as error:
                raise ModelError(f"{self!r} failed on a batch {batch.shape}: {error}") from error

    def warm_up(self) -> None:
        """Run on grey pictures, so that the first real frame does not pay for lazy set-up; the answers must have their form.

        Two at once where the manifest promises batches: a network that answers one row whatever it is asked shows only then.
        One comes last, as most frames do, for runtimes that keep what they planned for the latest shape.
        """
        width, height = self._size_px
        for count in (2, 1) if self._input.batch else (1,):
            self.run(np.full((count, height, width, 3), 114, np.uint8))

    def _check_rows(self, outputs: Outputs, count: int) -> None:
        for name, values in outputs.items():
            if values.ndim == 0 or len(values) != count:
                fix = "export the network so"
                if count > 1:
                    fix += ", or set `batch = false` for that file if it takes one picture at a time"
                raise ArtifactError(
                    f"artifact {self._model!r}: for a batch of {count} the output {name!r} has the shape {values.shape}; its "
                    f"first axis must be the picture: {fix}"
                )

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._free()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {self._model} runtime={self.name} device={self.device} {state}>"

    @abstractmethod
    def _infer(self, batch: Batch) -> Outputs: ...

    @abstractmethod
    def _free(self) -> None: ...


def check_batch(batch: Batch, spec: InputSpec, model: str) -> None:
    """Raise ValueError, naming what is wrong, unless the batch is what the manifest promises."""
    shape = getattr(batch, "shape", None)
    if not isinstance(batch, np.ndarray) or batch.dtype != np.uint8:
        kind = getattr(batch, "dtype", type(batch).__name__)
        raise ValueError(f"model {model!r} takes uint8 pixels, not {kind}; do not normalise, the engine does")
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.shape[0] < 1:
        raise ValueError(f"model {model!r} takes a batch (N >= 1, H, W, 3), not {shape}")
    height, width = batch.shape[1:3]
    if spec.multiple_px is None:
        if (width, height) != (spec.width_px, spec.height_px):
            raise ValueError(f"model {model!r} takes {spec.width_px}x{spec.height_px} pixels, not {width}x{height}")
    elif width % spec.multiple_px or height % spec.multiple_px or not width or not height:
        raise ValueError(f"model {model!r} takes sides that are multiples of {spec.multiple_px}, not {width}x{height}")


def pixel_table(spec: InputSpec) -> NDArray[np.float32]:
    """The network's input value for each pixel value and channel: (1, 256, 3) float32, for `cv2.LUT`.

    One table look-up does cast, mean and std (and, for integer networks, quantisation) in one pass over the pixels.
    """
    pixels = np.arange(256, dtype=np.float32)[:, None]
    mean = np.asarray(spec.mean or (0, 0, 0), np.float32)
    std = np.asarray(spec.std or (1, 1, 1), np.float32)
    return np.ascontiguousarray((pixels - mean) / std, np.float32)[None]


def to_network(batch: Batch, table: NDArray[Any], layout: str) -> NDArray[Any]:
    """Pixels -> what the network takes, for runtimes whose graph cannot hold the normalisation.

    table: (1, 256, 3) of the network's dtype. Returns (N, H, W, 3), or (N, 3, H, W) for the layout NCHW.
    """
    if table.dtype == np.float16:  # which cv2.LUT knows in its newest releases only
        return to_network(batch, table.astype(np.float32), layout).astype(np.float16)
    count, height, width, _ = batch.shape
    if layout == "NHWC":
        values: NDArray[Any] = cv2.LUT(batch.reshape(count * height, width, 3), table).reshape(batch.shape)
        return values
    planes = np.empty((count, 3, height, width), table.dtype)
    tables = np.ascontiguousarray(table[0].T)  # (3, 256)
    for image, out in zip(batch, planes, strict=True):
        # Bytes are split, then looked up into place: floats split from a second array of that size take 3 ms more for six
        # crops of 192 x 256, all of it page faults.
        for plane, of_channel, place in zip(cv2.split(image), tables, out, strict=True):
            cv2.LUT(plane, of_channel, dst=place)
    return planes


def by_picture(batch: Batch, infer: Callable[[Batch], Outputs], *, at_once: int | None) -> Outputs:
    """Infer in parts of at most `at_once` pictures (None: all together), and answer as one batch."""
    if at_once is None or len(batch) <= at_once:
        return infer(batch)
    return stack([infer(batch[start : start + at_once]) for start in range(0, len(batch), at_once)])


def stack(parts: list[Outputs]) -> Outputs:
    """The outputs of single pictures as those of one batch.

    Where they differ in size, as detections after suppression in the graph do, the smaller end in zeros: boxes of score 0.
    """
    if len(parts) == 1:
        return parts[0]
    return {name: _join([part[name] for part in parts]) for name in parts[0]}


def _join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    sizes = {array.shape[1:] for array in arrays}
    if len(sizes) == 1:
        return np.concatenate(arrays)
    largest = tuple(max(axis) for axis in zip(*sizes, strict=True))
    joined = np.zeros((sum(map(len, arrays)), *largest), arrays[0].dtype)
    start = 0
    for array in arrays:
        joined[(slice(start, start + len(array)), *(slice(size) for size in array.shape[1:]))] = array
        start += len(array)
    return joined
