"""The learning rate rises, falls and ends; the average follows the weights."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.training.schedule import Ema, cosine  # noqa: E402


def test_the_rate_rises_linearly_and_falls_as_half_a_cosine() -> None:
    assert [cosine(step, 100, 10) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert cosine(10, 100, 10) == pytest.approx(1.0)
    assert cosine(55, 100, 10) == pytest.approx((1 + 0.01) / 2)
    assert cosine(100, 100, 10) == pytest.approx(0.01)
    falling = [cosine(step, 100, 10) for step in range(10, 100)]
    assert falling == sorted(falling, reverse=True)


def test_the_average_forgets_its_start_soon_and_then_moves_slowly() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data[:] = 0
    average = Ema(network, 0.9)
    network.weight.data[:] = 1
    average.update(network)
    assert average.network.weight.item() == pytest.approx(1 - 2 / 11)
    for _ in range(200):
        average.update(network)
    assert average.network.weight.item() == pytest.approx(1, abs=1e-6)
    network.weight.data[:] = 2
    average.update(network)
    assert average.network.weight.item() == pytest.approx(1.1, abs=1e-5)


def test_a_restored_average_goes_on_where_it_was() -> None:
    network = torch.nn.Linear(2, 2)
    average, other = Ema(network), Ema(torch.nn.Linear(2, 2))
    average.update(network)
    other.load_state_dict(average.state_dict())
    assert other.step == 1
    torch.testing.assert_close(other.network.weight, average.network.weight)
