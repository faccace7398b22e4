"""Who is alive: a process of the lab holds a lock on its own file for as long as it lives, and the kernel names it.

Unlike a process number in a file this cannot be stale. POSIX locks are not inherited by children and can be looked at
without being taken.
"""

import contextlib
import fcntl
import os
import signal
import struct
from pathlib import Path

_FLOCK = "hhqqi0q"
_held: list[int] = []


def hold(path: Path) -> bool:
    """Whether this process holds the file's lock now, until it ends; False if another process does.

    The file must not be opened and closed otherwise in this process: that would drop the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return False
    _held.append(handle)
    return True


def holder(path: Path) -> int | None:
    """Process number of who holds the file's lock; None if nobody lives."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    finally:
        os.close(handle)
    return None if kind == fcntl.F_UNLCK else int(pid)


def send(path: Path, number: signal.Signals) -> bool:
    """Whether the signal went to the holder of the file's lock; False if nobody lives."""
    pid = holder(path)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if holder(path) == pid:
                signal.pidfd_send_signal(handle, number)
                return True
        finally:
            os.close(handle)
    return False
