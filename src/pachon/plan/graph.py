"""A plan as a picture: a column for each wave, a box for each folded line, an arrow for what needs what (SVG 1.1)."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from pachon.plan.document import Plan, Risk
from pachon.plan.folding import Line, deferrals_of, header, lines_of, named

BOX_WIDTH, BOX_HEIGHT = 250, 58
GAP_X, GAP_Y = 70, 16
MARGIN, TOP = 20, 64
LETTERS = 38
"""So many fit into a box."""
COLOURS: dict[Risk, str] = {"low": "#dff3e3", "medium": "#fff3cd", "high": "#ffd8b0", "destroys": "#f8c9c9"}


def graph(plan: Plan) -> str:
    """The picture."""
    lines = lines_of(plan)
    columns = [[line for line in lines if line.wave == wave.number] for wave in plan.waves]
    boxes: dict[int, tuple[int, int]] = {}
    parts: list[str] = []
    for number, column in enumerate(columns):
        x = MARGIN + number * (BOX_WIDTH + GAP_X)
        parts.append(f'<text x="{x}" y="{TOP - 10}" class="head">wave {number + 1}</text>')
        for row, line in enumerate(column):
            boxes[lines.index(line)] = (x, TOP + row * (BOX_HEIGHT + GAP_Y))
    parts += [_arrow(boxes[start], boxes[end]) for start, end in _edges(plan, lines)]
    parts += [
        _box(boxes[place], (line.what, f"{line.site}: {line.where}", line.why_risk or line.risk), COLOURS[line.risk])
        for place, line in enumerate(lines)
    ]
    x = MARGIN + len(columns) * (BOX_WIDTH + GAP_X)
    deferrals = deferrals_of(plan)
    if deferrals:
        parts.append(f'<text x="{x}" y="{TOP - 10}" class="head">deferred</text>')
    for row, each in enumerate(deferrals):
        told = (
            f"{each.roles} roles, at most {each.risk}",
            f"{each.site}: {named(each.hosts)}",
            "once their hosts stand",
        )
        parts.append(_box((x, TOP + row * (BOX_HEIGHT + GAP_Y)), told, "#ffffff", dashed=True))
    width = MARGIN * 2 + max(1, len(columns) + bool(deferrals)) * (BOX_WIDTH + GAP_X)
    rows = max([len(column) for column in columns] + [len(deferrals), 1])
    height = TOP + rows * (BOX_HEIGHT + GAP_Y) + MARGIN
    return _document(width, height, header(plan), parts)


def _edges(plan: Plan, lines: Sequence[Line]) -> list[tuple[int, int]]:
    """Pairs of lines of which the second needs the first."""
    places: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        for address in line.addresses:
            places.setdefault(address, []).append(place)
    found: dict[tuple[int, int], None] = {}
    for wave in plan.waves:
        for action in wave.actions:
            ends = [place for place in places[action.address] if lines[place].wave == wave.number]
            for need in action.needs:
                starts = [place for place in places.get(need, ()) if lines[place].wave < wave.number]
                found.update({(start, end): None for start in starts for end in ends})
    return sorted(found)


def _box(at: tuple[int, int], told: Sequence[str], colour: str, *, dashed: bool = False) -> str:
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


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2
    x2, y2 = end[0], end[1] + BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2 - 6} {y2}" class="arrow" marker-end="url(#tip)"/>'


def _document(width: int, height: int, title: str, parts: Sequence[str]) -> str:
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
