"""Locks and pending operations that a killed engine leaves in a file backend, and when they may be cleared."""

import json
import os
import socket
from pathlib import Path
from typing import Any

from pachon.errors import RefusedError
from pachon.processes.holder import started_ticks


def state_file(backend: Path, project: str, stack: str) -> Path:
    """Where a file backend keeps a stack's state."""
    return backend / ".pulumi" / "stacks" / project / f"{stack}.json"


def locks_of(backend: Path, project: str, stack: str) -> list[Path]:
    """Lock files of a stack."""
    return sorted((backend / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json"))


def stale(backend: Path, project: str, stack: str) -> bool:
    """Whether the stack is locked by nobody who lives: to be called under our own lease of the site.

    Raises:
        RefusedError: the lock's owner lives, or nothing proves that it does not.
    """
    found = locks_of(backend, project, stack)
    for path in found:
        try:
            lock: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            lock = {}  # cut short by the kill that left it
        if not lock:
            continue
        pid, machine = int(lock.get("pid", 0)), str(lock.get("hostname", ""))
        if machine != socket.gethostname() or (started_ticks(pid) is not None and _is_pulumi(pid)):
            raise RefusedError(
                f"stack {project}/{stack} is locked by {lock.get('username')}@{machine} (process {pid}) since "
                f"{lock.get('timestamp')}",
                cure=f"wait for it; if that process on {machine} is surely gone, run 'pulumi cancel' or remove {path}",
            )
    return bool(found)


def _is_pulumi(pid: int) -> bool:
    """Whether that process is a Pulumi CLI; its number may have gone to another since."""
    try:
        return "pulumi" in os.readlink(f"/proc/{pid}/exe").rpartition("/")[2]  # noqa: PTH115 - may name a deleted file
    except OSError:
        return False


def deployment(backend: Path, project: str, stack: str) -> dict[str, Any] | None:
    """What a stack's state has, as the engine writes it; None where there is no such state."""
    try:
        document = json.loads(state_file(backend, project, stack).read_text())
    except (OSError, ValueError):
        return None
    return dict(document.get("checkpoint", {}).get("latest") or {})


def pending(backend: Path, project: str, stack: str) -> int:
    """How many operations the state calls pending."""
    return len((deployment(backend, project, stack) or {}).get("pending_operations") or [])
