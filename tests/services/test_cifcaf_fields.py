"""Reading fields, the fine map and the scoring of associations, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from services.pose.cifcaf_fields import CELLS, NOISE, SKELETON, STEP_PX, FineMap, Points, read_fields, stride_of
from services.pose.cifcaf_grow import LINK_MIN, Joint, Links, follow, score_links
from tests.services.cifcaf_parts import HEIGHT, STRIDE, WIDTH, fields, standing

SIZE = WIDTH, HEIGHT
# The map is read between its nodes along straight lines; its narrowest Gaussian has one step (finest level) as standard
# deviation, whose top lies 1 - exp(-1/4) above the line through four nodes half a step away in both axes.
READING = 1 - np.exp(-0.25)


def loop_value(points: Points, kind: int, x: float, y: float) -> float:
    """f(x, y) as the paper writes it, cell by cell."""
    total = 0.0
    for i in range(len(points.kinds)):
        if points.kinds[i] == kind:
            sigma = max(float(points.sizes[i]), STEP_PX)
            square = (x - points.xy[i, 0]) ** 2 + (y - points.xy[i, 1]) ** 2
            total += points.confidences[i] / CELLS * np.exp(-square / (2 * sigma**2))
    return min(total, 1.0)


def people(noise_px: float = 2.0) -> dict[str, np.ndarray]:
    return fields([standing(60, 80, 100, 340), standing(300, 150, 40, 120)], noise_px=noise_px, seed=2)


def test_the_map_is_the_sum_of_plain_loops():
    points, _, _ = read_fields(people(), SIZE)
    random = np.random.default_rng(0)
    chosen = random.choice(len(points.kinds), 60, replace=False)
    kinds = points.kinds[chosen]
    xy = (points.xy[chosen] + random.normal(0, 5, (60, 2))).astype(np.float32)
    got = FineMap(points, SIZE).at(kinds, xy)
    wanted = np.array([loop_value(points, kind, x, y) for kind, (x, y) in zip(kinds, xy, strict=True)])
    assert wanted.max() > 0.3
    assert np.abs(got - wanted).max() < READING * wanted.max()
    # Away from the smallest sizes the lines are short against the Gaussians.
    wide = points.sizes[chosen] > 3 * STEP_PX
    assert wide.sum() > 10
    assert np.abs(got - wanted)[wide].max() < 0.05


def test_the_map_is_exact_at_its_nodes_for_one_cell():
    """One Gaussian for each width from a step to thirty, at nodes of its own level: no reading between nodes, no error."""
    for size in (2.0, 5.0, 7.0, 15.0, 31.0, 60.0):
        points = Points(
            kinds=np.array([4]), confidences=np.array([0.8], np.float32), xy=np.array([[256, 256]], np.float32),
            sizes=np.array([size], np.float32),
        )
        fine = FineMap(points, SIZE)
        xy = np.array([[256, 256], [256 + 64, 256], [256, 256 - 32], [256 + 32, 256 + 32]], np.float32)
        wanted = np.array([loop_value(points, 4, x, y) for x, y in xy])
        cut = np.exp(-0.5 * (8 / 3) ** 2) * 0.8 / CELLS  # beyond 8 steps of the level nothing is written
        np.testing.assert_allclose(fine.at(np.full(4, 4), xy), wanted, atol=cut + 1e-6)
        assert fine.at(np.array([3]), xy[:1]) == 0


def test_the_map_ends_at_the_picture_and_never_exceeds_one():
    count = 40
    points = Points(
        kinds=np.zeros(count, np.intp), confidences=np.ones(count, np.float32),
        xy=np.tile(np.array([[1.0, 1.0]], np.float32), (count, 1)), sizes=np.full(count, 6, np.float32),
    )
    fine = FineMap(points, SIZE)
    outside = np.array([[-5, 1], [1, -5], [WIDTH + 40, 1], [1, HEIGHT + 40]], np.float32)
    assert (fine.at(np.zeros(4, np.intp), outside) == 0).all()
    assert fine.at(np.zeros(1, np.intp), points.xy[:1]) == 1


def test_the_map_without_any_cell_is_zero():
    points, _, _ = read_fields(fields([]), SIZE)
    assert (FineMap(points, SIZE).at(np.zeros(2, np.intp), np.zeros((2, 2), np.float32)) == 0).all()


@pytest.mark.parametrize("layout", ["0.13", "0.12"])
def test_vectors_are_those_of_plain_loops_over_cells(layout):
    outputs = fields([standing(60, 80, 100, 340)], layout=layout)
    points, pairs, stride = read_fields(outputs, SIZE)
    assert stride == STRIDE
    cif, caf = outputs["cif"][0], outputs["caf"][0]
    c, x = (1, 2) if layout == "0.13" else (0, 1)
    wanted = [
        (k, cif[k, c, i, j], cif[k, x, i, j] * stride + 0.5, cif[k, x + 1, i, j] * stride + 0.5, cif[k, 4, i, j] * stride)
        for k in range(17) for i in range(cif.shape[2]) for j in range(cif.shape[3]) if cif[k, c, i, j] >= NOISE
    ]  # fmt: skip
    got = np.column_stack([points.kinds, points.confidences, points.xy, points.sizes])
    np.testing.assert_allclose(got, np.array(wanted), rtol=1e-5)
    ends = [
        (f, caf[f, c, i, j], *(caf[f, x : x + 4, i, j] * stride + 0.5), *(caf[f, -2:, i, j] * stride))
        for f in range(19) for i in range(caf.shape[2]) for j in range(caf.shape[3]) if caf[f, c, i, j] >= NOISE
    ]  # fmt: skip
    got = np.column_stack([pairs.fields, pairs.confidences, pairs.ends.reshape(-1, 4), pairs.sizes])
    np.testing.assert_allclose(got, np.array(ends), rtol=1e-5)


def test_association_scores_are_those_of_plain_loops():
    points, pairs, _ = read_fields(people(), SIZE)
    fine = FineMap(points, SIZE)
    network = score_links(pairs, fine)
    for field, (a, b) in enumerate(SKELETON):
        for near, far, start, end in ((0, 1, a, b), (1, 0, b, a)):
            wanted = []
            for i in np.flatnonzero(pairs.fields == field):
                score = pairs.confidences[i] * fine.at(np.array([end]), pairs.ends[i : i + 1, far])[0]
                if score >= LINK_MIN:
                    wanted.append((*pairs.ends[i, near], *pairs.ends[i, far], pairs.sizes[i, far], score))
            links = network[start][end]
            got = np.column_stack([links.from_x, links.from_y, links.ends])
            np.testing.assert_allclose(got, np.array(wanted).reshape(-1, 6), rtol=1e-5)


def loop_follow(links: Links, joint: Joint, least_px: float) -> tuple[float, float] | None:
    width = max(joint.size, least_px)
    best, fits = -1, []
    for i, (_, _, _, score) in enumerate(links.ends):
        square = (links.from_x[i] - joint.x) ** 2 + (links.from_y[i] - joint.y) ** 2
        fits.append(score * np.exp(-square / (2 * width**2)) if square < (2 * width) ** 2 else 0.0)
        if fits[i] > 0 and (best < 0 or fits[i] > fits[best]):
            best = i
    if best < 0:
        return None
    best_x, best_y, size, _ = links.ends[best]
    x = y = total = 0.0
    for fit, (to_x, to_y, _, _) in zip(fits, links.ends, strict=True):
        if np.hypot(to_x - best_x, to_y - best_y) <= max(size, least_px):
            x, y, total = x + fit * to_x, y + fit * to_y, total + fit
    return x / total, y / total


def test_following_an_association_is_that_of_plain_loops():
    points, pairs, stride = read_fields(people(), SIZE)
    network = score_links(pairs, FineMap(points, SIZE))
    reached = 0
    for start, ends in network.items():
        own = np.flatnonzero(points.kinds == start)[::7]
        for links in ends.values():
            for i in own:
                joint = Joint(float(points.xy[i, 0]), float(points.xy[i, 1]), float(points.sizes[i]), 0.9)
                got, wanted = follow(links, joint, stride / 2), loop_follow(links, joint, stride / 2)
                if got is not None:
                    reached += 1
                    assert wanted is not None
                    assert (got.x, got.y) == pytest.approx(wanted, abs=1e-2)
                assert wanted is not None or got is None
    assert reached > 50


def test_strides_are_told_from_the_sizes():
    assert stride_of((641, 481), (81, 61)) == 8
    assert stride_of((641, 481), (41, 31)) == 16
    assert stride_of((640, 480), (79, 59)) == 8  # an even input loses its last cells in the upsampling
    assert stride_of((129, 97), (17, 13)) == 8
    assert stride_of((129, 97), (9, 7)) == 16
