"""Replays the transcripts beside this file: commands, what they print on stdout (``!`` for stderr), how they end.

``…`` stands for anything within a line; a line that is only ``…`` for any number of lines. ``[2]`` is the exit status
(nothing: 0). Commands are run in the checkout, with a state folder of their own; ``CASES`` is tests/cases/cli.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pachon.cli.main import run
from pachon.places import CHECKOUT

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@dataclass
class Exchange:
    line: int
    command: str
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    status: int = 0


def exchanges(path: Path) -> Iterator[Exchange]:
    current: Exchange | None = None
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.startswith("$ "):
            if current is not None:
                yield current
            current = Exchange(number, line[2:])
        elif current is None or line.startswith("#"):
            continue
        elif found := re.fullmatch(r"\[(\d+)\]", line):
            current.status = int(found.group(1))
        elif line.startswith("!"):
            current.stderr.append(line[1:].removeprefix(" "))
        else:
            current.stdout.append(line)
    if current is not None:
        yield current


def pattern(expected: list[str]) -> str:
    while expected and not expected[-1]:
        expected = expected[:-1]
    parts = [
        r"(?:[^\n]*\n)*?" if line.strip() == "…" else r"[^\n]*?".join(map(re.escape, line.rstrip().split("…"))) + r"\n"
        for line in expected
    ]
    return "".join(parts)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PACHON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PACHON_FACILITY", raising=False)
    found = list(exchanges(path))
    assert found
    for exchange in found:
        words = shlex.split(exchange.command.replace("CASES", "tests/cases/cli"))
        assert words[0] == "pachon"
        status = run(words[1:])
        printed = capsys.readouterr()
        where = f"{path.name}:{exchange.line}: {exchange.command}\n--- stdout\n{printed.out}--- stderr\n{printed.err}"
        assert re.fullmatch(pattern(exchange.stdout), printed.out), where
        assert re.fullmatch(pattern(exchange.stderr), printed.err), where
        assert status == exchange.status, where
