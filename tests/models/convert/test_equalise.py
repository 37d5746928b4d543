from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from torch import fx, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from models.convert.equalise import MAX_FACTOR, absorbed, channel_ranges, equalise  # noqa: E402
from models.convert.graph_simplify import ChannelShuffle  # noqa: E402

pytestmark = pytest.mark.torch


class Uneven(nn.Module):
    """Two branches with a sum, a shuffle, a split and a resize between convolutions, and channels of very unequal ranges."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.left, self.right = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 1)
        self.shuffle = ChannelShuffle(2)
        self.last = nn.Conv2d(8, 5, 1)
        with torch.no_grad():
            for conv in (self.first, self.deep):
                conv.bias.abs_()  # no channel is all zero behind the ReLU
                conv.weight *= torch.logspace(-0.5, 0.5, 8).reshape(-1, 1, 1, 1)
                conv.bias *= torch.logspace(-0.5, 0.5, 8)

    def forward(self, x: Any) -> Any:
        x = self.shuffle(F.relu(self.deep(F.relu(self.first(x)))))
        left, right = torch.split(x, [4, 4], dim=1)
        x = torch.add(self.left(left), self.right(right))
        return self.last(F.interpolate(x, size=(12, 16), mode="nearest"))


class Pinned(nn.Module):
    """What does not pass a factor on: a sigmoid, a product, the output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        with torch.no_grad():
            self.first.weight *= torch.tensor([0.01, 1, 1, 10]).reshape(-1, 1, 1, 1)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        return self.last(torch.mul(x, torch.sigmoid(self.gate(x))))


def traced(module: nn.Module) -> fx.GraphModule:
    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, name: str) -> bool:
            return isinstance(m, ChannelShuffle) or super().is_leaf_module(m, name)

    return fx.GraphModule(module, Tracer().trace(module)).eval()


@pytest.fixture
def pictures() -> Any:
    torch.manual_seed(5)
    return torch.randn(6, 3, 6, 8)


def spread(module: fx.GraphModule, pictures: Any) -> float:
    """Widest over narrowest channel, the worst of all ReLUs."""
    ranges = channel_ranges(module, [pictures])
    inner = [values for node, values in ranges.items() if node.target is F.relu]
    return max(float(values.max() / values.min()) for values in inner)


def test_answers_stay_and_channels_get_like_ranges(pictures):
    torch.manual_seed(1)
    module = traced(Uneven())
    with torch.no_grad():
        before = module(pictures)
    wide = spread(module, pictures)
    assert equalise(module, pictures.split(2), strength=1.0) > 8
    with torch.no_grad():
        torch.testing.assert_close(module(pictures), before, rtol=1e-4, atol=1e-4)
    assert wide > 20
    assert spread(module, pictures) < 2


def test_no_tensor_becomes_wider(pictures):
    torch.manual_seed(1)
    module = traced(Uneven())
    before = widest(module, pictures)
    equalise(module, [pictures], strength=1.0)
    after = widest(module, pictures)
    assert before.keys() == after.keys()
    for node, value in after.items():
        assert value <= before[node] * 1.001


def widest(module: fx.GraphModule, pictures: Any) -> dict[str, float]:
    """Of all tensors that will be quantised: what a ReLU takes in never is."""
    return {str(node): float(v.max()) for node, v in channel_ranges(module, [pictures]).items() if not absorbed(node)}


def test_half_strength_goes_half_the_way(pictures):
    torch.manual_seed(1)
    module = traced(Uneven())
    wide = spread(module, pictures)
    equalise(module, [pictures], strength=0.5)
    assert spread(module, pictures) == pytest.approx(np.sqrt(wide), rel=0.3)


def test_what_passes_no_factor_on_keeps_its_weights(pictures):
    torch.manual_seed(1)
    module = traced(Pinned())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert equalise(module, [pictures], strength=1.0) == 0
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_dead_channel_gets_no_endless_factor(pictures):
    torch.manual_seed(1)
    module = traced(Uneven())
    with torch.no_grad():
        module.first.weight[2] = 0
        module.first.bias[2] = 0
        before = module(pictures)
    equalise(module, [pictures], strength=1.0)
    assert max(float(value.abs().max()) for value in module.state_dict().values()) < MAX_FACTOR * 100
    with torch.no_grad():
        torch.testing.assert_close(module(pictures), before, rtol=1e-4, atol=1e-4)
