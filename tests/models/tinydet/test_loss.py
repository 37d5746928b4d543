"""The losses are what the papers say, and ask for nothing where nobody knows the answer."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.tinydet.loss import giou, losses, quality_focal  # noqa: E402
from models.tinydet.network import TinyDetConfig, cells  # noqa: E402

CONFIG = TinyDetConfig("small", 64, 32)
POINTS, STRIDES = cells(CONFIG)
NOBODY = torch.zeros(0, 4)
PERSON = torch.tensor([[8.0, 8.0, 40.0, 24.0]])


def answers(logit: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Each cell says `logit`, and measures PERSON exactly where it lies in it."""
    sides = torch.cat([POINTS - PERSON[0, :2], PERSON[0, 2:] - POINTS], dim=1).clamp(min=0)
    return torch.full((1, len(POINTS)), logit), sides[None]


def test_a_score_that_equals_the_quality_costs_nothing() -> None:
    logits = torch.tensor([0.0, -20.0, 20.0])
    loss = quality_focal(logits, torch.tensor([0.5, 0.0, 1.0]))
    torch.testing.assert_close(loss, torch.zeros(3), atol=1e-6, rtol=0)


def test_a_false_alarm_costs_its_cross_entropy_times_its_score_squared() -> None:
    loss = quality_focal(torch.zeros(1), torch.zeros(1))
    assert loss.item() == pytest.approx(0.25 * 0.6931, abs=1e-4)


def test_giou_by_hand() -> None:
    a = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 10], [0.0, 0, 10, 10]])
    b = torch.tensor([[0.0, 0, 10, 10], [5.0, 0, 15, 10], [20.0, 0, 30, 10]])
    torch.testing.assert_close(giou(a, b), torch.tensor([1.0, 1 / 3, -1 / 3]))


def test_exact_boxes_cost_nothing_and_worse_ones_more() -> None:
    logits, distances = answers(0.0)
    exact = losses(logits, distances, POINTS, STRIDES, [PERSON], [NOBODY])
    worse = losses(logits, distances + 3, POINTS, STRIDES, [PERSON], [NOBODY])
    assert exact.box.item() == pytest.approx(0, abs=1e-5)
    assert worse.box.item() > 0.1
    assert exact.cells > 1


def test_a_picture_without_people_asks_for_silence() -> None:
    logits, distances = answers(0.0)
    loud = losses(logits, distances, POINTS, STRIDES, [NOBODY], [NOBODY])
    quiet = losses(logits - 8, distances, POINTS, STRIDES, [NOBODY], [NOBODY])
    assert loud.box.item() == 0
    assert loud.cells == 0
    assert loud.score.item() == pytest.approx(len(POINTS) * 0.25 * 0.6931, rel=1e-3)
    assert quiet.score.item() < 1e-3


def test_ignored_boxes_get_neither_blame_nor_praise() -> None:
    logits, distances = answers(0.0)
    logits.requires_grad_(True)
    everywhere = torch.tensor([[-1.0, -1.0, 65.0, 33.0]])
    loss = losses(logits, distances, POINTS, STRIDES, [NOBODY], [everywhere])
    loss.total.backward()
    assert loss.total.item() == 0
    assert not logits.grad.any()


def test_descending_brings_boxes_and_scores_to_the_person() -> None:
    logits, distances = answers(-4.0)
    logits, distances = logits.clone().requires_grad_(True), (distances * 0 + 20).requires_grad_(True)
    optimiser = torch.optim.Adam([logits, distances], lr=0.3)
    values = []
    for _ in range(150):
        loss = losses(logits, distances, POINTS, STRIDES, [PERSON], [NOBODY])
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        values.append(loss.total.item())
    assert values[-1] < 0.2 * values[0]
    best = int(logits[0].argmax())
    box = torch.cat([POINTS[best] - distances[0, best, :2], POINTS[best] + distances[0, best, 2:]])
    torch.testing.assert_close(box, PERSON[0], atol=2.0, rtol=0)
