from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import geometry as g
from tests.common.test_geometry import random_boxes, slow_nms

seeds = st.integers(0, 2**31)
EASY = settings(max_examples=40, deadline=None)
TURNS = (-2, -1, 0, 1, 2, 3)


@EASY
@given(seeds, st.integers(0, 40), st.integers(1, 5), st.sampled_from([0.1, 0.3, 0.6]))
def test_suppression_in_groups_equals_one_greedy_loop_for_each_group(seed, count, kinds, iou_max):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, count, 40), rng.uniform(0, 1, count).astype(np.float32)
    groups = rng.integers(0, kinds, count)
    plain: list[int] = []
    for kind in range(kinds):
        own = np.flatnonzero(groups == kind)
        plain += own[slow_nms(boxes[own], scores[own], iou_max)].tolist()
    assert g.batched_nms(boxes, scores, groups, iou_max).tolist() == sorted(plain, key=lambda i: -scores[i])


def test_equal_boxes_of_two_pictures_both_stay_however_far_out_they_are():
    boxes = np.tile(np.array([[4000.25, 10, 4001, 11]], np.float32), (4, 1))
    kept = g.batched_nms(boxes, np.array([0.5, 0.9, 0.8, 0.7], np.float32), np.array([0, 0, 10**6, 10**6]), 0.5)
    assert kept.tolist() == [1, 2]


@pytest.mark.parametrize("k", TURNS)
def test_a_bright_block_found_in_a_turned_picture_comes_back_to_the_pixel(k):
    image = np.zeros((30, 50, 3), np.uint8)
    image[7:12, 31:45] = 255
    turned = g.rotate_quarter(image, k)
    np.testing.assert_array_equal(turned, np.rot90(image, k))
    ys, xs = np.nonzero(turned[:, :, 0])
    found = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
    assert g.boxes_from_rotated(found, k, (50, 30)).tolist() == [[31, 7, 45, 12]]


@pytest.mark.parametrize("k", TURNS)
def test_points_come_back_from_a_turned_picture_exactly(k):
    """Each pixel's centre, against a loop over where np.rot90 puts that pixel."""
    height, width = 4, 7
    numbers = np.arange(height * width).reshape(height, width)
    turned = np.rot90(numbers, k)
    for y in range(turned.shape[0]):
        for x in range(turned.shape[1]):
            row, column = divmod(int(turned[y, x]), width)
            back = g.points_from_rotated(np.array([[[x + 0.5, y + 0.5]]], np.float32), k, (width, height))
            assert back.tolist() == [[[column + 0.5, row + 0.5]]]


def test_no_boxes_and_no_turn_are_fine():
    assert g.boxes_from_rotated(np.empty((0, 4), np.float32), 1, (5, 5)).shape == (0, 4)
    image = np.zeros((3, 2, 3), np.uint8)
    assert g.rotate_quarter(image, 4) is image


def test_views_merge_to_one_list_in_which_each_person_comes_once():
    upright = (np.array([[0, 0, 10, 30], [50, 0, 60, 30]], np.float32), np.array([0.4, 0.6], np.float32))
    turned = (np.array([[1, 0, 11, 30], [80, 80, 110, 90]], np.float32), np.array([0.7, 0.5], np.float32))
    boxes, scores = g.merge_views([upright, turned], 0.5)
    assert scores.tolist() == np.array([0.7, 0.6, 0.5], np.float32).tolist()
    assert boxes.tolist() == [[1, 0, 11, 30], [50, 0, 60, 30], [80, 80, 110, 90]]


@pytest.mark.parametrize("views", [[], [(np.empty((0, 4), np.float32), np.empty(0, np.float32))]])
def test_views_without_anybody_merge_to_nobody(views):
    boxes, scores = g.merge_views(views, 0.5)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))
    assert boxes.dtype == scores.dtype == np.float32
