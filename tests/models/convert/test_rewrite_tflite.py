from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
litert_torch = pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402

from models.convert.fold import fold_input  # noqa: E402
from models.convert.quiet import quiet  # noqa: E402
from models.convert.rewrite import rewrite  # noqa: E402
from models.edgetpu.graph import Subgraph  # noqa: E402
from models.edgetpu.reader import read_model  # noqa: E402
from models.fastpose.network import VARIANTS, FastPose  # noqa: E402
from models.fastpose.simplebaseline import TINY, SimpleBaseline  # noqa: E402
from models.fastpose.source import MEAN, STD  # noqa: E402
from tests.models.fastpose.random_weights import with_random_weights  # noqa: E402

CHANNELS_LAST_TOLERANCE = 1e-4  # of the largest output: TFLite's kernels sum in blocks, in another order than PyTorch's
# What coral.ai lists as running on the Edge TPU, as far as it occurs here.
DOCUMENTED = {
    "ADD", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "PAD",
    "RELU", "RESHAPE", "SLICE",
}  # fmt: skip


class ChannelsLast(nn.Module):
    """As TFLite networks are fed and read: (B, H, W, 3) in, (B, h, w, K) out."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return self.network(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def converted(network: Any, x: Any, path: Path) -> Subgraph:
    """Convert to a float TFLite file, and check that the interpreter computes what PyTorch does."""
    from ai_edge_litert.interpreter import Interpreter

    channels_last = x.permute(0, 2, 3, 1).contiguous()
    wrapped = ChannelsLast(network).eval()
    with quiet("conversion"):
        litert_torch.convert(wrapped, (channels_last,)).export(str(path))
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], channels_last.numpy())
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    expected = wrapped(channels_last).detach().numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= CHANNELS_LAST_TOLERANCE * np.abs(expected).max()
    return read_model(path).subgraphs[0]


def kinds(graph: Subgraph) -> set[str]:
    return {op.kind for op in graph.ops}


def ranks(graph: Subgraph) -> int:
    """The highest rank of what is computed."""
    return max(graph.tensors[index].rank for op in graph.ops for index in op.outputs)


def test_without_the_rewrite_converters_write_what_the_edge_tpu_does_not_run(tmp_path: Path) -> None:
    """Should this fail, a converter learned something, and the rewrite may have become needless."""
    x = torch.randn(1, 3, 64, 32)
    simple = with_random_weights(SimpleBaseline(TINY))
    assert {"TRANSPOSE_CONV", "PADV2"} <= kinds(converted(simple, x, tmp_path / "simple.tflite"))
    shuffled = with_random_weights(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(2, 3, 1)))
    assert "TRANSPOSE" in kinds(converted(shuffled, x, tmp_path / "shuffled.tflite"))


@pytest.mark.parametrize("name", ["simplebaseline", "fastpose"])
def test_rewritten_networks_convert_to_documented_ops_of_rank_4(name: str, tmp_path: Path) -> None:
    plain = SimpleBaseline(TINY) if name == "simplebaseline" else FastPose(VARIANTS["fast_res18_256x192"])
    network = with_random_weights(plain)
    x = torch.randint(0, 256, (1, 3, 64, 32)).float()
    rewritten, _ = rewrite(network, "edgetpu", x)
    graph = converted(fold_input(rewritten, MEAN, STD), x, tmp_path / "rewritten.tflite")
    assert kinds(graph) <= DOCUMENTED
    assert ranks(graph) == 4


@pytest.mark.parametrize("stride", [(2, 2), (3, 2), (1, 1), (4, 1)])
def test_deconvolutions_of_other_strides_convert_too(stride: tuple[int, int], tmp_path: Path) -> None:
    deconv = nn.ConvTranspose2d(4, 5, (5, 4), stride, (2, 1), (stride[0] - 1, 0))
    network = with_random_weights(nn.Sequential(nn.Conv2d(3, 4, 1), deconv, nn.ReLU(), nn.Conv2d(5, 2, 3, padding=1)))
    x = torch.randn(1, 3, 6, 5)
    rewritten, _ = rewrite(network, "edgetpu", x)
    assert kinds(converted(rewritten, x, tmp_path / "deconv.tflite")) <= DOCUMENTED


def test_unshuffles_convert_to_convolutions(tmp_path: Path) -> None:
    network = with_random_weights(
        nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3, padding=1), nn.PixelUnshuffle(2), nn.Sigmoid())
    )
    x = torch.randn(1, 3, 8, 8)
    rewritten, _ = rewrite(network, "tflite", x)
    graph = converted(rewritten, x, tmp_path / "unshuffled.tflite")
    assert [op.kind for op in graph.ops if op.kind != "PAD"] == ["CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC"]


def test_pooling_behind_an_activation_pads_with_zeros(tmp_path: Path) -> None:
    network = with_random_weights(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)))
    x = torch.randn(1, 3, 9, 8)
    rewritten, _ = rewrite(network, "edgetpu", x)
    assert kinds(converted(rewritten, x, tmp_path / "pooled.tflite")) == {"CONV_2D", "PAD", "MAX_POOL_2D"}
