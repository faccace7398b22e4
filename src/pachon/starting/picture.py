"""An order as a picture: a column for each wave, a box for each service at a place, arrows from what it waits for."""

from pachon.plan.drawing import BOX_HEIGHT, BOX_WIDTH, GAP_X, GAP_Y, MARGIN, TOP, arrow, box, document
from pachon.starting.order import Order, Start

COLOUR = "#dff3e3"
ELSEWHERE = "#fff3cd"
"""Of who waits for another site."""


def picture(order: Order) -> str:
    """The picture (SVG)."""
    boxes: dict[str, tuple[int, int]] = {}
    parts: list[str] = []
    for number, wave in enumerate(order.waves):
        x = MARGIN + number * (BOX_WIDTH + GAP_X)
        parts.append(f'<text x="{x}" y="{TOP - 10}" class="head">wave {number + 1}</text>')
        for row, start in enumerate(wave):
            boxes[start.address] = (x, TOP + row * (BOX_HEIGHT + GAP_Y))
    starts = [start for wave in order.waves for start in wave]
    parts += [
        arrow(boxes[wait.address], boxes[start.address])
        for start in starts
        for wait in start.waits
        if wait.address in boxes
    ]
    parts += [_box(boxes[start.address], start, stopping=order.stopping) for start in starts]
    width = MARGIN * 2 + max(1, len(order.waves)) * (BOX_WIDTH + GAP_X)
    height = TOP + max(map(len, order.waves), default=1) * (BOX_HEIGHT + GAP_Y) + MARGIN
    title = f"{order.facility}: order in which services {'stop' if order.stopping else 'start'}"
    return document(width, height, title, parts)


def _box(at: tuple[int, int], start: Start, *, stopping: bool) -> str:
    said = [f"{wait.service}/{wait.contract}" if wait.contract else wait.service for wait in start.waits]
    word = "after" if stopping else "needs"
    colour = ELSEWHERE if any(wait.other_site for wait in start.waits) else COLOUR
    waits = f"{word} {', '.join(dict.fromkeys(said))}" if said else ""
    return box(at, (start.service, f"{start.site}: {start.enclave}", waits), colour)
