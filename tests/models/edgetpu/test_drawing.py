"""The drawing: its layout, its SVG and its PNG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from models.edgetpu.drawing import COLOURS, Drawing, draw
from models.edgetpu.layout import BOX_HEIGHT, BOX_WIDTH, MAX_ROWS, Box, lay_out
from models.edgetpu.placement import check_tflite
from models.edgetpu.png import to_picture
from models.edgetpu.svg import to_svg
from tests.models.edgetpu.build import Net

SVG = "{http://www.w3.org/2000/svg}"


def overlapping(boxes: list[Box]) -> list[tuple[int, int]]:
    return [
        (one.node, two.node)
        for index, one in enumerate(boxes)
        for two in boxes[index + 1 :]
        if abs(one.x - two.x) < BOX_WIDTH and abs(one.y - two.y) < BOX_HEIGHT
    ]


def test_a_chain_is_a_straight_column() -> None:
    sheet = lay_out(5, [(0, 1), (1, 2), (2, 3), (3, 4)])
    assert len({box.x for box in sheet.boxes.values()}) == 1
    assert [sheet.boxes[node].y for node in range(5)] == sorted(box.y for box in sheet.boxes.values())


def test_branches_lie_side_by_side_and_meet_below() -> None:
    sheet = lay_out(4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    one, two = sheet.boxes[1], sheet.boxes[2]
    assert one.y == two.y
    assert abs(one.x - two.x) >= BOX_WIDTH
    assert sheet.boxes[0].x == sheet.boxes[3].x == pytest.approx((one.x + two.x) / 2)


def test_what_is_read_late_only_lies_just_above_its_reader() -> None:
    sheet = lay_out(5, [(0, 1), (1, 2), (2, 4), (3, 4)])
    assert sheet.boxes[3].y == sheet.boxes[2].y


@pytest.mark.parametrize("seed", range(6))
def test_boxes_never_overlap_and_lines_go_down(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    edges = sorted({(int(numbers.integers(max(0, end - 6), end)), end) for end in range(1, 90) for _ in range(2)})
    sheet = lay_out(90, edges)
    assert overlapping(list(sheet.boxes.values())) == []
    for start, end in edges:
        one, two = sheet.boxes[start], sheet.boxes[end]
        assert (one.column, one.y) < (two.column, two.y)
    for box in sheet.boxes.values():
        assert 0 <= box.x <= sheet.width - BOX_WIDTH
        assert 0 <= box.y <= sheet.height - BOX_HEIGHT


def test_a_long_network_is_cut_into_columns() -> None:
    count = 2 * MAX_ROWS + 3
    sheet = lay_out(count, [(node, node + 1) for node in range(count - 1)])
    assert [sheet.boxes[node].column for node in (0, MAX_ROWS - 1, MAX_ROWS, count - 1)] == [0, 0, 1, 2]
    assert sheet.height < (MAX_ROWS + 3) * 60
    assert overlapping(list(sheet.boxes.values())) == []


def test_nothing_is_drawn_of_nothing() -> None:
    assert lay_out(0, []).boxes == {}


@pytest.fixture
def drawing(tmp_path: Path) -> Drawing:
    """Placed, doubtful, off and stranded operators, one of each."""
    net = Net()
    last = net.transposed(net.conv(net.input([1, 8, 8, 3]), 4, name="<stem> & head"), 4)
    net.conv(net.unary("LEAKY_RELU", last), 2)
    return draw(check_tflite(net.write(tmp_path / "four.tflite")))


def test_each_box_has_the_look_of_its_placement(drawing: Drawing) -> None:
    assert [node.look for node in drawing.nodes] == ["placed", "doubtful", "off", "stranded"]
    assert [kind for kind, _ in drawing.legend] == ["placed", "doubtful", "stranded", "off"]
    assert drawing.title == "four.tflite: 2 of 4 operators on the Edge TPU"
    assert drawing.nodes[2].detail == "1x16x16x4 int8: not supported"


def test_the_svg_is_well_formed_and_names_every_operator(drawing: Drawing) -> None:
    root = ElementTree.fromstring(to_svg(drawing))
    texts = [item.text for item in root.iter(f"{SVG}text")]
    assert [f"{node.title}" in texts for node in drawing.nodes] == [True] * 4
    titles = [item.text or "" for item in root.iter(f"{SVG}title")]
    assert "<stem> & head" in titles[0]
    fills = {item.get("fill") for item in root.iter(f"{SVG}rect")}
    assert fills >= {COLOURS[look][0] for look, _ in drawing.legend}
    assert len(list(root.iter(f"{SVG}polyline"))) == 3


def test_the_png_shows_each_box_in_its_colour(drawing: Drawing) -> None:
    picture = to_picture(drawing)
    scale = picture.shape[1] / drawing.width
    for node in drawing.nodes:
        colour = picture[round((node.y + BOX_HEIGHT - 4) * scale), round((node.x + 6) * scale)]
        wanted = COLOURS[node.look][0]
        assert [int(wanted[start : start + 2], 16) for start in (5, 3, 1)] == colour.tolist()
    outside = picture[round(drawing.nodes[0].y * scale) :, : round((drawing.nodes[0].x - 3) * scale)]
    assert (outside == 255).all()


def test_text_in_the_png_stays_in_its_box(tmp_path: Path) -> None:
    """Beside a box nothing dark is written, even with a long name in it."""
    net = Net()
    net.resize(net.input([1, 128, 128, 256]), 2, "RESIZE_NEAREST_NEIGHBOR")
    net.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [net.inputs[0]], [1, 1000, 1000, 100], dtype="FLOAT32")
    drawing = draw(check_tflite(net.write(tmp_path / "long.tflite")))
    picture = to_picture(drawing).min(axis=2)
    scale = picture.shape[1] / drawing.width
    for node in drawing.nodes:
        top, bottom = round((node.y + 4) * scale), round((node.y + BOX_HEIGHT - 4) * scale)
        right = picture[top:bottom, round((node.x + BOX_WIDTH + 3) * scale) : round((node.x + BOX_WIDTH + 12) * scale)]
        left = picture[top:bottom, round((node.x - 12) * scale) : round((node.x - 3) * scale)]
        assert min(left.min(), right.min()) > 200


def test_a_real_network_of_157_operators_is_drawn(kit: Path) -> None:
    found = draw(check_tflite(kit / "models" / "coral" / "movenet_single_pose_lightning_ptq.tflite"))
    assert len(found.nodes) == 157
    assert found.height < 3000
    assert found.width < 3000
    labels = [line.label for line in found.lines if line.label]
    assert all(text.startswith(("to ", "from ")) for text in labels)
    assert to_picture(found).shape[0] > 4000


def test_a_huge_network_is_drawn_smaller(kit: Path) -> None:
    found = draw(check_tflite(kit / "models" / "det" / "yolox_nano_float16_quantize.tflite"))
    height, width, _ = to_picture(found).shape
    assert height * width <= 61_000_000
