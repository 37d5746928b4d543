"""Which cell has to find which person: RTMDet's dynamic soft labels (Lyu et al., 2022, after SimOTA of YOLOX) for one class.

A cell may find a person when its point lies in the box. What a pair costs is what the network does wrong there now, so cells
that already do it well are asked to, and each person gets as many cells as have good boxes for it. Boxes are xyxy in input
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CANDIDATES = 13  # cells whose IoUs are added up to the number of cells of a person
IOU_WEIGHT = 3.0
# A point 3 cells from the box's centre costs 1, nearer ones next to nothing: of equals those that see the whole person win.
FREE_RADIUS_CELLS = 3.0
FORBIDDEN = 1e8


@dataclass(frozen=True)
class Assigned:
    """person: (M,) int64, the index of the box that a cell has to find, -1 for none. iou: (M,) of the cell's box with it, 0 for
    none. counted: (M,) bool, False where the cell is neither a hit nor a miss: in a box to be ignored, and in nobody's."""

    person: Tensor
    iou: Tensor
    counted: Tensor


@torch.no_grad()  # type: ignore[untyped-decorator]
def assign(
    logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, people: Tensor, ignored: Tensor
) -> Assigned:
    """Share the people of one picture among the cells.

    logits: (M,), boxes: (M, 4) as the network has them now; points: (M, 2) and strides: (M,) of the cells; people: (N, 4);
    ignored: (K, 4), where a person may be or not. A box without any point in it gets no cell, and is nobody's miss.
    """
    person = torch.full_like(logits, -1, dtype=torch.int64)
    iou = torch.zeros_like(logits)
    # In the box of a sure person it is known who is to be found; unsure boxes there are parts of the person, most often, and
    # learning nothing from their cells leaves several boxes of one person.
    counted = ~inside(points, ignored).any(1) | inside(points, people).any(1)  # (M,)
    if len(people):
        overlaps = pairwise_iou(boxes, people)  # (M, N)
        cost = costs(logits, overlaps, points, strides, people)
        chosen = choose(cost, overlaps)
        hit = chosen.any(1)
        person[hit] = chosen[hit].int().argmax(1)
        iou[hit] = overlaps[hit, person[hit]]
    return Assigned(person, iou, counted)


def costs(logits: Tensor, overlaps: Tensor, points: Tensor, strides: Tensor, people: Tensor) -> Tensor:
    """(M, N): how badly cell m finds person n; FORBIDDEN where its point is not in the box."""
    says = F.binary_cross_entropy_with_logits(logits[:, None].expand_as(overlaps), overlaps, reduction="none")
    says = says * (overlaps - logits.sigmoid()[:, None]).abs().square()
    centres = (people[:, :2] + people[:, 2:]) / 2
    away = torch.cdist(points, centres) / strides[:, None]
    cost = says - IOU_WEIGHT * (overlaps + 1e-7).log() + 10.0 ** (away - FREE_RADIUS_CELLS)
    return torch.where(inside(points, people), cost.clamp(max=FORBIDDEN / 10), FORBIDDEN)


def choose(cost: Tensor, overlaps: Tensor) -> Tensor:
    """(M, N) bool: for each person its cheapest cells, as many as its best CANDIDATES overlaps add up to, at least one; a cell
    that several people want goes to the cheapest."""
    count = overlaps.topk(min(CANDIDATES, len(overlaps)), dim=0).values.sum(0).int().clamp(min=1)  # (N,)
    rank = cost.argsort(0).argsort(0)
    chosen = (rank < count) & (cost < FORBIDDEN)
    best = F.one_hot(cost.masked_fill(~chosen, FORBIDDEN * 10).argmin(1), cost.shape[1]).bool()
    return chosen & best


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(M, N): whether point m is in box n, left and top sides included."""
    p = points[:, None]
    return ((p >= boxes[None, :, :2]) & (p < boxes[None, :, 2:])).all(2)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(M, 4), (N, 4) -> (M, N) intersection over union; 0 where both are empty."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clamp(min=0).prod(2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp(min=0).prod(1) for x in (a, b))
    return both / (area_a[:, None] + area_b[None] - both).clamp(min=1e-6)
