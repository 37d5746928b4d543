"""What is drawn of a placement: boxes with two lines of text, lines between them, a legend; for SVG and PNG alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.edgetpu import status
from models.edgetpu.layout import BOX_HEIGHT, BOX_WIDTH, MARGIN, Sheet, lay_out
from models.edgetpu.placement import OpPlacement, Placement

Look = Literal["placed", "doubtful", "stranded", "off"]
# Fill and border; distinguishable in grey and with the common colour deficiencies, and told by the border's style too.
COLOURS: dict[Look, tuple[str, str]] = {
    "placed": ("#cfe8d5", "#1b6e3c"),
    "doubtful": ("#fff1c2", "#8a6100"),
    "stranded": ("#dfe3ea", "#4d5a6e"),
    "off": ("#f8c9c4", "#a11b12"),
}
MEANINGS: dict[Look, str] = {
    "placed": "on the Edge TPU",
    "doubtful": "on the Edge TPU by the rules, but not to be relied on",
    "stranded": "on the CPU: supported, but after an operator that falls off",
    "off": "on the CPU: the Edge TPU cannot run it",
}
HEAD = 64  # px above the graph, for title and legend
TEXT_WIDTH = 34  # characters of a box's second line
# The reasons as they fit into a box.
BRIEFLY = {
    status.NOT_SUPPORTED: "not supported",
    status.DATA_TYPE: "data type",
    status.RANK: "rank",
    status.STRIDES: "strides",
    status.LIMITATION: "limit",
    status.UNKNOWN_VERSION: "version",
    status.UNRESOLVED: "unknown",
}


@dataclass(frozen=True)
class Node:
    """One box. title: the operator; detail: the shape of its output, and why it is off; corners in px of the picture."""

    x: float
    y: float
    title: str
    detail: str
    tip: str
    look: Look


@dataclass(frozen=True)
class Line:
    """One connection, as points. label: at the end of a connection that goes on in another column."""

    points: tuple[tuple[float, float], ...]
    label: str = ""


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    title: str
    legend: tuple[tuple[Look, str], ...]
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]


def draw(placement: Placement) -> Drawing:
    """The main subgraph of a placement as a picture."""
    ops = [op for op in placement.ops if op.subgraph == 0]
    graph = placement.model.subgraphs[0]
    edges = sorted({(graph.producer[tensor], op.index) for op in ops for tensor in op.op.inputs if tensor in graph.producer})
    sheet = lay_out(len(ops), edges)
    looks = [look(op) for op in ops]
    counts = {kind: looks.count(kind) for kind in COLOURS}
    title = f"{placement.path.name}: {placement.placed} of {placement.total} operators on the Edge TPU"
    legend = tuple((kind, f"{counts[kind]} {MEANINGS[kind]}") for kind in COLOURS if counts[kind])
    nodes = tuple(_node(op, sheet) for op in ops)
    needed = 2 * MARGIN + 8.2 * max([len(title) + 4, *(len(text) + 4 for _, text in legend)])
    head = HEAD + 20 * max(0, len(legend) - 1)
    lines = (*_lines(sheet, edges, head), *_stubs(sheet, edges, head))
    moved = tuple(Node(node.x, node.y + head, node.title, node.detail, node.tip, node.look) for node in nodes)
    return Drawing(max(sheet.width, needed), sheet.height + head, title, legend, moved, lines)


def look(op: OpPlacement) -> Look:
    if not op.placed:
        return "stranded" if op.supported else "off"
    return "doubtful" if any(warned.doubtful for warned in op.warnings) else "placed"


def _node(op: OpPlacement, sheet: Sheet) -> Node:
    box = sheet.boxes[op.index]
    shape = "x".join(map(str, op.shape)) or "scalar"
    detail = f"{shape} {op.dtype.lower()}" if op.dtype else shape
    if not op.supported:
        detail = f"{detail}: {BRIEFLY.get(op.status, 'off')}"
    tip = f"{op.index} {op.kind} {op.name}: {op.status}" + (f" ({op.reason})" if op.reason else "")
    return Node(box.x, box.y, f"{op.index} {_short(op.kind, 28)}", _short(detail, TEXT_WIDTH), tip, look(op))


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "~"


def _lines(sheet: Sheet, edges: list[tuple[int, int]], head: float) -> list[Line]:
    """Connections within a column: straight, or around the boxes in between, down along their side."""
    lines = []
    for start, end in edges:
        if sheet.boxes[start].column == sheet.boxes[end].column:
            out, into = _leaving(sheet, start, head), _entering(sheet, end, head)
            way = _free_way(sheet, start, end)
            lines.append(Line((out, into) if way is None else (out, (way, out[1] + 9), (way, into[1] - 9), into)))
    return lines


def _stubs(sheet: Sheet, edges: list[tuple[int, int]], head: float) -> list[Line]:
    """Connections to another column: a short stub at each end that names the other ends."""
    out: dict[int, list[int]] = {}
    into: dict[int, list[int]] = {}
    for start, end in edges:
        if sheet.boxes[start].column != sheet.boxes[end].column:
            out.setdefault(start, []).append(end)
            into.setdefault(end, []).append(start)
    lines = []
    for node, others in out.items():
        x, y = _leaving(sheet, node, head)
        lines.append(Line(((x, y), (x, y + 10)), f"to {_listed(others)}"))
    for node, others in into.items():
        x, y = _entering(sheet, node, head)
        lines.append(Line(((x, y - 10), (x, y)), f"from {_listed(others)}"))
    return lines


def _listed(nodes: list[int]) -> str:
    return ", ".join(map(str, nodes[:4])) + (" ..." if len(nodes) > 4 else "")


def _leaving(sheet: Sheet, node: int, head: float) -> tuple[float, float]:
    box = sheet.boxes[node]
    return box.x + BOX_WIDTH / 2, box.y + BOX_HEIGHT + head


def _entering(sheet: Sheet, node: int, head: float) -> tuple[float, float]:
    box = sheet.boxes[node]
    return box.x + BOX_WIDTH / 2, box.y + head


def _free_way(sheet: Sheet, start: int, end: int) -> float | None:
    """The x at which a line passes the boxes between two others; None where the straight line meets none."""
    one, two = sheet.boxes[start], sheet.boxes[end]
    between = [box for box in sheet.boxes.values() if box.column == one.column and one.y < box.y < two.y]

    def crossing(box_y: float) -> float:
        share = (box_y - one.y) / (two.y - one.y)
        return one.x + (two.x - one.x) * share + BOX_WIDTH / 2

    hit = [box for box in between if box.x - 4 < crossing(box.y + BOX_HEIGHT / 2) < box.x + BOX_WIDTH + 4]
    if not hit:
        return None
    sides = [max(box.x for box in hit) + BOX_WIDTH + 9, min(box.x for box in hit) - 9]
    middle = (one.x + two.x) / 2 + BOX_WIDTH / 2
    clear = [x for x in sides if not any(box.x < x < box.x + BOX_WIDTH for box in between)]
    return min(clear or sides, key=lambda x: abs(x - middle))
