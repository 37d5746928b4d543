"""What a network really takes, against what its manifest says: a lie is named at load, not by the first frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.manifest import ArtifactError, InputSpec

_FLOATS = ("float32", "float16")
_CUT_MAX = 0.05
_FILLED_MIN = 0.1


@dataclass(frozen=True)
class NetworkInput:
    """The input of a network as its runtime reports it.

    shape: four sizes, None where the network takes any. dtype: a NumPy name. quantised: integers with a scale and a zero
    point of their own, so that they stand for the manifest's real numbers.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    quantised: bool = False

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name!r} ({sizes}) {self.dtype}"


def sizes(shape: Sequence[object]) -> tuple[int | None, ...]:
    """Sizes as runtimes give them (-1, None or a name where dynamic) -> sizes, None where dynamic."""
    return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def check_network(model: str, spec: InputSpec, found: NetworkInput, *, resizable: bool = False) -> None:
    """Raise ArtifactError, naming both sides, unless the network takes what the manifest promises.

    resizable: the runtime can change the sizes that the file fixes, height and width only where the manifest frees them.
    """
    _check_rank(model, spec, found)
    count, height, width, _ = _as_nhwc(found.shape, spec.layout)
    _check_size(model, spec, height, width, resizable)
    _check_batch(model, spec, count, resizable)
    _check_dtype(model, spec, found)


def _as_nhwc(shape: tuple[int | None, ...], layout: str) -> tuple[int | None, ...]:
    return shape if layout == "NHWC" else (shape[0], shape[2], shape[3], shape[1])


def _check_rank(model: str, spec: InputSpec, found: NetworkInput) -> None:
    if len(found.shape) != 4:
        raise ArtifactError(_says(model, f"a batch of pictures, {spec.layout}", f"{found}, which has not four axes"))
    channels = _as_nhwc(found.shape, spec.layout)[3]
    if channels in (3, None):
        return
    other = "NCHW" if spec.layout == "NHWC" else "NHWC"
    if _as_nhwc(found.shape, other)[3] == 3:
        raise ArtifactError(_says(model, f"layout {spec.layout}", f"{found}, which is {other}"))
    raise ArtifactError(_says(model, "pictures of 3 channels", f"{found}, {channels} channels"))


def _check_size(model: str, spec: InputSpec, height: int | None, width: int | None, resizable: bool) -> None:
    takes = f"{width or 'any'}x{height or 'any'} pixels (width x height)"
    if spec.multiple_px is None:
        if height not in (spec.height_px, None) or width not in (spec.width_px, None):
            raise ArtifactError(_says(model, f"{spec.width_px}x{spec.height_px}", takes))
    elif not resizable and (height is not None or width is not None):
        raise ArtifactError(_says(model, f"any size that is a multiple of {spec.multiple_px}", takes))


def _check_batch(model: str, spec: InputSpec, count: int | None, resizable: bool) -> None:
    if count is None or resizable:
        return
    if spec.batch:
        fix = "set `batch = false` for that file" if count == 1 else "export it with a dynamic batch"
        raise ArtifactError(_says(model, "batches of any size (batch = true)", f"exactly {count} at a time; {fix}"))
    if count != 1:
        raise ArtifactError(_says(model, "one picture at a time (batch = false)", f"exactly {count}"))


def _check_dtype(model: str, spec: InputSpec, found: NetworkInput) -> None:
    """Only what would change the pixels' values is a lie: a float network takes raw pixels as floats, a quantised one
    takes real numbers by its scale."""
    if found.quantised or found.dtype in _FLOATS:
        return
    if found.dtype == "uint8" and spec.mean is None:
        return
    said = f"{spec.dtype} with mean and std" if spec.mean is not None else spec.dtype
    raise ArtifactError(_says(model, said, f"{found.dtype} without a scale; take mean and std out, or export it as float32"))


def check_range(model: str, values: NDArray[np.float32], low: float, high: float) -> None:
    """Raise ArtifactError, naming both, unless what pixels become fits the numbers low to high that a quantised input has.

    values: what the manifest's mean and std make of all pixels. A quantised input's scale follows from the pictures that the
    network was calibrated on, so its range is about theirs: one that cuts off more than a twentieth of the values was made
    for others, as 0..1 where mean and std are forgotten; one that the values fill to less than a tenth leaves 26 steps of 256.
    """
    least, most = float(values.min()), float(values.max())
    cut = max(low - least, most - high)
    if cut <= _CUT_MAX * (most - least) and most - least >= _FILLED_MIN * (high - low):
        return
    raise ArtifactError(
        f"artifact {model!r}: by the manifest's mean and std pixels become {least:.4g} to {most:.4g}, the network's quantised "
        f"input stands for {low:.4g} to {high:.4g}; write the mean and std that it was calibrated with (pixel units, 0..255)"
    )


def _says(model: str, said: str, takes: str) -> str:
    return f"artifact {model!r}: the manifest says {said}, the network takes {takes}"
