"""SimpleBaseline, converted for real: what the check says before and after the exact rewrite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from models.convert.quiet import quiet  # noqa: E402
from models.convert.source import Source  # noqa: E402
from models.edgetpu.placement import Placement, check_tflite  # noqa: E402
from models.edgetpu.status import UNKNOWN_VERSION  # noqa: E402
from models.fastpose.simplebaseline import TINY, SimpleBaseline  # noqa: E402


def converted(folder: Path) -> Placement:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    from models.convert.tflite_io import set_io
    from models.convert.to_tflite import INPUT, float_graph

    torch.manual_seed(0)
    source = Source("tiny", SimpleBaseline(TINY).eval(), "pose", 96, 128, "rgb", (123.0, 117.0, 104.0), (58.0, 57.0, 57.0),
                    "heatmaps", ("heatmaps",), "none", "none", "a test")  # fmt: skip
    graph, _ = float_graph(source, "edgetpu")
    interpreter = Interpreter(model_content=graph)
    (argument,) = interpreter.get_signature_list()["serving_default"]["inputs"]
    pixels = [np.random.default_rng(seed).integers(0, 255, (1, 128, 96, 3)).astype(np.float32) for seed in range(2)]
    steps = quantizer.Quantizer(graph, recipe.static_wi8_ai8())
    with quiet("quantising"):
        ranges = steps.calibrate({"serving_default": [{argument: each} for each in pixels]})
        content = bytes(steps.quantize(ranges).quantized_model)
    path = folder / "tiny.tflite"
    path.write_bytes(set_io(content, [INPUT], source.outputs, integers="int8"))
    return check_tflite(path)


def test_rewritten_it_is_fully_placed_and_nothing_is_doubtful(tmp_path: Path) -> None:
    found = converted(tmp_path)
    assert found.fully_placed, [(op.kind, op.name, op.reason) for op in found.off]
    assert found.doubtful == ()
    assert "TRANSPOSE_CONV" not in {op.kind for op in found.ops}


def test_as_it_was_its_transposed_convolutions_are_named_and_refuse_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """litert-torch writes TRANSPOSE_CONV in a version that the last compiler does not read."""

    def keep(module: Any, target: str, example: Any) -> tuple[Any, tuple[()]]:
        return module, ()

    monkeypatch.setattr("models.convert.rewrite.rewrite", keep)
    found = converted(tmp_path)
    off = [op for op in found.ops if op.kind == "TRANSPOSE_CONV"]
    assert len(off) == 3
    assert {op.status for op in off} == {UNKNOWN_VERSION}
    assert all("deconv_layers" in op.name or "SimpleBaseline" in op.name for op in off)
    assert found.refused is not None
    assert found.placed == 0
