"""What a command answers: one value, shown as text for people or as JSON for programs.

Text and JSON come from the same value; data goes to stdout, talk to stderr.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pachon.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_COLUMNS = 80
"""Width of text that goes to a file or a pipe."""


@dataclass(frozen=True)
class Table:
    """Rows under headings; the columns named in ``folds`` are broken over lines when the screen is narrow."""

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    folds: Sequence[str] = ()
    title: str = ""
    empty: str = "none"
    """What is said in place of a table without rows."""


Part = str | Table
"""A piece of text: lines as they are, or a table."""


@dataclass(frozen=True)
class Answer:
    """The outcome of a command."""

    value: object
    """Anything pydantic can write as JSON: models, data classes, lists, mappings."""
    text: Sequence[Part] = ()
    exit_code: int = ExitCode.DONE
    """Of section 6 of the architecture, except where another program's status is handed on."""
    talk: Sequence[str] = field(default=())
    """For people only: hints that are no facts; goes to stderr."""


def facts(pairs: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    """Lines of ``name  value``, the values under one another."""
    listed = list(pairs.items() if isinstance(pairs, Mapping) else pairs)
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join(f"{name:<{width}}  {cell(value)}" for name, value in listed)


def cell(value: object) -> str:
    """A value as it stands in a table: lists by commas, nothing as a dash."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return str(value)
        case Iterable():
            return ", ".join(cell(item) for item in value) or "-"
        case _:
            return str(value)


def show(answer: Answer, *, as_json: bool) -> None:
    """Print the answer: the value as JSON, or its text."""
    if as_json:
        sys.stdout.write(as_json_text(answer.value) + "\n")
    else:
        write_text(answer.text)
        for line in answer.talk:
            sys.stderr.write(f"{line}\n")
    sys.stdout.flush()


def as_json_text(value: object) -> str:
    """The value as JSON: indented for a terminal, on one line otherwise."""
    from pydantic_core import to_jsonable_python

    indent = 2 if sys.stdout.isatty() else None
    return json.dumps(to_jsonable_python(value, by_alias=True), indent=indent, ensure_ascii=False)


def write_text(parts: Sequence[Part]) -> None:
    """Write lines and tables to stdout; tables are plain aligned columns, in colour only on a terminal."""
    screen = console() if any(isinstance(part, Table) and part.rows for part in parts) else None
    for part in parts:
        match part:
            case str():
                sys.stdout.write(f"{part}\n")
            case Table() if screen is not None and part.rows:
                sys.stdout.flush()
                draw(part, screen)
            case Table():
                sys.stdout.write(f"{part.title + ': ' if part.title else ''}{part.empty}\n")


def draw(table: Table, screen: "Console") -> None:
    """Draw a table on the screen."""
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for heading in table.headings:
        numeric = bool(table.rows) and all(_is_number(row[table.headings.index(heading)]) for row in table.rows)
        drawn.add_column(
            Text(heading.upper()),
            no_wrap=heading not in table.folds,
            overflow="fold",
            justify="right" if numeric else "left",
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell(value)) for value in row))
    if table.title:
        screen.print(Text(table.title, style="bold"))
    with screen.capture() as captured:
        screen.print(drawn)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def console() -> "Console":
    """The screen for tables: coloured on a terminal, and plain in a pipe, with NO_COLOR or on a dumb terminal."""
    from rich.console import Console

    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = None if sys.stdout.isatty() else WIDTH_COLUMNS
    return Console(
        file=sys.stdout,
        width=width,
        force_terminal=coloured,
        color_system="auto" if coloured else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
