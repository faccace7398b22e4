"""Replays the console blocks of a Markdown file: every ``$`` line is run, what follows is what it must print.

``…`` stands for anything within a line, and a line that is only ``…`` for any number of lines.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Exchange:
    """One command and what it must print."""

    line: int
    command: str
    expected: tuple[str, ...]


def exchanges(path: Path) -> Iterator[Exchange]:
    """The commands of a Markdown file's console blocks, in order."""
    text = path.read_text()
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        command, start = "", 0
        expected: list[str] = []
        for number, line in enumerate(block.group(1).splitlines(), start=first):
            if line.startswith("$ "):
                if command:
                    yield Exchange(start, command, tuple(expected))
                command, expected, start = line[2:], [], number
            elif command:
                expected.append(line)
        if command:
            yield Exchange(start, command, tuple(expected))


def pattern(expected: tuple[str, ...], *, facility: str = "lab") -> re.Pattern[str]:
    """What the printed text must match; the word ``lab`` may also be the name of the facility that stands in for it."""
    parts = []
    for line in expected:
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            pieces = (re.sub(r"(?:\\? )+", " +", re.escape(piece)) for piece in line.rstrip().split("…"))
            text = r"[^\n]*?".join(pieces) + r"[ ]*\n"
            either = f"(?:lab|{re.escape(facility)})"
            parts.append(re.sub(r"\blab\b", either.replace("\\", r"\\"), text))
    return re.compile("".join(parts))


def replay(exchange: Exchange, *, folder: Path, environment: Mapping[str, str], facility: str = "lab") -> str:
    """Run the command on that facility and return what it printed on both streams, in order.

    Raises:
        AssertionError: it printed something else.
    """
    done = subprocess.run(
        ["bash", "-c", exchange.command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    wanted = pattern(exchange.expected, facility=facility)
    assert wanted.fullmatch(done.stdout), (
        f"README line {exchange.line}: $ {exchange.command}\nprinted (status {done.returncode}):\n{done.stdout}\n"
        f"but the README says:\n" + "\n".join(exchange.expected)
    )
    return done.stdout
