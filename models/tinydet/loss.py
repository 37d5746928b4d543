"""What tinydet is trained to make small: a quality focal loss of the logits and a generalised IoU loss of the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.tinydet.assign import assign
from models.tinydet.network import boxes_of

BOX_WEIGHT = 2.0


@dataclass(frozen=True)
class Losses:
    """Scalars. score and box: already weighted, their sum is what is made small. cells: how many cells have to find someone."""

    score: Tensor
    box: Tensor
    cells: int

    @property
    def total(self) -> Tensor:
        return self.score + self.box


def quality_focal(logits: Tensor, quality: Tensor) -> Tensor:
    """(M,) losses of logits whose logistic shall be `quality`, 0..1: cross entropy, weighted by the squared difference.

    The score becomes the IoU that the box will have, so suppression keeps the best box (Li et al., NeurIPS 2020).
    """
    weight = (quality - logits.sigmoid()).square()
    return F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * weight


def giou(a: Tensor, b: Tensor) -> Tensor:
    """(N,) generalised intersection over union, -1..1, of boxes (N, 4) and (N, 4) (Rezatofighi et al., CVPR 2019)."""
    both = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return both / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def losses(
    logits: Tensor,
    distances: Tensor,
    points: Tensor,
    strides: Tensor,
    people: Sequence[Tensor],
    ignored: Sequence[Tensor],
) -> Losses:
    """The losses of a batch, over the sum of the qualities that it asks for.

    logits: (B, M), distances: (B, M, 4) of `network.flat`; points, strides of `network.cells`; people, ignored: of each picture
    (N, 4) boxes to find and (K, 4) boxes where neither a hit nor a miss counts, xyxy in input pixels.
    """
    boxes = boxes_of(points, distances)
    quality = torch.zeros_like(logits)
    counted = torch.zeros_like(logits, dtype=torch.bool)
    mine, theirs, weights = [], [], []
    for i, (found, unsure) in enumerate(zip(people, ignored, strict=True)):
        picture = assign(logits[i].detach(), boxes[i].detach(), points, strides, found, unsure)
        hit = picture.person >= 0
        quality[i], counted[i] = picture.iou, picture.counted
        mine.append(boxes[i][hit])
        theirs.append(found[picture.person[hit]])
        weights.append(picture.iou[hit])
    weight = torch.cat(weights)
    total = weight.sum().clamp(min=1.0)
    score = (quality_focal(logits, quality) * counted).sum() / total
    # A box that does not overlap yet has quality 0: it counts a little, or it would never come near.
    box = ((1 - giou(torch.cat(mine), torch.cat(theirs))) * weight.clamp(min=0.1)).sum() / total
    return Losses(score, BOX_WEIGHT * box, len(weight))
