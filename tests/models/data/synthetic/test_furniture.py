from __future__ import annotations

import numpy as np
import pytest

from models.data.synthetic import furniture


def normals(solid: furniture.Solid) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    a, b, c = (solid.vertices[solid.faces[:, k]] for k in range(3))
    crossed = np.cross(b - a, c - a)
    return np.asarray(crossed / np.linalg.norm(crossed, axis=1, keepdims=True))


def test_a_box_is_closed_and_its_faces_look_outward() -> None:
    solid = furniture.box(np.array([1.0, -2.0, 0.0]), np.array([2.0, 1.0, 0.5]), np.array([0.1, 0.2, 0.3]))
    a, b, c = (solid.vertices[solid.faces[:, k]] for k in range(3))
    volume = float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)
    assert volume == pytest.approx(1.0 * 3.0 * 0.5)
    assert np.allclose(normals(solid), solid.normals)
    assert solid.vertices.min(axis=0).tolist() == [1.0, -2.0, 0.0]


def test_turned_furniture_keeps_its_normals_and_its_height() -> None:
    solid = furniture.table(np.random.default_rng(0))
    turned = furniture.moved(solid, 1.0, 2.0, 37.0)
    assert np.allclose(normals(turned), turned.normals)
    assert np.allclose(turned.vertices[:, 2], solid.vertices[:, 2])
    assert turned.vertices[:, :2].mean(axis=0) == pytest.approx(solid.vertices[:, :2].mean(axis=0) @ rotation(37.0).T + (1, 2))


def rotation(degrees: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


@pytest.mark.parametrize("top_m", [0.12, 0.45])
def test_a_seat_ends_under_the_knees_and_has_its_height(top_m: float) -> None:
    for seed in range(20):
        seat = furniture.seat(np.random.default_rng(seed), top_m, 0.2)
        surface = np.abs(seat.vertices[:, 2] - top_m) < 1e-9
        assert seat.vertices[surface, 0].max() == pytest.approx(0.2)
        assert seat.vertices[:, 2].min() >= 0.0


def test_a_bed_reaches_under_the_whole_person() -> None:
    low, high = np.array([-1.0, -0.5]), np.array([0.8, 0.6])
    bed = furniture.bed(np.random.default_rng(1), low, high, 0.5)
    assert (bed.vertices[:, :2].min(axis=0) < low).all()
    assert (bed.vertices[:, :2].max(axis=0) > high).all()
    assert bed.vertices[:, 2].max() == 0.5


def test_clutter_keeps_clear_of_people_and_of_itself() -> None:
    taken = [(np.array([-0.5, -0.5]), np.array([0.5, 0.5]))]
    pieces = furniture.clutter(np.random.default_rng(2), taken, 8)
    assert len(pieces) >= 3
    assert len(taken) == 1 + len(pieces)
    for i, (low, high) in enumerate(taken):
        for other_low, other_high in taken[i + 1 :]:
            assert (low > other_high).any() or (high < other_low).any()
