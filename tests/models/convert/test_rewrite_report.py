from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from typing import Any  # noqa: E402

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.convert.rewrite import report  # noqa: E402
from models.fastpose.network import VARIANTS, FastPose  # noqa: E402
from models.fastpose.resnet import SqueezeExcitation  # noqa: E402


def found(network: Any) -> list[tuple[str, str]]:
    return [(finding.path, finding.what) for finding in report(network)]


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.Hardswish(), "hard swish"), (nn.Hardsigmoid(), "hard sigmoid"), (nn.SiLU(), "SiLU"), (nn.GELU(), "GELU")],
)
def test_activations_without_an_op_are_told(layer: nn.Module, name: str) -> None:
    assert found(nn.Sequential(nn.Conv2d(3, 3, 1), layer)) == [("1", name)]


def test_functional_activations_and_transposes_are_told_by_their_nodes() -> None:
    class Functional(nn.Module):
        def forward(self, x: Any) -> Any:
            x = functional.silu(functional.hardswish(x)).permute(0, 2, 3, 1)
            return torch.transpose(functional.gelu(functional.hardsigmoid(x)), 1, 2)

    assert found(Functional()) == [
        ("hardswish", "hard swish"), ("silu", "SiLU"), ("permute", "transpose"), ("hardsigmoid", "hard sigmoid"),
        ("gelu", "GELU"), ("transpose", "transpose"),
    ]  # fmt: skip


def test_excitations_are_told_from_other_poolings() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.se, self.last = SqueezeExcitation(4), nn.AdaptiveAvgPool2d((1, 1))

        def forward(self, x: Any) -> Any:
            x = self.se(x)
            x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
            return self.last(x) + functional.adaptive_avg_pool2d(x, 1)

    assert found(Pooled()) == [
        ("se.avg_pool", "squeeze-and-excitation"), ("mean", "squeeze-and-excitation"), ("last", "global average pooling"),
        ("adaptive_avg_pool2d", "global average pooling"),
    ]  # fmt: skip


def test_pooling_that_pads_what_may_be_negative_is_told() -> None:
    pool = nn.MaxPool2d(3, 2, 1)
    assert found(nn.Sequential(nn.Conv2d(3, 3, 1), pool)) == [("1", "max pooling that pads")]
    assert found(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), pool)) == []


def test_fastpose_has_its_excitations_told_and_nothing_else() -> None:
    with torch.device("meta"):
        network = FastPose(VARIANTS["fast_res50_256x192"])
    assert found(network) == [(f"preact.layer{stage}.0.se.avg_pool", "squeeze-and-excitation") for stage in (1, 2, 3, 4)]


def test_modules_of_networks_that_cannot_be_traced_are_told() -> None:
    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.pool = nn.Hardswish(), nn.AdaptiveAvgPool2d(1)

        def forward(self, x: Any) -> Any:
            return self.pool(self.act(x)) if x.sum() > 0 else x

    assert found(Untraceable()) == [("act", "hard swish"), ("pool", "global average pooling")]


def test_a_finding_is_a_line() -> None:
    (finding,) = report(nn.Sequential(nn.GELU()))
    assert str(finding) == (
        "0: GELU: is no op of the Edge TPU; converters spell it out in several ops, each with its own rounding in int8; "
        "train with ReLU or ReLU6, which fuse into the convolution before"
    )
