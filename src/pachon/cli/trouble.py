"""How errors are told: ``error: message`` with the cure under it, or one JSON value; never a traceback."""

import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from pachon.cli.answer import as_json_text
from pachon.errors import DefinitionError, PachonError, PartialError
from pachon.places import state

COMPLAINTS_SHOWN = 200


def show_error(error: PachonError, *, as_json: bool) -> None:
    """Tell of the error: as a JSON value on stdout, or for people on stderr."""
    if as_json:
        sys.stdout.write(as_json_text(described(error)) + "\n")
        return
    sys.stdout.flush()
    sys.stderr.write("\n".join(lines(error)) + "\n")


def described(error: PachonError) -> dict[str, object]:
    """The error as a JSON object."""
    value: dict[str, object] = {"error": error.message, "cure": error.cure, "exit_code": int(error.exit_code)}
    match error:
        case DefinitionError():
            value["complaints"] = error.complaints
        case PartialError():
            value["failures"] = [{"address": address, **described(part)} for address, part in error.failures]
    return value


def lines(error: PachonError) -> list[str]:
    """The error as people read it."""
    told = [f"error: {error.message}"]
    match error:
        case DefinitionError():
            told = [str(complaint) for complaint in error.complaints[:COMPLAINTS_SHOWN]]
            if len(error.complaints) > COMPLAINTS_SHOWN:
                told.append(f"… and {len(error.complaints) - COMPLAINTS_SHOWN} more; --json names all")
            told.append(f"error: {error.message}")
        case PartialError():
            for address, part in error.failures:
                told.append(f"  {address}: {part.message}")
                told.extend(_indented(part.cure, "    "))
    return told + _indented(error.cure, "  ")


def crash(error: Exception, facility: str) -> PachonError:
    """The error to show for one that nobody foresaw; its trace is kept in a file."""
    text = "".join(traceback.format_exception(error))
    first = next(iter(str(error).splitlines()), "")
    return PachonError(
        f"unexpected {type(error).__name__}{': ' + first if first else ''}",
        cure=f"this is a fault of pachon; the trace is in {_keep(text, facility)}",
    )


def _keep(text: str, facility: str) -> Path:
    name = f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    folder = state(facility)
    if "/" not in facility and folder.is_dir():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path
    with tempfile.NamedTemporaryFile("w", prefix="pachon-", suffix=f"-{name}", delete=False) as file:
        file.write(text)
    return Path(file.name)


def _indented(text: str, indent: str) -> list[str]:
    return [f"{indent}{line}" for line in text.splitlines()]
