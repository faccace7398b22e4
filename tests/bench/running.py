"""Runs the real command line for measurements, in a state folder of its own, and draws tables."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pachon.places import CHECKOUT


@dataclass(frozen=True)
class Pachon:
    """The command line on one facility."""

    facility: Path
    state: Path

    def run(self, *words: str) -> dict[str, Any]:
        """The JSON answer; what the command tells as it works goes to stderr.

        Raises:
            SystemExit: it failed.
        """
        argv = [str(Path(sys.executable).parent / "pachon"), *words, "--facility", str(self.facility), "--json"]
        environment = {**os.environ, "PACHON_STATE": str(self.state)}
        done = subprocess.run(argv, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(words)} ended with status {done.returncode}: {done.stdout[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns."""
    lines = [[str(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )
