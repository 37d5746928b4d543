from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from typing import Any  # noqa: E402

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.models.fastpose.random_weights import with_random_weights  # noqa: E402
from tests.models.fastpose.rewritten import assert_rewritten  # noqa: E402


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d((2, 3), 1, (1, 0)), nn.MaxPool2d(5, 1, 2, dilation=2)])
@pytest.mark.parametrize("before", [nn.ReLU(), nn.Sequential(nn.ReLU6(), nn.MaxPool2d(2)), nn.Sigmoid()])
def test_pooling_pads_with_zeros_behind_what_is_never_negative(pool: nn.MaxPool2d, before: nn.Module) -> None:
    network = with_random_weights(nn.Sequential(nn.Conv2d(3, 4, 3), before, pool))
    rewritten, changes = assert_rewritten(network, torch.randn(2, 3, 19, 17))
    assert changes == ["2: max pooling that pads: zeros as padding, then pooling"]
    assert not [module for module in rewritten.modules() if isinstance(module, nn.MaxPool2d) and module.padding != 0]


class Pooling(nn.Module):
    """Functional pooling of a sum, and of what an importer padded by itself; a `factor` below -1 makes both negative."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.conv = factor, nn.Conv2d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.conv(x))
        y = functional.max_pool2d(x * self.factor + x, 3, 1, 1)
        padded = functional.pad(torch.cat([y, x], 1), [0, 1, 1, 0], value=-torch.inf)
        return functional.max_pool2d(padded, (2, 2), (1, 1), (0, 0), dilation=(1, 1))


def test_functional_pooling_pads_with_zeros_too() -> None:
    x = torch.randn(2, 3, 9, 8)
    _, changes = assert_rewritten(with_random_weights(Pooling(2)), x)
    assert changes == [
        "pad: padding of a max pooling: zeros", "max_pool2d: max pooling that pads: zeros as padding, then pooling",
    ]  # fmt: skip
    assert assert_rewritten(with_random_weights(Pooling(-3)), x)[1] == []


@pytest.mark.parametrize("before", [nn.Identity(), nn.LeakyReLU(), nn.BatchNorm2d(4)])
def test_pooling_of_what_may_be_negative_stays(before: nn.Module) -> None:
    network = with_random_weights(nn.Sequential(nn.Conv2d(3, 4, 3), before, nn.Identity(), nn.MaxPool2d(3, 2, 1)))
    _, changes = assert_rewritten(network, torch.randn(2, 3, 13, 11) - 5)
    assert not [change for change in changes if "pooling" in change]


def test_pooling_that_rounds_sizes_up_stays() -> None:
    network = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True))
    assert assert_rewritten(network, torch.randn(2, 3, 8, 7))[1] == []
