"""A plan as a picture: a column for each wave, a box for each folded line, an arrow for what needs what (SVG 1.1)."""

from collections.abc import Sequence

from pachon.plan.document import Plan, Risk
from pachon.plan.drawing import BOX_HEIGHT, BOX_WIDTH, GAP_X, GAP_Y, MARGIN, TOP, arrow, box, document
from pachon.plan.folding import Line, deferrals_of, header, lines_of, named

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
    parts += [arrow(boxes[start], boxes[end]) for start, end in _edges(plan, lines)]
    parts += [
        box(boxes[place], (line.what, f"{line.site}: {line.where}", line.why_risk or line.risk), COLOURS[line.risk])
        for place, line in enumerate(lines)
    ]
    x = MARGIN + len(columns) * (BOX_WIDTH + GAP_X)
    deferrals = deferrals_of(plan)
    if deferrals:
        parts.append(f'<text x="{x}" y="{TOP - 10}" class="head">deferred</text>')
    for row, each in enumerate(deferrals):
        told = (
            f"{each.what}, at most {each.risk}",
            f"{each.site}: {named(each.hosts) or 'the cluster'}",
            "once their hosts stand" if each.hosts else "once it can be asked",
        )
        parts.append(box((x, TOP + row * (BOX_HEIGHT + GAP_Y)), told, "#ffffff", dashed=True))
    width = MARGIN * 2 + max(1, len(columns) + bool(deferrals)) * (BOX_WIDTH + GAP_X)
    rows = max([len(column) for column in columns] + [len(deferrals), 1])
    height = TOP + rows * (BOX_HEIGHT + GAP_Y) + MARGIN
    return document(width, height, header(plan), parts)


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
