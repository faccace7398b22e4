"""What is said on the console, the programs that are run, and the two ways in which something fails."""

import subprocess
import sys
from collections.abc import Container
from pathlib import Path


class TroubleError(Exception):
    """The deploy is over; ``kind`` (network, disk, image) tells the boot service which cure to name."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class PassingError(Exception):
    """May be better in a moment."""


def say(text: str) -> None:
    """Put a line on the console."""
    sys.stdout.write(f"pachon-agent: {text}\n")
    sys.stdout.flush()


def run(*argv: str | Path, stdin: str = "", allowed: Container[int] = (0,)) -> str:
    """What the program printed on either stream."""
    try:
        done = subprocess.run(
            [str(word) for word in argv], input=stdin, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise TroubleError(f"the deploy image has no program {argv[0]}", "image") from None
    if done.returncode not in allowed:
        raise TroubleError(f"{argv[0]} ended with status {done.returncode}: {done.stdout.strip()[-400:]}", "disk")
    return done.stdout
