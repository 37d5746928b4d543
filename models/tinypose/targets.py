"""What each head is to say for given keypoints, and how far it is from it. All in torch, a batch at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.tinypose.network import TinyPoseConfig

# The heatmap is also a choice among all cells: softmax of SHARPNESS times its values. A Gaussian peak of height 1 and sigma s
# makes that a distribution of about s / sqrt(SHARPNESS), half a cell of stride 4: NARROW, in cells.
SHARPNESS, NARROW = 10.0, 0.5
CHOICE = 0.1  # weight of that loss: it finds the place soon, the squared error then shapes the peak that decoders refine
REACH = 1.5  # cells round a keypoint whose vectors are learned: the cells that can win where the heatmap is a little off


def sigma_px(config: TinyPoseConfig) -> float:
    """Of the Gaussians: 8 px for a crop of 256 rows (2 cells of stride 4, as SimpleBaseline and HRNet), in proportion else."""
    return config.height_px / 32


def gaussians(keypoints: Tensor, config: TinyPoseConfig, stride: float, sigma: float) -> tuple[Tensor, Tensor]:
    """One-dimensional Gaussians (B, 17, W / stride) and (B, 17, H / stride), 1 at the keypoint; keypoints: (B, 17, 2+) crop px.

    Cell i stands for crop pixel i * stride + .5, as the decoders in services/pose read it.
    """
    out = []
    for axis, side in enumerate((config.width_px, config.height_px)):
        cells = torch.arange(round(side / stride), device=keypoints.device) * stride + 0.5
        out.append(torch.exp(-((cells - keypoints[..., axis, None]) ** 2) / (2 * sigma**2)))
    return out[0], out[1]


def heatmaps(keypoints: Tensor, config: TinyPoseConfig, stride: int) -> Tensor:
    """(B, 17, H / stride, W / stride): 1 at each keypoint; of one outside the crop only what reaches in."""
    x, y = gaussians(keypoints, config, stride, sigma_px(config))
    return y[..., :, None] * x[..., None, :]


def _choice_loss(heat: Tensor, keypoints: Tensor, config: TinyPoseConfig, stride: int, height: Tensor) -> Tensor:
    """Cross-entropy of the cell that is chosen, for keypoints within the crop."""
    x, y = gaussians(keypoints, config, stride, NARROW * stride)
    inside = ((x.amax(-1) > 0.5) & (y.amax(-1) > 0.5)).float() * height
    label = (y[..., :, None] * x[..., None, :]).flatten(2)
    label = label / label.sum(-1, keepdim=True).clamp(min=1e-6)
    found = F.log_softmax(SHARPNESS * heat.float().flatten(2), -1)
    return -((label * found).sum(-1) * inside).sum() / inside.sum().clamp(min=1)


def _heat_loss(heat: Tensor, keypoints: Tensor, config: TinyPoseConfig, stride: int, height: Tensor) -> Tensor:
    """Mean squared error; `height` is how high the peak is to be: the teacher's own confidence.

    Cells near the keypoint count more: of 1,728 cells about 30 are not empty, and to say 0 everywhere is a plateau else.
    """
    target = heatmaps(keypoints, config, stride)
    known = (height > 0).float()
    error = (heat.float() - target * height[..., None, None]) ** 2 * (1 + 8 * target)
    squared = (error.mean(dim=(2, 3)) * known).sum() / known.sum().clamp(min=1) * (heat.shape[-1] * heat.shape[-2]) / 40
    return squared + CHOICE * _choice_loss(heat, keypoints, config, stride, height)


def offsets_loss(outputs: tuple[Tensor, ...], keypoints: Tensor, config: TinyPoseConfig, height: Tensor) -> Tensor:
    """outputs: heatmaps (B, 17, h, w) and offsets (B, 34, h, w) in strides, y first."""
    heat, vectors = outputs[0], outputs[1].float()
    batch, _, rows, columns = heat.shape
    stride = config.height_px // rows
    y = torch.arange(rows, device=heat.device)[None, None, :, None] * stride + 0.5
    x = torch.arange(columns, device=heat.device)[None, None, None, :] * stride + 0.5
    to_y = ((keypoints[..., 1, None, None] - y) / stride).expand(batch, 17, rows, columns)
    to_x = ((keypoints[..., 0, None, None] - x) / stride).expand(batch, 17, rows, columns)
    near = ((to_x**2 + to_y**2) < REACH**2).float() * height[..., None, None]
    error = F.smooth_l1_loss(vectors[:, :17], to_y, reduction="none", beta=0.1)
    error = error + F.smooth_l1_loss(vectors[:, 17:], to_x, reduction="none", beta=0.1)
    return _heat_loss(heat, keypoints, config, stride, height) + 0.3 * (error * near).sum() / near.sum().clamp(min=1)


def heatmaps_loss(outputs: tuple[Tensor, ...], keypoints: Tensor, config: TinyPoseConfig, height: Tensor) -> Tensor:
    return _heat_loss(outputs[0], keypoints, config, config.height_px // outputs[0].shape[2], height)


def simcc_loss(outputs: tuple[Tensor, ...], keypoints: Tensor, config: TinyPoseConfig, height: Tensor) -> Tensor:
    """Cross-entropy with Gaussian labels; sigma as published for this size (6 px of 256 rows, Li et al.)."""
    targets = gaussians(keypoints, config, 1 / config.simcc_split, sigma_px(config) * 0.75)
    # A keypoint outside the crop has no place in the distributions: not learned.
    inside = torch.stack([t.amax(-1) > 0.5 for t in targets]).all(0).float() * height
    loss = torch.zeros((), device=height.device)
    for output, target in zip(outputs, targets, strict=True):
        label = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
        loss = loss - ((label * F.log_softmax(output.float(), -1)).sum(-1) * inside).sum() / inside.sum().clamp(min=1)
    return loss


LOSSES = {"offsets": offsets_loss, "heatmaps": heatmaps_loss, "simcc": simcc_loss}
