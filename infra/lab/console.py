"""The serial console of a machine: a file that only grows at its end, and is turned over when it is large."""

import contextlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

CONSOLE_FILE = "console.log"
MAX_BYTES = 4 << 20
"""Beyond this the file becomes ``console.log.1`` and starts anew."""


def path(folder: Path) -> Path:
    """The console of the machine in this folder."""
    return folder / CONSOLE_FILE


def open_to_write(folder: Path) -> int:
    """A descriptor that appends to the console, for a program to write to."""
    return os.open(path(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def say(folder: Path, text: str) -> None:
    """Write a line of the firmware's to the console."""
    handle = open_to_write(folder)
    try:
        os.write(handle, f"[{datetime.now(UTC):%H:%M:%S} firmware] {text}\r\n".encode())
    finally:
        os.close(handle)


def turn_over(folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Keep the console small.

    Its writers hold it open, so it is copied and cut: a line written meanwhile may be lost.
    """
    console = path(folder)
    with contextlib.suppress(FileNotFoundError):
        if console.stat().st_size > max_bytes:
            shutil.copyfile(console, console.with_suffix(".log.1"))
            os.truncate(console, 0)


def tail(folder: Path, lines: int) -> list[str]:
    """The last lines of the console; none if the machine never ran."""
    try:
        with path(folder).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 400 * lines))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.replace("\r", "").splitlines()[-lines:]
