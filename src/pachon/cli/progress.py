"""How work is watched: a live display on a terminal, else a line per event; and a file of events for programs.

Everything goes to stderr: stdout belongs to the answer.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pachon.progress import Event, Progress

if TYPE_CHECKING:
    from rich.console import RenderableType

MOVING_SHOWN = 12
"""Parts under way that the live display names; the others are counted."""
TEXT_COLUMNS = 200
"""Longest message on a line of its own."""


@contextmanager
def display(events: Path | None = None) -> Iterator[Progress]:
    """A listener for events while the block runs; safe to call from any thread."""
    with ExitStack() as stack:
        listeners: list[Progress] = []
        if sys.stderr.isatty():
            listeners.append(stack.enter_context(_live()))
        else:
            listeners.append(Lines(sys.stderr, started=time.monotonic()))
        if events is not None:
            events.parent.mkdir(parents=True, exist_ok=True)
            listeners.append(Record(stack.enter_context(events.open("a", encoding="utf-8"))))
        lock = threading.Lock()

        def tell(event: Event) -> None:
            with lock:
                for listener in listeners:
                    listener(event)

        yield tell


@dataclass
class Record:
    """Writes each event as a line of JSON with the time at which it came."""

    file: TextIO

    def __call__(self, event: Event) -> None:
        """Write the event."""
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **asdict(event)}
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.file.flush()


@dataclass
class Lines:
    """Writes a line for each event that begins or ends something, with the seconds since the start."""

    file: TextIO
    started: float

    def __call__(self, event: Event) -> None:
        """Write the event, unless it only says that something moves on."""
        if event.state == "moving":
            return
        elapsed = time.monotonic() - self.started
        self.file.write(f"{elapsed:7.1f}s  {described(event)}\n")
        self.file.flush()


def described(event: Event) -> str:
    """The event on one line: stage, address, what happened, why."""
    message = " ".join(event.message.split())[:TEXT_COLUMNS]
    words = [
        f"{event.stage:<10}",
        f"{event.state:<9}",
        event.address,
        f"({message})" if event.address and message else message,
    ]
    return " ".join(word for word in words if word).rstrip()


@dataclass
class Part:
    """A stage, or one address in it, as far as it is known."""

    state: str
    since: float
    message: str = ""
    fraction: float | None = None
    ended: float | None = None


@dataclass
class Stage:
    """All that was heard of one stage."""

    whole: Part
    parts: dict[str, Part] = field(default_factory=dict)

    def heard(self, event: Event, now: float) -> None:
        """Take in an event."""
        part = self.whole
        if event.address:
            part = self.parts.setdefault(event.address, Part(state="started", since=now))
        part.state = event.state
        part.message = " ".join(event.message.split()) or ("" if event.state != "moving" else part.message)
        part.fraction = event.fraction if event.fraction is not None else part.fraction
        part.ended = now if event.state in {"done", "unchanged", "failed"} else None

    def counted(self, *states: str) -> int:
        """How many of its parts are in these states."""
        return sum(part.state in states for part in self.parts.values())

    @property
    def fraction(self) -> float | None:
        """Done part of the stage, where it is known."""
        if self.whole.ended is not None:
            return 1.0
        if self.whole.fraction is not None:
            return self.whole.fraction
        if self.parts:
            done = sum(1.0 if part.ended is not None else part.fraction or 0.0 for part in self.parts.values())
            return done / len(self.parts)
        return None


@dataclass
class Board:
    """What the live display shows: every stage, and the parts that are under way."""

    stages: dict[str, Stage] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        now = time.monotonic()
        if event.stage not in self.stages:
            self.stages[event.stage] = Stage(whole=Part(state="started", since=now))
        self.stages[event.stage].heard(event, now)

    def __rich__(self) -> "RenderableType":
        """The board as rich draws it, again and again."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(width=20)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
        for name, stage in self.stages.items():
            whole, fraction = stage.whole, stage.fraction
            bar = ProgressBar(
                total=1.0, completed=fraction or 0.0, width=20, pulse=fraction is None, animation_time=now
            )
            grid.add_row(
                Text(name, style=STYLES.get(whole.state, "bold")),
                bar,
                f"{(whole.ended or now) - whole.since:.1f}s",
                Text(_stage_says(stage)),
            )
            moving = [(address, part) for address, part in stage.parts.items() if part.ended is None]
            if whole.ended is not None:
                moving = []
            failed = [(address, part) for address, part in stage.parts.items() if part.state == "failed"]
            for address, part in failed[:MOVING_SHOWN] + moving[:MOVING_SHOWN]:
                percent = "" if part.fraction is None else f"{part.fraction:4.0%}"
                grid.add_row(
                    "",
                    Text(address.rsplit("/", 1)[-1][:20], style=STYLES.get(part.state, "")),
                    percent or f"{(part.ended or now) - part.since:.0f}s",
                    Text(part.message, style=STYLES.get(part.state, "dim")),
                )
            if len(moving) > MOVING_SHOWN:
                grid.add_row("", Text(f"… and {len(moving) - MOVING_SHOWN} more", style="dim"), "", "")
        return grid


STYLES = {"done": "green", "unchanged": "dim", "failed": "bold red"}


def _stage_says(stage: Stage) -> str:
    said = stage.whole.message or (stage.whole.state if stage.whole.ended is not None else "")
    if not stage.parts:
        return said
    counts = f"{stage.counted('done', 'unchanged')}/{len(stage.parts)}"
    if failed := stage.counted("failed"):
        counts += f", {failed} failed"
    return f"{counts}  {said}".rstrip()


@contextmanager
def _live() -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live

    board = Board()
    screen = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    with Live(board, console=screen, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False):
        yield board
