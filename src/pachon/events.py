"""The record of a run's events: a line of JSON each, and how long every stage took.

Written as it happens, so that whoever looks at a run that was killed sees how far it had come.
"""

import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pachon.processes.holder import this_process
from pachon.progress import Event, Progress

FILE = "events.jsonl"
"""Name of the record in a facility's state folder."""
REPORT = "report"
"""Stage of what failed in the end."""
KEEP_BYTES = 8 << 20
"""A larger file is put aside as ``….1`` when the next run begins."""


@dataclass
class Recorder:
    """Passes events on, writes each to a file, and measures stages."""

    path: Path
    run: str
    shown: Progress
    began: float = field(default_factory=time.monotonic)
    stages: dict[str, tuple[float, float]] = field(default_factory=dict)
    """First and last moment of each stage, in seconds since the run began."""

    def __post_init__(self) -> None:
        """Open the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.path.exists() and self.path.stat().st_size > KEEP_BYTES:
            self.path.replace(self.path.with_suffix(self.path.suffix + ".1"))
        self._process = this_process().process
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        now = time.monotonic() - self.began
        first, _ = self.stages.get(event.stage, (now, now))
        self.stages[event.stage] = (first, now)
        self._write(event)
        self.shown(event)

    def keep_failure(self, address: str, message: str) -> None:
        """Write down what failed in the end (no address: the whole run) and what mends it; it is shown elsewhere."""
        self._write(Event(REPORT, address, "failed", message))

    def _write(self, event: Event) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "run": self.run, "process": self._process, **event.__dict__}
        with contextlib.suppress(
            OSError
        ):  # a full disk costs the record an event, not the run its way: the journal counts
            os.write(self._file, (json.dumps(line, ensure_ascii=False) + "\n").encode())

    def seconds(self) -> dict[str, float]:
        """How long each stage took, in the order in which they began."""
        ordered = sorted(self.stages.items(), key=lambda item: item[1][0])
        return {stage: round(last - first, 2) for stage, (first, last) in ordered}

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
