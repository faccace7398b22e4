"""The processes of a run: marked by their environment, and in a cgroup of their own where we may make one.

A process of the run calls ``enter``; whoever takes over from a dead holder calls ``end``. What is to outlive a run
(boot services, the lab) is started by processes that never entered.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

MARKER = "PACHON_RUN_ID"
PART_MARKER = "PACHON_RUN_PART"
"""Marks the processes of one piece of a run, which may have to end before the run does."""
_ROOT = Path("/sys/fs/cgroup")


def marked(run_id: str) -> dict[str, str]:
    """Environment that marks a child, and all that it starts, as the run's."""
    return {MARKER: run_id}


def _cgroup(run_id: str) -> Path:
    base = _ROOT if (_ROOT / "cgroup.controllers").exists() else _ROOT / "pids"
    return base / "pachon-runs" / run_id


def enter(run_id: str) -> bool:
    """Whether the calling process could be put into the run's cgroup (root may; others go by the marker alone)."""
    folder = _cgroup(run_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        return False
    return True


def members(run_id: str) -> list[int]:
    """Processes that are proven to be of the run: in its cgroup, or carrying its marker. Never the caller."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        found.update(int(line) for line in (_cgroup(run_id) / "cgroup.procs").read_text().split())
    return sorted((found | _carrying(MARKER, run_id)) - {os.getpid()})


def _carrying(name: str, value: str) -> set[int]:
    wanted, found = f"{name}={value}".encode(), set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.add(int(folder.name))
    return found


def end_part(mark: str) -> None:
    """Kill whatever carries this mark of a piece of a run: what left the process group of a program that was ended."""
    for pid in _carrying(PART_MARKER, mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end(run_id: str, *, patience_seconds: float = 5.0) -> list[int]:
    """Numbers of the processes that had to be killed so that nothing of the run is left."""
    killed: set[int] = set()
    deadline = time.monotonic() + patience_seconds
    while (left := members(run_id)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.02)
    forget(run_id)
    return sorted(killed)


def forget(run_id: str) -> None:
    """Remove the run's cgroup if it is empty."""
    with contextlib.suppress(OSError):
        _cgroup(run_id).rmdir()
