"""A network with heads of OpenPifPaf's published form, exported by PyTorch the way OpenPifPaf's exporter calls it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from common.config import PoseSettings
from models.openpifpaf.exported import read_export
from models.openpifpaf.wrap import wrap
from models.tensorrt.check import check_onnx
from services.pose.bottom_up import load_bottom_up

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch


def network(vectors: int, fields: int, features: int):
    """One head: 1 x 1 convolution, pixel shuffle without the last row and column, sigmoid, cell index, softplus."""

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = 2 + 3 * vectors  # log b, confidence, and for each vector x, y and a size
            self.conv = torch.nn.Conv2d(features, fields * self.parts * 4, 1)

        def forward(self, x):
            x = torch.nn.functional.pixel_shuffle(self.conv(x), 2)[:, :, :-1, :-1]
            height, width = int(x.shape[2]), int(x.shape[3])
            x = x.view(x.shape[0], fields, self.parts, height, width)
            index = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")).float()
            ends = [x[:, :, 2 + 2 * i : 4 + 2 * i] + index for i in range(vectors)]
            sizes = torch.nn.functional.softplus(x[:, :, 2 + 2 * vectors :])
            return torch.cat([x[:, :, :1], torch.sigmoid(x[:, :, 1:2]), *ends, sizes], dim=2)

    return Head()


class Small(torch.nn.Module):
    """A backbone of stride 16 with both heads: fields of stride 8."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 17, stride=16, padding=8)
        self.cif, self.caf = network(1, 17, 8), network(2, 19, 8)

    def forward(self, x):
        x = torch.relu(self.body(x))
        return self.cif(x), self.caf(x)


def export(path: Path, width: int, height: int) -> Path:
    """As openpifpaf.export_onnx of 0.13 does: opset 11, a batch of any size."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about sizes that become constants: as they are to
        torch.onnx.export(
            Small().eval(), (torch.randn(1, 3, height, width),), str(path), dynamo=False, opset_version=11,
            input_names=["input_batch"], output_names=["cif", "caf"],
            dynamic_axes={name: {0: "dynamic"} for name in ("input_batch", "cif", "caf")},
        )  # fmt: skip
    return path


@pytest.mark.parametrize(("width", "height", "cells"), [(321, 241, (41, 31)), (320, 240, (39, 29))])
def test_an_export_with_an_open_batch_is_wrapped_and_runs(tmp_path: Path, width, height, cells):
    path = export(tmp_path / "small.onnx", width, height)
    found = read_export(path)
    assert (found.width_px, found.height_px, found.stride) == (width, height, 8)
    wrap(path, tmp_path / "made")
    estimator = load_bottom_up(PoseSettings(approach="bottom_up", model=str(tmp_path / "made"), runtime="onnx"))
    outputs = estimator.engine.run(np.zeros((1, height, width, 3), np.uint8))
    assert outputs["cif"].shape == (1, 17, 5, cells[1], cells[0])
    assert outputs["caf"].shape == (1, 19, 8, cells[1], cells[0])
    estimator.close()


def test_tensorrt_parses_and_builds_what_was_wrapped(tmp_path: Path):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is absent: run by .ci/run with the extra tensorrt-check")
    wrap(export(tmp_path / "small.onnx", 321, 241), tmp_path / "made")
    check = check_onnx(tmp_path / "made" / "model.onnx")
    assert check.good, check.findings
    assert "skipped" not in check.parser
