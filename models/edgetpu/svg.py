"""A drawing as SVG text; each box tells its operator, tensor and reason when pointed at."""

from __future__ import annotations

from xml.sax.saxutils import escape

from models.edgetpu.drawing import COLOURS, Drawing, Line, Look, Node
from models.edgetpu.layout import BOX_HEIGHT, BOX_WIDTH, MARGIN

_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
DASHES: dict[Look, str] = {"placed": "", "doubtful": "", "stranded": "4 3", "off": ""}


def to_svg(drawing: Drawing) -> str:
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{drawing.width:.0f}' height='{drawing.height:.0f}' "
        f"viewBox='0 0 {drawing.width:.0f} {drawing.height:.0f}' {_FONT}>",
        "<rect width='100%' height='100%' fill='#ffffff'/>",
        _text(MARGIN, 28, drawing.title, 15, "bold"),
    ]
    for number, (kind, meaning) in enumerate(drawing.legend):
        y = 40 + 20 * number
        parts.append(_box(MARGIN, y, 24, 13, kind) + _text(MARGIN + 32, y + 11, meaning, 12))
    parts += [_line(line) for line in drawing.lines]
    parts += [_node(node) for node in drawing.nodes]
    return "\n".join([*parts, "</svg>\n"])


def _node(node: Node) -> str:
    middle = node.x + BOX_WIDTH / 2
    return (
        f"<g><title>{escape(node.tip)}</title>{_box(node.x, node.y, BOX_WIDTH, BOX_HEIGHT, node.look)}"
        + _text(middle, node.y + 15, node.title, _fitting(node.title, 11.5, 0.72), "bold", "middle")
        + _text(middle, node.y + 28, node.detail, _fitting(node.detail, 10, 0.62), "normal", "middle")
        + "</g>"
    )


def _fitting(text: str, size: float, width: float) -> float:
    """The font size at which a text fits its box; width: of a character, in parts of the size."""
    return round(min(size, (BOX_WIDTH - 10) / (width * max(len(text), 1))), 2)


def _box(x: float, y: float, width: float, height: float, look: Look) -> str:
    fill, border = COLOURS[look]
    dash = f" stroke-dasharray='{DASHES[look]}'" if DASHES[look] else ""
    thick = 2.4 if look == "off" else 1.4
    return (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width}' height='{height}' rx='4' fill='{fill}' stroke='{border}' "
        f"stroke-width='{thick}'{dash}/>"
    )


def _line(line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
    drawn = f"<polyline points='{points}' fill='none' stroke='#7a8493' stroke-width='1.2'/>"
    if line.label:
        x, y = line.points[-1] if line.label.startswith("to") else line.points[0]
        drawn += _text(x + 5, y + (4 if line.label.startswith("to") else 2), line.label, 9.5, halo=True)
    return drawn


def _text(x: float, y: float, text: str, size: float, weight: str = "normal", anchor: str = "start", halo: bool = False) -> str:
    white = " paint-order='stroke' stroke='#ffffff' stroke-width='3'" if halo else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' "
        f"fill='#1a1f27'{white}>{escape(text)}</text>"
    )
