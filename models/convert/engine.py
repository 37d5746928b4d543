"""A PyTorch network behind the interface of the runtimes: the first reference of every conversion."""

from __future__ import annotations

import numpy as np

from common.artifact import Artifact
from common.runtimes.base import Batch, EngineBase, Outputs, Request
from models.convert.source import ConversionError, Source


class TorchEngine(EngineBase):
    """Runs a source as it is. Takes uint8 (N, H, W, 3) in the source's colour order, like any engine."""

    def __init__(self, source: Source, artifact: Artifact, *, decode: bool = False) -> None:
        request = Request(artifact, source.task, "cpu", 1, (source.width_px, source.height_px))
        super().__init__("torch", "cpu", request, format="torch")
        from models.convert.graph import Pixels

        self._names = ("keypoints",) if decode else source.outputs
        self._module = Pixels(source, decode=decode).eval()

    def _infer(self, batch: Batch) -> Outputs:
        import torch

        from models.convert.graph import one_thread

        with one_thread(), torch.inference_mode():
            found = self._module(torch.from_numpy(np.ascontiguousarray(batch)))
        if len(found) != len(self._names):
            raise ConversionError(
                f"network {self._model!r} gave {len(found)} outputs, its source names {len(self._names)}: {self._names}"
            )
        return {name: value.numpy() for name, value in zip(self._names, found, strict=True)}

    def _free(self) -> None:
        del self._module
