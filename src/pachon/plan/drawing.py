"""Boxes in columns with arrows between them, as SVG 1.1: what pictures of plans and of orders are made of."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

BOX_WIDTH, BOX_HEIGHT = 250, 58
GAP_X, GAP_Y = 70, 16
MARGIN, TOP = 20, 64
LETTERS = 38
"""So many fit into a box."""


def box(at: tuple[int, int], told: Sequence[str], colour: str, *, dashed: bool = False) -> str:
    """A box with its upper left corner there, and three lines in it."""
    x, y = at
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    rows = [f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{colour}"{dash}/>']
    for number, text in enumerate(told):
        shown = text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
        style = "strong" if number == 0 else "plain"
        rows.append(
            f'<text x="{x + 8}" y="{y + 18 + number * 16}" class="{style}">{escape(shown)}'
            f"<title>{escape(text)}</title></text>"
        )
    return "".join(rows)


def arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """An arrow from the box with its corner at the first place to that at the second."""
    x1, y1 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2
    x2, y2 = end[0], end[1] + BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2 - 6} {y2}" class="arrow" marker-end="url(#tip)"/>'


def document(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """The whole picture."""
    style = (
        "text{font-family:sans-serif;font-size:12px;fill:#222}.head{font-weight:bold;fill:#666}"
        ".title{font-size:15px;font-weight:bold}.strong{font-weight:bold}.plain{fill:#444;font-size:11px}"
        "rect{stroke:#888}.arrow{fill:none;stroke:#999}"
    )
    tip = (
        '<marker id="tip" markerWidth="8" markerHeight="8" refX="2" refY="3" orient="auto">'
        '<path d="M0 0 L6 3 L0 6 z" fill="#999"/></marker>'
    )
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f"<title>{escape(title)}</title><style>{style}</style><defs>{tip}</defs>",
            f'<text x="{MARGIN}" y="26" class="title">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )
