"""FastPose on the Edge TPU, before and after, by its rules; SimpleBaseline's case is tests/models/edgetpu/test_rewritten.py."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
litert_torch = pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402

from models.convert.fold import fold_input  # noqa: E402
from models.convert.quiet import quiet  # noqa: E402
from models.convert.rewrite import rewrite  # noqa: E402
from models.edgetpu.placement import Placement, check_tflite  # noqa: E402
from models.fastpose.network import VARIANTS, FastPose  # noqa: E402
from models.fastpose.source import MEAN, STD  # noqa: E402
from tests.models.fastpose.random_weights import with_random_weights  # noqa: E402


class ChannelsLast(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return self.network(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def placed(network: Any, path: Path) -> Placement:
    """In int8, as the library quantises by itself, on random pictures."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    with quiet("conversion"):
        converted = litert_torch.convert(ChannelsLast(fold_input(network, MEAN, STD)).eval(), (torch.zeros(1, 64, 32, 3),))
        graph = bytes(converted.model_content())
        (name,) = Interpreter(model_content=graph).get_signature_list()["serving_default"]["inputs"]
        pictures = [np.random.default_rng(seed).integers(0, 256, (1, 64, 32, 3)).astype(np.float32) for seed in range(2)]
        steps = quantizer.Quantizer(graph, recipe.static_wi8_ai8())
        ranges = steps.calibrate({"serving_default": [{name: picture} for picture in pictures]})
        path.write_bytes(bytes(steps.quantize(ranges).quantized_model))
    return check_tflite(path)


def test_fastpose_is_fully_placed_when_rewritten_and_not_before(tmp_path: Path) -> None:
    network = with_random_weights(FastPose(VARIANTS["fast_res18_256x192"]))
    rewritten, _ = rewrite(network, "edgetpu", torch.zeros(1, 3, 64, 32))
    after = placed(rewritten, tmp_path / "after.tflite")
    assert after.off == ()
    assert after.fully_placed
    before = placed(network, tmp_path / "before.tflite")
    assert before.first_off is not None
    assert before.first_off.kind == "PADV2"
    assert before.placed < 5
    assert after.macs == before.macs
