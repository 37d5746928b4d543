"""Each person goes to the cells that find it best, and nobody is shared, forgotten or made up."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.tinydet.assign import FORBIDDEN, assign, choose, costs, inside, pairwise_iou  # noqa: E402

NOBODY = torch.zeros(0, 4)
# Four cells of 8 pixels in a row; the first two have perfect boxes of the person, the third half of it, the fourth none.
POINTS = torch.tensor([[8.0, 8.0], [16.0, 8.0], [24.0, 8.0], [60.0, 8.0]])
STRIDES = torch.full((4,), 8.0)
PERSON = torch.tensor([[4.0, 4.0, 36.0, 20.0]])
BOXES = torch.tensor([[4.0, 4, 36, 20], [4, 4, 36, 20], [4, 4, 20, 20], [56, 4, 72, 20]])


def test_iou_by_hand() -> None:
    a = torch.tensor([[0.0, 0, 10, 10], [5.0, 5, 5, 5]])
    b = torch.tensor([[5.0, 0, 15, 10], [20.0, 20, 30, 30]])
    torch.testing.assert_close(pairwise_iou(a, b), torch.tensor([[1 / 3, 0.0], [0.0, 0.0]]))


def test_a_point_on_the_left_side_is_inside_and_one_on_the_right_is_not() -> None:
    points = torch.tensor([[4.0, 10.0], [36.0, 10.0], [20.0, 10.0]])
    assert inside(points, PERSON)[:, 0].tolist() == [True, False, True]


def test_cells_with_good_boxes_get_the_person_as_many_as_overlaps_add_up_to() -> None:
    found = assign(torch.zeros(4), BOXES, POINTS, STRIDES, PERSON, NOBODY)
    assert found.person.tolist() == [0, 0, -1, -1]  # 1 + 1 + 0.5 + 0: two cells
    assert found.iou.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert found.counted.all()


def test_of_two_equal_boxes_the_surer_cell_wins() -> None:
    bad = torch.tensor([[4.0, 4, 24, 20]]).expand(4, 4)  # IoU 0.625 in every cell, so 2 cells
    found = assign(torch.tensor([-4.0, 0.5, 0.5, 0.5]), bad, POINTS, STRIDES, PERSON, NOBODY)
    assert found.person.tolist() == [-1, 0, 0, -1]


def test_at_least_one_cell_gets_a_person_whom_no_box_overlaps() -> None:
    far = torch.tensor([[100.0, 100, 110, 110]]).expand(4, 4)
    found = assign(torch.zeros(4), far, POINTS, STRIDES, PERSON, NOBODY)
    assert (found.person == 0).sum() == 1
    assert found.iou.sum() == 0


def test_a_cell_outside_never_gets_the_person_however_good_its_box() -> None:
    found = assign(torch.zeros(4), PERSON.expand(4, 4), POINTS, STRIDES, PERSON, NOBODY)
    assert found.person.tolist() == [0, 0, 0, -1]


def test_a_cell_that_two_people_want_goes_to_the_one_it_fits() -> None:
    people = torch.tensor([[4.0, 4, 36, 20], [4.0, 4, 36, 28]])
    cost = costs(torch.zeros(1), pairwise_iou(people[1:], people), POINTS[1:2], STRIDES[:1], people)
    chosen = choose(cost, pairwise_iou(people[1:], people))
    assert chosen.tolist() == [[False, True]]


def test_a_box_without_a_point_in_it_is_nobodys_miss() -> None:
    speck = torch.tensor([[9.0, 9.0, 12.0, 12.0]])
    found = assign(torch.zeros(4), BOXES, POINTS, STRIDES, speck, NOBODY)
    assert (found.person == -1).all()
    assert found.counted.all()


def test_cells_in_an_ignored_box_do_not_count_unless_they_lie_in_a_person() -> None:
    unsure = torch.tensor([[0.0, 0.0, 80.0, 40.0]])
    assert not assign(torch.zeros(4), BOXES, POINTS, STRIDES, NOBODY, unsure).counted.any()
    found = assign(torch.zeros(4), BOXES, POINTS, STRIDES, PERSON, unsure)
    assert found.counted.tolist() == [True, True, True, False]  # the third is a miss: it has no person, but lies in one


def test_with_nobody_all_cells_are_background() -> None:
    found = assign(torch.zeros(4), BOXES, POINTS, STRIDES, NOBODY, NOBODY)
    assert (found.person == -1).all()
    assert found.counted.all()


def test_cells_near_the_middle_are_cheaper_than_those_at_the_edge() -> None:
    person = torch.tensor([[0.0, 0.0, 160.0, 16.0]])
    points = torch.tensor([[80.0, 8.0], [152.0, 8.0], [170.0, 8.0]])
    cost = costs(torch.zeros(3), torch.full((3, 1), 0.5), points, torch.full((3,), 8.0), person)[:, 0]
    assert cost[0] < cost[1] < cost[2] == FORBIDDEN
