"""Hands on what the provider tells while the engine runs it: lines that are added to a file."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

from pachon.progress import Event, Progress

FOLLOW_SECONDS = 0.1


async def follow(path: Path, stage: str, progress: Progress) -> None:
    """Hand on each event that is added to the file, until cancelled; then what is left of it.

    All belong to the stack's stage: the provider knows families only, and a switch is a host of the network stack.
    """
    position = 0

    def read() -> None:
        nonlocal position
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                position += len(line)
                progress(Event(**{**json.loads(line), "stage": stage}))

    try:
        while True:
            read()
            await asyncio.sleep(FOLLOW_SECONDS)
    finally:
        read()
