"""CSV tables as typed rows, each with its line; a bad row is complained about and left out, the others stay."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from pachon.checks.spelling import did_you_mean
from pachon.definition.documents import EVERYTHING, read_text
from pachon.definition.wording import complain
from pachon.definition.written import Written
from pachon.errors import Complaint

Row = TypeVar("Row", bound=Written)


@dataclass
class Table(Generic[Row]):
    """The good rows of a table and their lines, side by side."""

    path: str
    rows: list[Row] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """First cells of the rows left out: nobody is to complain that these are not there."""
    complaints: list[Complaint] = field(default_factory=list)


@cache
def _adapter(row_type: type[Written]) -> TypeAdapter[list[Written]]:
    return TypeAdapter(list[row_type])  # type: ignore[valid-type]  # made for each of the four row types


def _columns(table: Table[Row], header: Sequence[str], row_type: type[Row]) -> bool:
    """Whether the header line is usable; complains about what is not."""
    known = list(row_type.model_fields)
    before = len(table.complaints)
    for name in dict.fromkeys(header):
        if name not in known:
            right = did_you_mean(name, known) or f"the columns are {', '.join(known)}"
            table.complaints.append(Complaint(table.path, 1, f"there is no column {name[:60]!r}", right))
        elif header.count(name) > 1:
            table.complaints.append(Complaint(table.path, 1, f"the column {name!r} stands twice", "keep one of them"))
    for name, about in row_type.model_fields.items():
        if about.is_required() and name not in header:
            right = f"add it: {about.description}".rstrip(".")
            table.complaints.append(Complaint(table.path, 1, f"the column {name!r} is missing", right))
    return len(table.complaints) == before


def _cells(table: Table[Row], text: str, row_type: type[Row]) -> tuple[list[dict[str, str]], list[int]]:
    """Rows as mappings from column to text, and their lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    raw: list[dict[str, str]] = []
    lines: list[int] = []
    header: list[str] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                if not _columns(table, header, row_type):
                    break
            elif len(cells) != len(header):
                wrong = f"{len(cells)} cells in a table of {len(header)} columns"
                table.broken.add(cells[0].strip())
                table.complaints.append(
                    Complaint(table.path, reader.line_num, wrong, "write one for each column of line 1")
                )
            else:
                raw.append(dict(zip(header, map(str.strip, cells), strict=True)))
                lines.append(reader.line_num)
    except csv.Error as error:
        wrong = f"this is not CSV: {error}"
        table.complaints.append(Complaint(table.path, reader.line_num, wrong, "mend the quotes of this row"))
        table.broken.add(EVERYTHING)
    return raw, lines


def read_table(path: Path, shown: str, row_type: type[Row]) -> Table[Row]:
    """The rows of a CSV file whose first line names the columns."""
    table: Table[Row] = Table(shown)
    text = read_text(path, shown, table.complaints)
    if text is None:
        return table
    raw, lines = _cells(table, text, row_type)
    adapter = _adapter(row_type)
    try:
        rows = adapter.validate_python(raw)
    except ValidationError as error:
        bad: set[int] = set()
        for detail in error.errors(include_url=False):
            index = int(detail["loc"][0])
            bad.add(index)
            wrong, right = complain(row_type, {**detail, "loc": detail["loc"][1:]})
            table.complaints.append(Complaint(shown, lines[index], wrong, right))
        for index in bad:
            table.broken.add(next(iter(raw[index].values())))
        lines = [line for index, line in enumerate(lines) if index not in bad]
        rows = adapter.validate_python([row for index, row in enumerate(raw) if index not in bad])
    table.rows = rows  # type: ignore[assignment]  # the adapter of row_type yields row_type
    table.lines = lines
    return table
