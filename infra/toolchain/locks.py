"""A lock that only one process holds at a time and that ends with its holder, however that ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_SECONDS = 0.3
TELL_SECONDS = 15.0


@contextlib.contextmanager
def held(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at ``path`` inside the block.

    While another process has it, ``on_wait`` is told who, at once and then now and again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(descriptor, on_wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, on_wait: Callable[[str], None]) -> None:
    told_at: float | None = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if told_at is None or time.monotonic() - told_at >= TELL_SECONDS:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "another process"
                on_wait(f"process {holder} is at it; waiting for it to end")
                told_at = time.monotonic()
            time.sleep(POLL_SECONDS)
        else:
            return
