"""Unix sockets under paths of any length: the kernel takes 107 bytes, state folders may be longer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT_BYTES = 100


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for this path that the kernel takes, good while the context lasts."""
    if len(os.fsencode(path)) <= LIMIT_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
