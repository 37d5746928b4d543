"""What a head is taught is what its decoder in services/pose reads: a perfect output decodes to its keypoints."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.tinypose.network import TinyPoseConfig  # noqa: E402
from models.tinypose.targets import (  # noqa: E402
    CHOICE,
    LOSSES,
    _choice_loss,
    _heat_loss,
    gaussians,
    heatmaps,
    heatmaps_loss,
    offsets_loss,
    sigma_px,
    simcc_loss,
)
from services.pose.decode import DECODERS  # noqa: E402

CONFIG = TinyPoseConfig("x", 144, 192)
BOXES = np.array([[0, 0, 144, 192]] * 3, np.float32)


def keypoints() -> torch.Tensor:
    random = np.random.default_rng(3)
    points = random.uniform((8, 8, 1), (136, 184, 1), (3, 17, 3)).astype(np.float32)
    points[..., 2] = 1
    return torch.from_numpy(points)


def _choice(heat: torch.Tensor, truth: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
    return CHOICE * _choice_loss(heat, truth, CONFIG, 4, height)


def perfect(head: str, truth: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if head == "heatmaps":
        return (heatmaps(truth, CONFIG, 4),)
    if head == "simcc":
        return gaussians(truth, CONFIG, 0.5, sigma_px(CONFIG))
    rows = torch.arange(24)[:, None] * 8 + 0.5
    columns = torch.arange(18)[None, :] * 8 + 0.5
    to_y = ((truth[..., 1, None, None] - rows) / 8).expand(3, 17, 24, 18)
    to_x = ((truth[..., 0, None, None] - columns) / 8).expand(3, 17, 24, 18)
    return heatmaps(truth, CONFIG, 8), torch.cat([to_y, to_x], dim=1)


@pytest.mark.parametrize(("head", "decoder", "tolerance_px"), [
    ("heatmaps", "heatmaps", 0.05), ("offsets", "heatmap_offsets", 0.01), ("simcc", "simcc", 0.3),
])  # fmt: skip
def test_a_perfect_output_decodes_to_its_keypoints(head: str, decoder: str, tolerance_px: float) -> None:
    truth = keypoints()
    outputs = [output.numpy() for output in perfect(head, truth)]
    if head == "offsets":
        outputs[1] = outputs[1] * 8
    names = {"heatmaps": ["heatmaps"], "offsets": ["heatmaps", "offsets"], "simcc": ["simcc_x", "simcc_y"]}[head]
    found = DECODERS[decoder](dict(zip(names, outputs, strict=True)), (144, 192), BOXES)
    np.testing.assert_allclose(found[..., :2], truth[..., :2].numpy(), atol=tolerance_px)


@pytest.mark.parametrize("head", ["heatmaps", "offsets"])
def test_a_perfect_output_has_little_loss_and_moved_or_flat_ones_more(head: str) -> None:
    """Not none: the choice among cells is a distribution, whose cross-entropy ends at its own entropy."""
    truth = keypoints()
    height = truth[..., 2]
    outputs = perfect(head, truth)
    least = LOSSES[head](outputs, truth, CONFIG, height)
    assert least < 0.35
    assert LOSSES[head](outputs, truth + torch.tensor([6.0, 0, 0]), CONFIG, height) > least + 0.1
    assert LOSSES[head]((torch.zeros_like(outputs[0]), *outputs[1:]), truth, CONFIG, height) > least + 0.5


def test_the_least_loss_is_at_the_keypoint_to_a_tenth_of_a_cell() -> None:
    truth = keypoints()
    losses = {}
    for px in (-2.0, -0.8, -0.4, 0.0, 0.4, 0.8, 2.0):
        outputs = (heatmaps(truth + torch.tensor([px, 0, 0]), CONFIG, 4),)
        losses[px] = heatmaps_loss(outputs, truth, CONFIG, truth[..., 2]).item()
    assert min(losses, key=lambda px: losses[px]) == 0.0


def test_simcc_is_least_where_the_distributions_are_right() -> None:
    truth = keypoints()
    sharp = tuple(10 * output for output in perfect("simcc", truth))
    right = simcc_loss(sharp, truth, CONFIG, truth[..., 2])
    assert simcc_loss(sharp, truth + torch.tensor([6.0, 0, 0]), CONFIG, truth[..., 2]) > right + 0.5


@pytest.mark.parametrize("head", ["heatmaps", "offsets", "simcc"])
def test_unknown_keypoints_do_not_count(head: str) -> None:
    truth = keypoints()
    height = truth[..., 2].clone()
    height[:, 5] = 0
    outputs = perfect(head, truth)
    before = LOSSES[head](outputs, truth, CONFIG, height)
    truth[:, 5, :2] = 20
    assert LOSSES[head](outputs, truth, CONFIG, height) == pytest.approx(before.item(), rel=1e-6)


def test_a_keypoint_outside_the_crop_is_taught_as_absent() -> None:
    truth = keypoints()
    truth[:, 0, :2] = -80
    height = truth[..., 2]
    outputs = heatmaps(truth, CONFIG, 4)
    assert outputs[:, 0].max() < 1e-3
    wrong = outputs.clone()
    wrong[:, 0, 10, 10] = 1
    assert heatmaps_loss((wrong,), truth, CONFIG, height) > heatmaps_loss((outputs,), truth, CONFIG, height)


def test_the_peak_is_as_high_as_the_teacher_was_sure() -> None:
    truth = keypoints()
    height = torch.full_like(truth[..., 2], 0.4)
    shape = heatmaps(truth, CONFIG, 4)
    squared = {}
    for share in (0.2, 0.4, 0.8):
        both = _heat_loss(share * shape, truth, CONFIG, 4, height)
        squared[share] = (both - _choice(share * shape, truth, height)).item()
    assert min(squared, key=lambda share: squared[share]) == 0.4
    assert squared[0.4] == pytest.approx(0, abs=1e-6)


def test_vectors_far_from_the_keypoint_are_free() -> None:
    truth = keypoints()
    heat, vectors = perfect("offsets", truth)
    far = (vectors[:, :17] ** 2 + vectors[:, 17:] ** 2) > 4
    spoiled = torch.cat([torch.where(far, torch.tensor(99.0), vectors[:, :17]), vectors[:, 17:]], dim=1)
    height = truth[..., 2]
    same = offsets_loss((heat, vectors), truth, CONFIG, height).item()
    assert offsets_loss((heat, spoiled), truth, CONFIG, height).item() == pytest.approx(same, abs=1e-6)
