"""The case of the article: a network of transposed convolutions, before and after, by the Edge TPU's rules."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from models.convert.quiet import quiet  # noqa: E402
from models.convert.source import load_source  # noqa: E402
from models.convert.to_tflite import float_graph, to_int8  # noqa: E402
from models.edgetpu.placement import Placement, check_tflite  # noqa: E402
from models.fastpose.simplebaseline import TINY, SimpleBaseline  # noqa: E402
from tests.models.fastpose.random_weights import with_random_weights  # noqa: E402


def quantised(graph: bytes, source: Any, path: Path) -> Placement:
    shape = (source.height_px, source.width_px, 3)
    pictures = [np.random.default_rng(seed).integers(0, 256, shape, np.uint8) for seed in range(4)]
    path.write_bytes(to_int8(source, graph, pictures))
    return check_tflite(path)


@pytest.fixture
def source(tmp_path: Path) -> Any:
    torch.save(with_random_weights(SimpleBaseline(TINY)).state_dict(), tmp_path / "tiny.pth")
    return load_source(tmp_path / "tiny.pth", None, "64x32")


def test_the_rewritten_network_is_fully_placed(source: Any, tmp_path: Path) -> None:
    graph, changes = float_graph(source, "edgetpu")
    placement = quantised(graph, source, tmp_path / "rewritten.tflite")
    assert [change.split(":")[0] for change in changes if "transposed" in change] == [
        "deconv_layers.0", "deconv_layers.3", "deconv_layers.6",
    ]  # fmt: skip
    assert placement.off == ()
    assert placement.fully_placed


def test_the_network_as_it_was_is_not(source: Any, tmp_path: Path) -> None:
    import litert_torch

    from models.convert.graph import Pixels, example

    pixels = example(source, 1, dtype="float32")
    with quiet("conversion"):
        graph = bytes(litert_torch.convert(Pixels(source, source.module).eval(), (pixels,)).model_content())
    placement = quantised(graph, source, tmp_path / "plain.tflite")
    assert not placement.fully_placed
    assert placement.refused is not None
    assert "TRANSPOSE_CONV" in placement.refused
    assert "PADV2" in {op.kind for op in placement.off}
