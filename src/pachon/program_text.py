"""Which program text this is: a digest of it as it lies here, for what holds only as long as the text is the same."""

import hashlib
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pachon.places import CHECKOUT

CONTROL_LAYER = CHECKOUT / "src" / "pachon"
LOOKING = (CONTROL_LAYER, *(CHECKOUT / folder for folder in ("infra/provider", "infra/boot")))
"""What decides what is seen of a site."""


@lru_cache(maxsize=4)
def version(*folders: Path) -> str:
    """Digest of the program text in these folders as it is now."""
    _first_reckoned()
    state = hashlib.blake2b(digest_size=16)
    for path in sorted(_texts(*folders)):
        state.update(str(path.relative_to(CHECKOUT)).encode() + b"\0")
        state.update(hashlib.blake2b(path.read_bytes()).digest())
    return state.hexdigest()


def is_what_runs(*folders: Path) -> bool:
    """Whether this process runs the text in these folders as it is now: none of it was touched since it began.

    Modules are imported when they are first used; after an edit some are of before it and some of after it, which no
    digest tells. What such a process finds out is true of no version of the program.
    """
    began = min(_began(), _first_reckoned())
    try:
        return all(path.stat().st_ctime < began for path in _texts(*folders))
    except OSError:  # a file that just went
        return False


def _texts(*folders: Path) -> Iterator[Path]:
    return (path for folder in folders for path in folder.rglob("*.py"))


def _began() -> float:
    """When this process began, by the clock as it is set now; 0 where that cannot be told.

    Rounded up to a tick of the kernel, which Python takes to begin: an edit just before is none of meanwhile.
    """
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + (ticks + 1) / os.sysconf("SC_CLK_TCK")


@lru_cache(maxsize=1)
def _first_reckoned() -> float:
    """The same by the clock as it was: one that is set forward must not make an edit older than the process."""
    return _began()
